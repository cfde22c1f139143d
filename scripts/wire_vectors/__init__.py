"""The cases behind `tests/vectors/`: what a signer or a forger wrote, and what a reader must make of it.

The expected results are declared by hand, here; `tests/protocol/test_vectors.py` holds the production code to them.
"""
