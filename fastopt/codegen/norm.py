"""The norms' kernels, described for all compilers: a kernel, a variant, and the function of rules/norm.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastopt.specs.norms import TILE_KERNELS, TileKernel

from .parse import Function


@dataclass(frozen=True)
class Loop:
    """A kernel in one of its variants, described for all compilers."""

    kernel: TileKernel
    variant: int
    function: Function
    #: True if the arrays' storage type is not the compute type. Such kernels have no non-temporal stores.
    converts: bool = False

    @property
    def name(self) -> str:
        """The kernel's name, which no function has."""
        return f"{self.kernel.name}_kernel{self.variant}"

    @property
    def relu(self) -> bool:
        """Whether the activation is fused."""
        return bool(self.variant & 1)

    @property
    def residual(self) -> bool:
        """Whether the residual connection is fused."""
        return bool(self.variant & 2)

    @property
    def backward(self) -> bool:
        """Whether the kernel takes a gradient."""
        return "dy" in self.function.arrays

    @property
    def read(self) -> tuple[str, ...]:
        """The arrays that the kernel reads."""
        gate = ("y",) if self.backward and self.relu else ()
        residual = ("residual",) if self.residual and not self.backward else ()
        return self.function.arrays + gate + residual

    @property
    def written(self) -> tuple[str, ...]:
        """The arrays that it writes; none for kernels that compute sums."""
        if self.kernel.reduces:
            return ()
        return ("out", "dresidual") if self.backward and self.residual else ("out",)

    @property
    def gradient(self) -> str:
        """The function that computes the norm's gradient from dy."""
        return "gradient_relu" if self.relu else "gradient"

    @property
    def finish(self) -> str:
        """The last function of a forward pass."""
        return "finish" + "_residual" * self.residual + "_relu" * self.relu

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Each parameter, and the axis along which it varies."""
        return tuple(zip(self.function.scalars, self.kernel.along, strict=True))

    def element(self, place: Mapping[str, str]) -> list[tuple[str, str]]:
        """The values computed for an element, in order: the gradient as g_, then each written array by its name.

        ``place`` holds the elements of the read arrays, and the parameters.
        """
        taken = {**place, "dy": "g_"}
        arguments = [taken[name] for name in self.function.arrays + self.function.scalars]
        result = f"{self.function.name}({', '.join(arguments)})"
        if not self.backward:
            return [("out", f"{self.finish}({result}, {place.get('residual', place['x'])})")]
        gradient = f"{self.gradient}({place['dy']}, {place.get('y', place['dy'])})"
        return [("g_", gradient), *zip(self.written, (result, "g_"), strict=False)]


def loops(functions: dict[str, Function], converts: bool = False) -> list[Loop]:
    """Return every kernel in each of its variants."""
    return [
        Loop(kernel, variant, functions[kernel.function], converts)
        for kernel in TILE_KERNELS
        for variant in kernel.variants
    ]
