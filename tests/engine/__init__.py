"""Processes, threads, cached kernels, storage types, and the C interface."""
