"""The in-place updates of the optimizers."""
