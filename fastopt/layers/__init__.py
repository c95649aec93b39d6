"""Dropout and residual connections."""
