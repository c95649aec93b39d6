"""Benchmarks of updates and norms against NumPy, PyTorch and the memory bandwidth: ``python -m benchmarks``."""
