"""Normalisation: forward, backward and inference."""
