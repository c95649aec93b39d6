"""Source code for Numba, for kernels that are compiled when they are first used."""
