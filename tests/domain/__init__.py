"""Tests of the domain, one file a subject; `build.py` has the builders."""
