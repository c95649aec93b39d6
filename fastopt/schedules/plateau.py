"""A learning rate that falls when a metric stops improving: the only schedule with state."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from math import inf, isinf
from typing import Any, Literal

from fastopt.common.messages import brief
from fastopt.common.types import Real
from fastopt.engine.core.hyperparameters import real
from fastopt.schedules.schedule import ARGUMENTS, Schedule


@dataclass
class ReduceOnPlateau(Schedule):
    """Reduce the learning rate by a factor when a metric has stopped improving.

        improvement: metric < best - threshold * abs(best)     (threshold_mode="abs": best - threshold;
                                                                mode="max": metric > best + ...)
        after more than patience observations in a row without improvement:
            lr = max(lr * factor, min_lr)            (if that is lower by more than eps)
            ignore the next cooldown observations

    `observe` takes the metric, for example of an epoch. Called with a step, whose value does not matter, the object
    returns the current learning rate: pass it to an optimizer as ``lr``, or to `warmup`.

    Parameters
    ----------
    lr : float >= 0
        Initial learning rate.
    factor : float in [0, 1)
        Factor of each reduction.
    patience : int >= 0
        Number of observations in a row without improvement that do not yet reduce the learning rate.
    threshold : float >= 0
        Minimum improvement over the best metric; below 1 with mode="min" and threshold_mode="rel".
    threshold_mode : {"rel", "abs"}
        Whether threshold is relative to the best metric's magnitude, or absolute.
    mode : {"min", "max"}
        Whether a lower or a higher metric is better.
    cooldown : int >= 0
        Number of observations after each reduction that are ignored.
    min_lr : float >= 0
        Lower bound of the learning rate.
    eps : float >= 0
        A reduction of at most this size is not made.

    Attributes
    ----------
    lr, best : float
        Current learning rate and best metric. The best metric is an infinity until a metric improves on it.
    num_bad_epochs, cooldown_counter : int
        Number of observations in a row without improvement; number of following observations that are ignored.

    Notes
    -----
    As PyTorch's ReduceLROnPlateau, except where ``best`` is negative and threshold_mode is "rel". PyTorch compares with
    ``best * (1 - threshold)`` (mode="max": ``1 + threshold``), which is then worse than ``best``: a constant metric
    counts as an improvement, and the learning rate never falls. Negative metrics are common: log-likelihoods, ELBOs,
    returns. A metric that is NaN is never an improvement, and never best.

    Examples
    --------
    >>> from fastopt.schedules import ReduceOnPlateau
    >>> rate = ReduceOnPlateau(1.0, factor=0.5, patience=1)
    >>> [rate.observe(loss) for loss in (0.9, 0.8, 0.8, 0.8)]
    [False, False, False, True]
    >>> rate(1), rate(500), rate.best
    (0.5, 0.5, 0.8)
    """

    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    mode: Literal["min", "max"] = "min"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8
    best: float = field(init=False)
    num_bad_epochs: int = field(init=False)
    cooldown_counter: int = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        worst = inf if self.mode == "min" else -inf
        for name, start in {"best": worst, "num_bad_epochs": 0, "cooldown_counter": 0}.items():
            vars(self).setdefault(name, start)  # load_state_dict sets them before
        self._check_threshold(vars(self))

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dataclass_fields__:
            expected = ", ".join(self.__dataclass_fields__)
            raise AttributeError(f"{name} of ReduceOnPlateau can't be assigned; expected one of {expected}")
        own = vars(self)
        if name == "mode" and name in own:
            raise AttributeError("mode of ReduceOnPlateau can't be assigned: best is of this mode; make another one")
        checked = ARGUMENTS[name](name, value)
        if len(own) == len(self.__dataclass_fields__):  # otherwise it is being constructed
            self._check_threshold({**own, name: checked})
        own[name] = checked

    @staticmethod
    def _check_threshold(values: Mapping[str, Any]) -> None:
        threshold = values["threshold"]
        if values["mode"] == "min" and values["threshold_mode"] == "rel" and threshold >= 1:
            raise ValueError(
                f"threshold is {threshold}; expected it below 1 with mode='min' and threshold_mode='rel': "
                "no metric above 0 would be low enough"
            )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name} of ReduceOnPlateau can't be deleted")

    def _after(self, t: int) -> float:
        return self.lr

    def observe(self, metric: Real) -> bool:
        """Record a metric; return whether the learning rate fell."""
        value = real("metric", metric, {"metric": (-inf, inf, "a number")})
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs <= self.patience:
            return False
        self.num_bad_epochs = 0
        self.cooldown_counter = self.cooldown
        lower = max(self.lr * self.factor, self.min_lr)
        if self.lr - lower <= self.eps:
            return False
        self.lr = lower
        return True

    def _is_better(self, metric: float) -> bool:
        margin = -self.threshold if self.mode == "min" else self.threshold
        if self.threshold_mode == "abs":
            bar = self.best + margin
        elif isinf(self.best):
            bar = self.best  # mode="max" starts at -inf, and 1 - margin may be 0 or negative
        else:
            bar = self.best * (1 + margin if self.best > 0 else 1 - margin)
        return metric < bar if self.mode == "min" else metric > bar

    def state_dict(self) -> dict[str, Any]:
        """Return everything that determines later rates, including the arguments: numbers and strings."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; ``mode`` must be the same. After an error, nothing has changed.

        Examples
        --------
        >>> from fastopt.schedules import ReduceOnPlateau
        >>> old, new = ReduceOnPlateau(0.1), ReduceOnPlateau(0.5, patience=3)
        >>> _ = old.observe(2.0)
        >>> new.load_state_dict(old.state_dict())
        >>> new == old
        True
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state is a {type(state).__name__}; expected a dict, as state_dict returns it")
        own = vars(self)
        if missing := [name for name in own if name not in state]:
            raise ValueError(f"state lacks {', '.join(map(repr, missing))}")
        if foreign := [name for name in state if name not in own]:
            raise ValueError(f"state has {', '.join(map(repr, foreign))}; expected only {', '.join(own)}")
        if state["mode"] != self.mode:
            raise ValueError(f"mode is {brief(state['mode'])}; expected {self.mode!r}, the mode of this object")
        loaded = copy(self)
        vars(loaded).update(state)
        loaded.__post_init__()  # raises errors of the arguments
        own.update(vars(loaded))
