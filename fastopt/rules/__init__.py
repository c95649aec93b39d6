"""The arithmetic, written once: scalar functions that every compiler makes kernels of."""
