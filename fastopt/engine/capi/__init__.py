"""The interface for C and Cython."""
