"""Computes the coefficients of a rule from the hyperparameters, in float64, once per call."""
