"""Tests that run kernels in Numba's simulator of a CUDA device, in a process of their own: see test_cuda.py."""
