"""Norms as objects that hold weight, bias, statistics, the inputs of backward, and the result arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastopt.common.display import Display, keywords
from fastopt.common.guarded import Check, Guarded, unchecked
from fastopt.common.messages import brief
from fastopt.common.types import Activation, Array, Backend, Real, Result
from fastopt.engine.core.hyperparameters import Hyperparameters, flag
from fastopt.engine.core.options import check_backend, check_num_threads
from fastopt.engine.norm import norm
from fastopt.norm.options import check_activation, check_axis, check_groups, dtype_of, length, lengths
from fastopt.norm.statistics import DatasetStatistics

_check_eps = Hyperparameters("eps")
_check_momentum = Hyperparameters("momentum")

_Self = TypeVar("_Self", bound="Norm")
_Values = NDArray[Any]

#: Lower bounds of statistics in a state dict. NaN is below every bound.
LEAST = {"running_mean": -np.inf, "running_var": 0.0, "batches_seen": 0}


def _array(name: str, given: Any) -> Any:
    """Return an array assigned in place of another; its shape and dtype are checked when it is used."""
    if not hasattr(given, "shape"):
        raise TypeError(f"{name} is {brief(given)}; expected an array")
    return given


class Norm(Guarded, Display):
    """Base class of the four norms.

    Results overwrite those of the previous call if x has the same shape and dtype, to save allocations: copy a result
    that must outlive the next call. backward reads x and y, which are not copied: do not change them.

    Attributes
    ----------
    weight, bias : array
        Start from ones and zeros. They may be changed in place.
    dweight, dbias : array
        Gradients from the last backward: float32, or float64 if weight is.
    training : bool
        Whether forward is for training; it affects only batch norm.
    x, y, mean, rstd : array or None
        Input and results of the last forward.
    dx, dresidual : array or None
        Results of the last backward.
    """

    _assignable: ClassVar[dict[str, Check]] = {
        **dict.fromkeys(("weight", "bias", "dweight", "dbias"), _array),
        **dict.fromkeys(("training", "affine"), flag),
        **dict.fromkeys(("eps", "activation", "backend", "num_threads"), unchecked),
    }
    _instead = (
        dict.fromkeys(("x", "y", "mean", "rstd"), "forward sets it")
        | dict.fromkeys(("dx", "dresidual"), "backward sets it")
        | dict.fromkeys(("params", "grads"), "write into weight, bias, dweight and dbias")
    )

    kind: ClassVar[int]

    #: The constructor's arguments besides the shape and dtype, for `repr`.
    _options: ClassVar[tuple[str, ...]] = ("eps", "axis", "affine", "activation", "backend", "num_threads")

    _internal: ClassVar[tuple[str, ...]] = ("groups", "kind")

    groups: SupportsIndex = 0  # except in group norm

    def __init__(
        self,
        shape: Any,
        axis: SupportsIndex,
        eps: Real,
        affine: bool,
        activation: Activation,
        dtype: Any,
        backend: Backend,
        num_threads: int | None,
    ):
        _check_eps(eps)
        check_axis(axis)
        check_activation(activation)
        check_backend(backend)
        check_num_threads(num_threads)
        dtype = dtype_of(dtype)
        self.axis = axis
        self.eps = eps
        self.affine = flag("affine", affine)
        self.activation = activation
        self.backend = backend
        self.num_threads = num_threads

        self.weight: _Values = np.ones(shape, dtype)
        self.bias: _Values = np.zeros(shape, dtype)
        wide = np.result_type(dtype, np.float32)
        self.dweight: _Values = np.zeros(shape, wide)
        self.dbias: _Values = np.zeros(shape, wide)

        self.training = True
        self.x: Array | None = None
        self.y: Result | None = None
        self.mean: Result | None = None
        self.rstd: Result | None = None
        self.dx: Result | None = None
        self.dresidual: Result | None = None
        self._has_residual = False

    def _parts(self) -> list[str]:
        shape = self.weight.shape
        options = {name: getattr(self, name) for name in self._options}
        options.update(dtype=self.weight.dtype.name, training=self.training)
        return [str(shape[0] if len(shape) == 1 else shape), *keywords(options)]

    @property
    def params(self) -> list[_Values]:
        """The list of weight and bias, as an optimizer takes it; empty if not affine."""
        return [self.weight, self.bias] if self.affine else []

    @property
    def grads(self) -> list[_Values]:
        """The gradients of ``params``."""
        return [self.dweight, self.dbias] if self.affine else []

    def train(self: _Self) -> _Self:
        """Switch forward to training mode; return the norm."""
        self.training = True
        return self

    def eval(self: _Self) -> _Self:
        """Switch forward to inference mode; return the norm."""
        self.training = False
        return self

    def forward(self, x: Array, residual: Array | None = None) -> Result:
        """Normalise x, add the residual and apply the activation, if there are any; return y."""
        fits = _kind_of_array(x) == _kind_of_array(self.x)
        out = (self.y, self.mean, self.rstd) if fits else (None, None, None)
        y, mean, rstd = self._forward(x, residual, out)
        vars(self).update(x=x, y=y, mean=mean, rstd=rstd, _has_residual=residual is not None)
        if not fits:
            vars(self).update(dx=None, dresidual=None)
        return y

    def backward(self, dy: Array) -> Result | Any:  # Any: the caller knows which of the two it is
        """Set dweight and dbias; return dx, or dx and dresidual if the last forward had a residual."""
        if self.x is None:
            raise RuntimeError(f"{type(self).__name__}.backward was called before forward; expected forward first")
        if not self._has_residual:
            dx, _, _ = self._backward(dy, (self.dx, self.dweight, self.dbias))
            vars(self).update(dx=dx)
            return dx
        dx, _, _, dresidual = self._backward(dy, (self.dx, self.dweight, self.dbias, self.dresidual))
        vars(self).update(dx=dx, dresidual=dresidual)
        return dx, dresidual

    def state_dict(self) -> dict[str, _Values]:
        """Return copies of the arrays that training changes, by name."""
        return {name: array.copy() for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy what `state_dict` returned into the norm's own arrays; after an error, nothing has changed."""
        own = self._state()
        if missing := [name for name in own if name not in state]:
            raise ValueError(f"state lacks {', '.join(missing)}")
        if foreign := [str(name) for name in state if name not in own]:
            raise ValueError(f"state has {', '.join(foreign)}; expected only {', '.join(own)}")
        given = {name: np.array(state[name]) for name in own}  # copies, because they may be the norm's own arrays
        for name, array in own.items():
            if not array.flags.writeable:
                raise TypeError(f"{name} is read-only; expected an array that can be written in place")
            if given[name].shape != array.shape:
                raise ValueError(f"{name} has shape {given[name].shape}; expected {array.shape}")
            if given[name].dtype != array.dtype:
                raise TypeError(f"{name} has dtype {given[name].dtype}; expected {array.dtype}")
            if name in LEAST and not (given[name] >= LEAST[name]).all():
                lowest = given[name][~(given[name] >= LEAST[name])][0]
                raise ValueError(f"{name} has {lowest}; expected {'0 or more' if LEAST[name] == 0 else 'numbers'}")
        for name, array in own.items():
            array[...] = given[name]

    def _state(self) -> dict[str, _Values]:
        return {"weight": self.weight, "bias": self.bias} if self.affine else {}

    def _forward(self, x: Array, residual: Array | None, out: Any) -> tuple[Result, Result, Result]:
        return norm.forward(
            self.kind, x, self.weight, self.bias, None, None, residual, out, self.axis,
            self.groups, 0.0, self.eps, True, self.activation, self.backend, self.num_threads,
        )  # fmt: skip

    def _backward(self, dy: Array, out: Any) -> tuple[Result, ...]:
        return norm.backward(
            self.kind, dy, self.x, self.weight, self.mean, self.rstd, self.y, out, self.axis,
            self.groups, self.activation, self._has_residual, self.backend, self.num_threads,
        )  # fmt: skip


