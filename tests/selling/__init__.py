"""Selling, and what people may do with what was sold."""
