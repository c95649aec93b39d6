"""Runs norms: sums, statistics and the elementwise pass."""
