"""The CUDA dispatch: runs updates, norms, feature scaling and random numbers on the arrays of CUDA devices.

It is to a device what the engine is to the host's memory. Intake (``engine/core/intake.pyx``) has checked the arrays;
then

* `update`, `norm`, `scaling` and `random` plan a family's kernels and launch them;
* `select` chooses the machine (`machine` says what one is): `driver` calls CUDA, and `simulator` takes its place
  where Numba simulates a device;
* `ordering` puts kernels in order with what the arrays' producers do on their `streams`;
* `table` keeps the pointers of a list of tensors on the device, `arrays` makes results, `axes` and `norm_axes` say
  where elements are, `coefficients` computes coefficients of numbers on the device;
* `protocol` reads ``__cuda_array_interface__``.
"""

from importlib import import_module

from fastopt.engine.core import devices

devices.register(lambda name: import_module(f"{__name__}.{name}"))
