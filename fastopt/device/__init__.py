"""The CUDA dispatch: runs updates, norms, feature scaling and random numbers on the arrays of CUDA devices.

It is the counterpart of the engine for devices. Intake (``engine/core/intake.pyx``) has checked the arrays; then

* `update`, `norm`, `scaling` and `random` plan a family's kernels and launch them;
* `select` chooses the machine (see `machine`): `driver` calls CUDA, and `simulator` replaces it if Numba simulates a
  device;
* `ordering` synchronises kernels with the `streams` of the arrays' producers;
* `table` stores the pointers of a list of tensors on the device, `arrays` allocates results, `axes` and `norm_axes`
  describe the positions of elements, `coefficients` computes coefficients from numbers on the device;
* `protocol` reads ``__cuda_array_interface__``.
"""

from importlib import import_module

from fastopt.engine.core import devices

devices.register(lambda name: import_module(f"{__name__}.{name}"))
