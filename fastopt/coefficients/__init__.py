"""From hyperparameters to the coefficients of a rule, in float64, once per call."""