def _kind_of_array(x: Any) -> tuple[Any, Any]:
    return getattr(x, "shape", None), getattr(x, "dtype", None)


class BatchNorm(Norm):
    """Batch normalisation of ``channels`` channels.

    In training mode, the initial mode, forward is `fastopt.batch_norm_forward`. After `eval`, it is
    `fastopt.batch_norm_inference`, and backward treats the running statistics as constants.

    Parameters
    ----------
    channels : int
        Number of channels of x.
    momentum, eps, axis, unbiased, activation, backend, num_threads
        See `fastopt.batch_norm_forward`.
    affine : bool
        If False, weight and bias stay ones and zeros, and are not in params, grads and the state dict.
    dtype : dtype
        Dtype of weight and bias.

    Attributes
    ----------
    running_mean, running_var : array
        float32, or float64 if weight is; start from zeros and ones.
    batches_seen : array of int64, of no dimensions
        Number of batches in training mode.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.norm import BatchNorm
    >>> norm = BatchNorm(2, activation="relu", eps=0.0)
    >>> norm.forward(np.array([[1, 2], [3, 6]], np.float32))
    array([[0., 0.],
           [1., 1.]], dtype=float32)
    >>> dx = norm.backward(np.array([[5, 5], [1, 2]], np.float32))
    >>> norm.grads
    [array([1., 2.], dtype=float32), array([1., 2.], dtype=float32)]
    >>> norm.running_mean
    array([0.2, 0.4], dtype=float32)
    """

    _assignable = (
        Norm._assignable
        | dict.fromkeys(("running_mean", "running_var", "batches_seen"), _array)
        | {"momentum": unchecked, "axis": unchecked, "unbiased": flag}
    )

    kind = norm.BATCH
    _options = ("momentum", "eps", "axis", "affine", "unbiased", "activation", "backend", "num_threads")

    def __init__(
        self,
        channels: int,
        *,
        momentum: Real = 0.1,
        eps: Real = 1e-5,
        axis: SupportsIndex = 1,
        affine: bool = True,
        unbiased: bool = True,
        activation: Activation = None,
        dtype: Any = np.float32,
        backend: Backend = None,
        num_threads: int | None = None,
    ):
        _check_momentum(momentum)
        self.momentum = momentum
        self.unbiased = flag("unbiased", unbiased)
        super().__init__(length("channels", channels), axis, eps, affine, activation, dtype, backend, num_threads)
        self.running_mean: _Values = np.zeros_like(self.dweight)
        self.running_var: _Values = np.ones_like(self.dweight)
        self.batches_seen: NDArray[np.int64] = np.zeros((), np.int64)
        self._used_batch = True

    def use(self, statistics: DatasetStatistics) -> None:
        """Copy the statistics of a data set into the running statistics."""
        if not isinstance(statistics, DatasetStatistics):
            raise TypeError(f"statistics is a {type(statistics).__name__}; expected a DatasetStatistics")
        mean, enough = statistics.mean, 2 if self.unbiased else 1
        if mean.shape != self.running_mean.shape:
            raise ValueError(f"statistics have {mean.size} channels; expected {self.running_mean.size}")
        if statistics.count < enough:
            raise ValueError(f"statistics have a count of {statistics.count}; expected {enough} or more")
        if np.isnan(statistics.m2).any():
            raise ValueError("statistics have NaN; expected statistics of finite values")
        self.running_mean[...] = mean
        self.running_var[...] = np.minimum(statistics.var(self.unbiased), np.finfo(self.running_var.dtype).max)

    def _state(self) -> dict[str, _Values]:
        running = {"running_mean": self.running_mean, "running_var": self.running_var}
        return {**super()._state(), **running, "batches_seen": self.batches_seen}

    def _forward(self, x: Array, residual: Array | None, out: Any) -> tuple[Result, Result, Result]:
        if self.training:
            results = norm.forward(
                norm.BATCH, x, self.weight, self.bias, self.running_mean, self.running_var, residual, out, self.axis,
                0, self.momentum, self.eps, self.unbiased, self.activation, self.backend, self.num_threads,
            )  # fmt: skip
            self.batches_seen[...] += 1
        else:
            y, mean, rstd = out
            y = norm.inference(
                x, self.weight, self.bias, self.running_mean, self.running_var, residual, y, self.axis, self.eps,
                self.activation, self.backend, self.num_threads,
            )  # fmt: skip
            results = y, mean, rstd
        vars(self)["_used_batch"] = self.training
        return results

    def _backward(self, dy: Array, out: Any) -> tuple[Result, ...]:
        if self._used_batch:
            return super()._backward(dy, out)
        return norm.backward_inference(
            dy, self.x, self.weight, self.running_mean, self.running_var, self.y, out, self.axis, self.eps,
            self.activation, self._has_residual, self.backend, self.num_threads,
        )  # fmt: skip


