"""The programs under `examples/`, compiled and run."""
