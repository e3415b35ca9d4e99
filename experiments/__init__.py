"""Experiments of xaijax: `python -m experiments list | run | reproduce | report`."""
