"""The base class of all scalers: fitting, merging, and saving and restoring the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from fastopt.common.display import Display, keywords
from fastopt.common.guarded import Check, Guarded, unchecked
from fastopt.common.messages import brief
from fastopt.common.types import Array, Backend, Result, Stream
from fastopt.engine.core.options import check_backend, check_num_threads, one_of
from fastopt.engine.scaling import scaling as columns
from fastopt.errors import NotFittedError
from fastopt.scaling.statistics import ColumnStatistics, CrossProducts, Values

#: The arguments of the rule `scale`.
SCALES = ("centre", "divisor", "factor", "shift")

_Self = TypeVar("_Self", bound="Fitted[Any]")
_Statistics = TypeVar("_Statistics", bound=ColumnStatistics | CrossProducts)


class Fitted(Guarded, Display, ABC, Generic[_Statistics]):
    """Base class of objects that are fitted to data, in one process or several."""

    #: The class of the statistics.
    _kind: ClassVar[type[Any]]

    #: The names of the arguments that determine the results; they are part of the state.
    _options: ClassVar[tuple[str, ...]]

    #: Those of them that may be None; the state omits them then.
    _optional: ClassVar[tuple[str, ...]] = ()

    _assignable: ClassVar[dict[str, Check]] = {"num_threads": unchecked}
    _instead = dict.fromkeys(
        ("n_features", "count", "mean", "var", "min", "max", "covariance"), "call fit or load_state_dict"
    )

    _statistics: Any

    def __init__(self, num_threads: int | None) -> None:
        check_num_threads(num_threads)
        self._statistics = None
        self.num_threads = num_threads

    def __repr__(self) -> str:
        return super().__repr__() + " (not fitted)" * (self._statistics is None)

    def _parts(self) -> list[str]:
        options = keywords({name: getattr(self, name) for name in self._options})
        if self._statistics is None:
            return options
        counts = sorted({int(self._statistics.count.min()), int(self._statistics.count.max())})
        return [*options, f"n_features={self.n_features}", f"count={' to '.join(map(str, counts))}"]

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self._seen().mean.size

    def fit(self: _Self, x: Array, y: object = None, *, stream: Stream = None) -> _Self:
        """Discard earlier statistics and fit x; return the scaler. After an error, nothing has changed.

        y is ignored, as in scikit-learn.
        """
        self._statistics = self._gather(x, None, stream)
        return self

    def partial_fit(self: _Self, x: Array, y: object = None, *, stream: Stream = None) -> _Self:
        """Fit x in addition to earlier data; return the scaler. After an error, nothing has changed.

        y is ignored.
        """
        if self._statistics is None:
            return self.fit(x, stream=stream)
        self._statistics = self._statistics.merged(self._gather(x, self.n_features, stream))
        return self

    def fit_transform_(self, x: Array, y: object = None, *, stream: Stream = None) -> None:
        """Fit x, then transform it in place. With an error, neither x nor the scaler has changed; y is ignored."""
        before = self._statistics
        self.fit(x, stream=stream)
        try:
            self.transform_(x, stream=stream)
        except BaseException:
            self._statistics = before
            raise

    def merge(self: _Self, other: _Self) -> _Self:
        """Add the data of another scaler to this one; return the scaler.

        The data of the other scaler counts as one batch: if it was fitted to one batch, the bits are those of
        `partial_fit` of that batch here. Options, such as ``nan`` and ``feature_range``, remain this scaler's.
        """
        if type(other) is not type(self):
            raise TypeError(f"other is a {type(other).__name__}; expected a {type(self).__name__}")
        if other._statistics is None:
            raise NotFittedError(f"other is a {type(self).__name__} that was not fitted")
        if self._statistics is None:
            self._statistics = other._statistics
            return self
        if other.n_features != self.n_features:
            raise ValueError(
                f"other has {other.n_features} features; expected {self.n_features}, as many as were fitted"
            )
        self._statistics = self._statistics.merged(other._statistics)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return everything that determines results: arguments that are not None, and copies of the statistics."""
        options = {name: getattr(self, name) for name in self._options}
        told = {name: np.array(value) if isinstance(value, tuple) else value for name, value in options.items()}
        statistics = {} if self._statistics is None else vars(self._statistics)
        return {
            "scaler": type(self).__name__,
            **{name: value for name, value in told.items() if value is not None},
            **{name: array.copy() for name, array in statistics.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, which must be of the same class. After an error, nothing has changed.

        Arrays without axes, into which ``np.load`` turns numbers and strings, are accepted in place of them.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state is a {type(state).__name__}; expected a dict, as state_dict returns it")
        of = _plain(state.get("scaler"))
        if not isinstance(of, str) or of != type(self).__name__:
            raise ValueError(f"state is of {brief(of)}; expected {type(self).__name__!r}")
        arrays = tuple(self._kind.__dataclass_fields__)
        known = {"scaler", *self._options, *arrays}
        if foreign := [name for name in state if name not in known]:
            raise ValueError(f"state has {', '.join(map(repr, foreign))}, which {type(self).__name__} does not have")
        wanted = self._options + (arrays if any(name in state for name in arrays) else ())
        if missing := [name for name in wanted if name not in state and name not in self._optional]:
            raise ValueError(f"state lacks {', '.join(map(repr, missing))}")
        options = {name: _plain(state[name]) for name in self._options if name in state}
        loaded = type(self)(**options)  # raises errors of the options
        if wanted != self._options:
            loaded._statistics = self._kind(**{name: _loaded(name, state[name]) for name in arrays})
            loaded._statistics.check()
        own = {"num_threads", "backend"}
        vars(self).update({name: value for name, value in vars(loaded).items() if name not in own})

    def transform_(self, x: Array, *, stream: Stream = None) -> None:
        """Transform x in place: samples by features, of any float dtype, in any layout."""
        self._run(x, None, True, False, stream)

    def inverse_transform_(self, x: Array, *, stream: Stream = None) -> None:
        """Undo `transform_` in place, up to rounding errors."""
        self._run(x, None, True, True, stream)

    def transform(self, x: Array, out: Array | None = None, *, stream: Stream = None) -> Result:
        """Transform x into ``out``, or into a new array of the same dtype; return it. x is only read."""
        return self._run(x, out, False, False, stream)

    def inverse_transform(self, x: Array, out: Array | None = None, *, stream: Stream = None) -> Result:
        """Undo `transform`, up to rounding errors and omitted components, into ``out`` or a new array; return it."""
        return self._run(x, out, False, True, stream)

    @abstractmethod
    def _gather(self, x: Array, features: int | None, stream: Stream) -> _Statistics:
        """Return the statistics of x."""

    @abstractmethod
    def _run(self, x: Array, out: Array | None, in_place: bool, inverse: bool, stream: Stream) -> Result:
        """Transform x, or undo the transform."""

    def _seen(self) -> _Statistics:
        if self._statistics is None:
            raise NotFittedError(f"this {type(self).__name__} was not fitted; expected fit or partial_fit first")
        seen: _Statistics = self._statistics
        return seen


def _loaded(name: str, given: Any) -> Values:
    array = np.asarray(given)
    if array.dtype != np.float64:
        raise TypeError(f"{name} has dtype {array.dtype}; expected float64")
    return np.array(array)


def _plain(given: Any) -> Any:
    return given.item() if isinstance(given, np.ndarray) and given.ndim == 0 else given


class Scaler(Fitted[ColumnStatistics]):
    """A scaler that treats each feature separately: ``(x - centre) / divisor * factor + shift``."""

    _kind = ColumnStatistics
    _options: ClassVar[tuple[str, ...]] = ("nan",)
    _assignable = Fitted._assignable | {
        "backend": unchecked,
        "nan": lambda name, given: one_of(name, given, "refuse", "ignore"),
    }

    #: The last arguments of the rule (which take 40 us to compute), with the statistics and compute type they are for.
    _made: tuple[object, tuple[object, ...], list[Values]] | None = None

    def __init__(
        self, *, nan: Literal["refuse", "ignore"] = "refuse", backend: Backend = None, num_threads: int | None = None
    ) -> None:
        super().__init__(num_threads)
        self.nan = nan
        check_backend(backend)
        self.backend = backend

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_made"}

    # ---- Statistics

    @property
    def count(self) -> Values:
        """Number of values of each feature, without NaN."""
        return np.array(self._seen().count)

    @property
    def mean(self) -> Values:
        """Mean of each feature; NaN for a feature without values."""
        seen = self._seen()
        return np.where(seen.count > 0, seen.mean, np.nan)

    @property
    def var(self) -> Values:
        """Variance of each feature, the mean of its squared deviations; NaN for a feature without values.

        Below 1e-292 it is too small, because squares below 2.2e-308 count as zeros.
        """
        seen = self._seen()
        return np.where(seen.count > 0, seen.m2 / np.maximum(seen.count, 1), np.nan)

    @property
    def min(self) -> Values:
        """Minimum of each feature; NaN for a feature without values."""
        seen = self._seen()
        return np.where(seen.count > 0, seen.min, np.nan)

    @property
    def max(self) -> Values:
        """Maximum of each feature; NaN for a feature without values."""
        seen = self._seen()
        return np.where(seen.count > 0, seen.max, np.nan)

    def _gather(self, x: Array, features: int | None, stream: Stream) -> ColumnStatistics:
        count, mean, m2, lowest, highest = columns.column_stats(
            x, features, self.nan == "refuse", self.backend, self.num_threads, stream
        )
        # The sign of a zero depends on the order of values: + 0.0 turns -0 into +0.
        return ColumnStatistics(count, mean + 0.0, m2, lowest + 0.0, highest + 0.0)

    # ---- Scaling

    def _run(self, x: Array, out: Array | None, in_place: bool, inverse: bool, stream: Stream) -> Result:
        scales, refuse = self._inverse_scales if inverse else self._scales, self.nan == "refuse"
        return columns.scale(x, out, in_place, self.n_features, scales, refuse, self.backend, self.num_threads, stream)

    @abstractmethod
    def _constants(self, real: type) -> tuple[Any, Any, Any, Any]:
        """Return centre, divisor, factor and shift, in the compute type; a divisor of 0 means a constant feature."""

    def _scales(self, real: type) -> list[Values]:
        """Return the same as arrays with one element per feature, where a constant feature has divisor 1; or raise."""
        of = (real, *(getattr(self, name) for name in self._options))
        made = self._made
        if made is None or made[0] is not self._statistics or made[1] != of:
            self._made = made = (self._statistics, of, self._make_scales(real))
        return made[2]

    def _make_scales(self, real: type) -> list[Values]:
        seen = self._seen()
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            scales: dict[str, Values] = {
                name: np.broadcast_to(np.asarray(each, real), seen.mean.shape)
                for name, each in zip(SCALES, self._constants(real), strict=True)
            }
            # Statistics in float64 may exceed the range of float32.
            highest, lowest = (np.clip(each, np.finfo(real).min, np.finfo(real).max) for each in (seen.max, seen.min))
            centre = scales["centre"]
            farthest = np.maximum(highest.astype(real) - centre, centre - lowest.astype(real))
        scales["divisor"] = np.where(self._is_constant(), real(1), scales["divisor"])
        unseen = seen.count == 0
        if self.nan == "refuse" and unseen.any():
            feature = int(unseen.argmax())
            raise ValueError(f"feature {feature} was fitted without any value; expected nan='ignore'")
        for name, values in {**scales, "deviation": farthest}.items():
            least = np.finfo(real).tiny if name in ("divisor", "factor") else 0
            bad = ~unseen & ~(np.isfinite(values) & (np.abs(values) >= least))
            if bad.any():
                feature = int(bad.argmax())
                value = f"{values[feature]:g} in {np.dtype(real).name}"
                raise ValueError(f"feature {feature} would have a {name} of {value}; expected a finite, normal number")
        return [np.where(unseen, real(np.nan), values) for values in scales.values()]

    def _expect_finite(self, sums: Values, what: str) -> None:
        """Raise for the first feature with a sum that has overflowed."""
        seen = self._seen()
        bad = (seen.count > 0) & ~np.isfinite(sums)
        if bad.any():
            feature = int(bad.argmax())
            raise ValueError(
                f"feature {feature} has values from {seen.min[feature]:g} to {seen.max[feature]:g}, and {what} "
                f"overflow float64; expected smaller ones: multiply x by a power of 2 first"
            )

    def _inverse_scales(self, real: type) -> list[Values]:
        centre, divisor, factor, shift = self._scales(real)
        return [shift, factor, divisor, centre]  # the inverse has the same form

    def _is_constant(self) -> Any:
        """True for each feature that is not rescaled."""
        seen = self._seen()
        return seen.min >= seen.max

    def _about_mean(self, divisor: Any, real: type) -> tuple[Any, Any]:
        """Return the mean in the compute type, and the shift that corrects its rounding error.

        In float32, a mean of about 1e6 has an error of up to 0.03. For a constant feature, the shift is 0.
        """
        mean = self._seen().mean
        self._expect_finite(mean, "their sums")
        rounded: Values = mean.astype(real)
        with np.errstate(divide="ignore", invalid="ignore"):
            return rounded, np.where(self._is_constant(), 0.0, (rounded.astype(np.float64) - mean) / divisor)
