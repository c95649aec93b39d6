"""Runs kernels on the CPU: intake of the caller's arrays, blocks, threads, floating-point mode."""
