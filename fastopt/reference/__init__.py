"""The plain formulas in float64 NumPy, as in the papers, with which results are compared."""
