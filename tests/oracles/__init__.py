"""Slow loops in NumPy, float64, written from the papers: what the library is compared with."""
