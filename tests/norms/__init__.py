"""Norms: functions and objects, and residual connections."""
