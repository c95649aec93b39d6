"""Running updates, norms and what is random on CUDA device arrays: what the engine is to the host's memory.

The way of an array: intake (``engine/core/intake.pyx``) has checked it, ``engine/update/run.pyx`` has planned the jobs,
and then

* `launch` says which kernels run over which jobs, on which stream;
* `table` keeps the pointers of a list of tensors on the device;
* `norms` runs a norm by its `norm_plan`: which kernels, over which `axes`; `arrays` makes the results;
* `random` fills an array, or drops elements: one kernel;
* `driver` calls CUDA; `simulator` stands in for it where Numba simulates a device;
* `interface` and `streams` know the producers: what ``__cuda_array_interface__`` says, and on whose stream an array is
  in use.
"""
