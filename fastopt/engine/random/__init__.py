"""Runs kernels on random bits: initialisation and dropout."""
