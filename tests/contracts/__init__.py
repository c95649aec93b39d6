"""Contracts of every function and class."""