class LayerNorm(Norm):
    """Layer normalisation over the last axes, of shape ``shape``, by `fastopt.layer_norm_forward`.

    Parameters
    ----------
    shape : int or tuple of int
        Shape of weight and bias: the length of x's last axis, or the lengths of its last axes.
    eps, activation, backend, num_threads
        See `fastopt.layer_norm_forward`.
    affine, dtype
        See `BatchNorm`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.norm import LayerNorm
    >>> norm = LayerNorm(2, eps=0.0)
    >>> norm.forward(np.array([[1, 3], [2, 6]], np.float32))
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    _instead = Norm._instead | {"axis": "it follows from shape; make another LayerNorm"}

    kind = norm.LAYER
    _options = ("eps", "affine", "activation", "backend", "num_threads")

    def __init__(
        self,
        shape: int | tuple[int, ...],
        *,
        eps: Real = 1e-5,
        affine: bool = True,
        activation: Activation = None,
        dtype: Any = np.float32,
        backend: Backend = None,
        num_threads: int | None = None,
    ):
        features = lengths("shape", shape)
        super().__init__(features, -len(features), eps, affine, activation, dtype, backend, num_threads)


class InstanceNorm(Norm):
    """Instance normalisation of ``channels`` channels, by `fastopt.instance_norm_forward`.

    Parameters
    ----------
    channels : int
        Number of channels of x.
    eps, axis, activation, backend, num_threads
        See `fastopt.instance_norm_forward`.
    affine, dtype
        See `BatchNorm`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.norm import InstanceNorm
    >>> norm = InstanceNorm(1, eps=0.0)
    >>> norm.forward(np.array([[[1, 3]], [[2, 6]]], np.float32))
    array([[[-1.,  1.]],
    <BLANKLINE>
           [[-1.,  1.]]], dtype=float32)
    """

    _assignable = Norm._assignable | {"axis": unchecked}

    kind = norm.INSTANCE

    def __init__(
        self,
        channels: int,
        *,
        eps: Real = 1e-5,
        axis: SupportsIndex = 1,
        affine: bool = True,
        activation: Activation = None,
        dtype: Any = np.float32,
        backend: Backend = None,
        num_threads: int | None = None,
    ):
        super().__init__(length("channels", channels), axis, eps, affine, activation, dtype, backend, num_threads)


class GroupNorm(Norm):
    """Group normalisation of ``channels`` channels in ``groups`` groups, by `fastopt.group_norm_forward`.

    Parameters
    ----------
    channels : int
        Number of channels of x.
    groups : int
        Number of groups, a divisor of channels.
    eps, axis, activation, backend, num_threads
        See `fastopt.group_norm_forward`.
    affine, dtype
        See `BatchNorm`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt.norm import GroupNorm
    >>> norm = GroupNorm(4, groups=2, eps=0.0)
    >>> norm.forward(np.array([[1, 3, 2, 6]], np.float32))
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    _assignable = Norm._assignable | {"axis": unchecked, "groups": unchecked}

    kind = norm.GROUP
    _options = ("groups", *Norm._options)
    _internal = ("kind",)

    def __init__(
        self,
        channels: int,
        *,
        groups: SupportsIndex,
        eps: Real = 1e-5,
        axis: SupportsIndex = 1,
        affine: bool = True,
        activation: Activation = None,
        dtype: Any = np.float32,
        backend: Backend = None,
        num_threads: int | None = None,
    ):
        channels = length("channels", channels)
        check_groups(groups, channels)
        super().__init__(channels, axis, eps, affine, activation, dtype, backend, num_threads)
        self.groups = groups
