"""Source code for Numba's CUDA target."""
