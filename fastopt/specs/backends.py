"""The backends: what ``backend=`` accepts."""

from __future__ import annotations

#: The backends that compile kernels, and the module of each.
MODULES = {"cython": "fastopt.backends.cython", "numba": "fastopt.backends.numba", "cuda": "fastopt.backends.cuda"}

#: All backends: "reference" computes the plain formulas of fastopt/reference/ with NumPy.
BACKENDS = (*MODULES, "reference")
