"""Tests with kernels in Numba's simulator of a CUDA device, in a separate process: see test_cuda.py."""
