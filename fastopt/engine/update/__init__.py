"""Runs updates: one call, or a plan for all tensors of a model."""
