"""Runs kernels on random bits: initialisation, noise and dropout."""
