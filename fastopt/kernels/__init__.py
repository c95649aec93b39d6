"""The kernels compiled ahead of time: the build puts modules here for each type and instruction set."""
