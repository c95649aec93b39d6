"""The plain formulas in float64 NumPy, as the papers have them: what results are compared with."""
