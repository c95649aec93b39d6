"""Updates: `fastopt.adam` and its like, users' rules, and updates in functions that Numba compiles."""
