"""`fastopt.sklearn`."""
