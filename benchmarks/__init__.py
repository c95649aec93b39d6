"""How fast the updates are, beside NumPy, PyTorch and the memory itself: ``python -m benchmarks``."""
