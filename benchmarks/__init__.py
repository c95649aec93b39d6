"""How fast updates and norms are, beside NumPy, PyTorch and the memory itself: ``python -m benchmarks``."""
