"""The kernels compiled ahead of time: the build puts one module here for each compute type and instruction set."""
