"""Updates and norms of arrays on a CUDA device: ``python -m benchmarks --device cuda``.

It measures the same quantities as the host's benchmark, by the same code with a `Device` as the `Place`:

* `libraries` allocate the arrays: PyTorch, CuPy or Numba, the first that is available;
* `cuda` measures time by events and copies memory; `simulated` replaces it if Numba simulates a device;
* `workload`, `candidates` and `measure` define what is compared; `resnet` has the tensors of ResNet-50;
* `figures` and `report` summarise the results.
"""
