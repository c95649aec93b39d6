"""The rule of the scalers, ``(x - centre) / divisor * factor + shift``, on an array that scikit-learn has checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.engine.scaling import scaling as columns
from fastopt.sklearn.arrays import is_new, refuse_infinity


@dataclass(frozen=True)
class Affine:
    """The arguments of the rule: numbers, or one number for each feature."""

    centre: Any = 0.0
    divisor: Any = 1.0
    factor: Any = 1.0
    shift: Any = 0.0

    def rounded(self, real: type, features: int, inverse: bool) -> list[NDArray[Any]]:
        """Return the arguments in the compute type, one of each for every feature; or raise.

        The shift makes up for the rounding of the centre, which in float32 is up to 0.03 at a mean of 1e6.
        """
        exact = np.empty((4, features))
        arguments: NDArray[Any] = np.empty((4, features), real)
        for row, each in zip(exact, (self.centre, self.divisor, self.factor, self.shift), strict=True):
            row[...] = each
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            arguments[...] = exact
            if real is not np.float64:
                lost = arguments[0].astype(np.float64) - exact[0]
                arguments[3] = exact[3] + lost / exact[1] * exact[2]
            bad = np.isinf(arguments)
            bad[1:3] |= np.abs(arguments[1:3]) < np.finfo(real).tiny
        if bad.any():
            row, feature = np.argwhere(bad)[0]
            name = ("centre", "divisor", "factor", "shift")[row]
            raise ValueError(
                f"feature {feature} would have a {name} of {arguments[row, feature]:g} in {np.dtype(real).name}; "
                "expected a finite, normal number"
            )
        centre, divisor, factor, shift = arguments
        return [shift, factor, divisor, centre] if inverse else [centre, divisor, factor, shift]


def applied(
    affine: Affine, estimator: Any, array: NDArray[Any], X: Any, *, copy: bool, inverse: bool = False
) -> NDArray[Any]:
    """Return an array that was made from X, scaled: in place if it is a copy, or if ``copy`` is False."""
    features = array.shape[1]

    def arguments(real: type) -> list[NDArray[Any]]:
        return affine.rounded(real, features, inverse)

    if array.flags.writeable and (not copy or is_new(array, X)):
        refuse_infinity(estimator, array, columns.is_finite(array, None))
        return columns.scale(array, None, True, features, arguments, False, None, None, None)
    made, finite = columns.scaled_and_finite(array, features, arguments, None)
    refuse_infinity(estimator, array, finite)
    return made
