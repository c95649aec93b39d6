"""Generates source code for Numba, for kernels that are compiled on first use."""
