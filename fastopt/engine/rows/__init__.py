"""Gathers rows for mini-batches."""
