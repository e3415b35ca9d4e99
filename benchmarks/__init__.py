"""Benchmarks of xaijax: `python -m benchmarks [NAME ...]`."""
