"""Compares kernels of an installed wheel with the plain formulas: an update and a norm, forward and backward."""

import numpy as np

import fastopt

rng = np.random.default_rng(0)
arrays = [np.abs(rng.standard_normal(100_003, np.float32)) for _ in range(4)]
expected = [array.copy() for array in arrays]
fastopt.adamw(*arrays, step=3)
fastopt.adamw(*expected, step=3, backend="reference")
for array, other in zip(arrays, expected, strict=True):
    np.testing.assert_allclose(array, other, rtol=1e-6, atol=1e-7)

x, dy = rng.standard_normal((2, 8, 16, 9, 7), np.float32)
results = []
for backend in (None, "reference"):
    y, mean, rstd = fastopt.batch_norm_forward(x, backend=backend)
    results.append((y, mean, rstd, *fastopt.batch_norm_backward(dy, x, None, mean, rstd, backend=backend)))
for array, other in zip(*results, strict=True):
    np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-5)
print("the kernels agree with the formulas")
