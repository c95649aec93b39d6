"""`fastopt.torch`."""
