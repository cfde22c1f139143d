"""The wire: ids, codes, envelopes, trust, problem codes, and the vectors for other languages."""
