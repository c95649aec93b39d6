"""Updates and norms of arrays on a CUDA device: ``python -m benchmarks --device cuda``.

What is measured is what the host's benchmark measures, by the same code; a `Device` is another `Place` to it:

* `libraries` hold the arrays: PyTorch, CuPy or Numba, the first that is here;
* `cuda` times by events and copies memory; `simulated` stands in for it where Numba simulates a device;
* `workload`, `candidates` and `measure` say what competes; `resnet` has the tensors of ResNet-50;
* `figures` and `report` sum up.
"""
