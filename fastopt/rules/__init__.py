"""The arithmetic, written once: scalar functions from which every compiler makes kernels."""
