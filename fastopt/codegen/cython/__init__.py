"""Source code for Cython, which the build compiles."""
