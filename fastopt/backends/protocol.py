"""What a backend is.

A backend for the host's memory makes machine code of the functions in fastopt/rules/, one kernel at a time. The one for
CUDA devices does so for `fastopt.device`, which launches the kernels: see `fastopt.backends.cuda.DeviceKernel`.
"""

from __future__ import annotations

from typing import Protocol


class HostBackend(Protocol):
    """A module that compiles kernels for the host's memory, or has them."""

    def kernel(self, family: str, name: str, dtype: str, variant: int = 0, source: str | None = None) -> int:
        """Return the address of a kernel.

        Parameters
        ----------
        family : str
            The file in fastopt/rules/ that has the rule: "update", "norm", "scaling" or "random".
        name : str
            Of an update or a random rule the function; of a norm or of feature scaling the kernel, as
            fastopt/specs/ declares it.
        dtype : str
            What the kernel's arrays store: a compute type; of a norm's kernel, any type that its declaration allows.
        variant : int
            Of an update, which kinds of weight decay it has; of a norm, what else is part of the pass.
        source : str, optional
            The text that has the function, if it is a user's.
        """
