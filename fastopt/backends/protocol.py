"""The interface of a backend.

A backend for host memory compiles the functions in fastopt/rules/ to machine code, one kernel at a time. The backend
for CUDA devices does so for `fastopt.device`, which launches the kernels: see `fastopt.backends.cuda.DeviceKernel`.
"""

from __future__ import annotations

from typing import Protocol


class HostBackend(Protocol):
    """A module that provides kernels for host memory."""

    def kernel(self, family: str, name: str, dtype: str, variant: int = 0, source: str | None = None) -> int:
        """Return the address of a kernel.

        Parameters
        ----------
        family : str
                The file in fastopt/rules/ that contains the rule: "update", "norm", "scaling" or "random".
        name : str
                The function of an update or a random rule; the kernel of a norm or of feature scaling, as declared in
                fastopt/specs/.
        dtype : str
                The storage type of the kernel's arrays: a compute type; for a norm, any type in its declaration.
        variant : int
                For an update, the kinds of weight decay; for a norm, the operations fused with the pass.
        source : str, optional
                The text of a user's function.
        """
