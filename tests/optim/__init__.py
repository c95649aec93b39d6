"""Optimizers as objects, their state and checkpoints, schedules and averages."""
