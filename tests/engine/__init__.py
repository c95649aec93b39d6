"""Processes, threads, stored kernels, storage types, and the C interface."""
