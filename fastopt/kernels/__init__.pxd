"""For `from fastopt cimport kernels`: each rule as a typed function, and the struct of its scalars."""

from fastopt.kernels.typed cimport *
