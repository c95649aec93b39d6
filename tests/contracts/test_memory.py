"""Promise 11, memory: all memory allocated by a call or an object is freed, also after an error."""

from __future__ import annotations

import gc
import importlib
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import augment, optim
from fastopt.engine.core import exchange
from fastopt.engine.update.run import run_many
from fastopt.scaling import StandardScaler, Whitener
from fastopt.updates.descent import SGD
from tests.contracts.families import CALLS, FAMILIES
from tests.contracts.families import Call as OfAFamily
from tests.peers import peer
from tests.support import Arrays, copies, libc, lost_by

Call = Callable[[], object]


def strided(*shape: int) -> np.ndarray:
    return np.ones([2 * n for n in shape], "f4")[(slice(None, None, 2),) * len(shape)]


def refused(call: Call) -> Call:
    def refuse() -> None:
        with pytest.raises((TypeError, ValueError)):
            call()

    return refuse


def several_tensors() -> Call:
    tensors = [(strided(3, 5), strided(3, 5)) for _ in range(20)]
    return lambda: run_many(SGD.only, tensors, (0.5, 0.0, 1.0), None, None)


def several_tensors_of_which_the_last_is_refused() -> Call:
    tensors = [(strided(3, 5), strided(3, 5)) for _ in range(20)]
    return refused(lambda: run_many(SGD.only, [*tensors, (strided(3), strided(4))], (0.5, 0.0, 1.0), None, None))


def several_tensors_of_which_two_are_one() -> Call:
    tensors = [(strided(3, 5), strided(3, 5)) for _ in range(20)]
    return refused(lambda: run_many(SGD.only, [*tensors, tensors[0]], (0.5, 0.0, 1.0), None, None))


def an_optimizer() -> Call:
    """With all that its plan may allocate: layouts, places for random rounding, sums, scalars of each tensor's own."""
    params = [strided(3, 5).astype(ml_dtypes.bfloat16), strided(7).astype(ml_dtypes.bfloat16)]
    grads = [strided(3, 5), strided(7)]

    def live() -> None:
        optimizer = optim.AdamW(params, master_weights=True, stochastic_rounding=1, ema_decay=0.5)
        optimizer.step(grads, max_norm=1.0)
        optimizer.step(grads, max_tensor_norm=1.0)

    return live


def a_layerwise_optimizer() -> Call:
    params, grads = [strided(3, 5)], [strided(3, 5)]
    return lambda: optim.LAMB(params).step(grads)


def an_optimizer_that_is_refused() -> Call:
    return refused(lambda: optim.AdamW([strided(3, 5), strided(7).astype("i4")], stochastic_rounding=1))


def gradients_of_other_strides_at_every_step() -> Call:
    optimizer = optim.AdamW([strided(6, 5), np.ones((6, 5), "f4")])
    grads = [np.ones((6, 5), "f4"), np.ones((6, 5), "f4", order="F"), strided(6, 5)]

    def steps() -> None:
        for grad in grads:
            optimizer.step([grad, grad])

    return steps


def a_scaler() -> Call:
    x = strided(50, 3)
    return lambda: StandardScaler().fit(x).transform_(x)


def a_whitener() -> Call:
    x = np.random.default_rng(0).standard_normal((50, 3))
    return lambda: Whitener().fit(x).transform(x)


def a_scaler_that_refuses_infinity() -> Call:
    x = np.full((50, 3), np.inf)
    return refused(lambda: StandardScaler(nan="ignore").fit(x))


def a_norm() -> Call:
    x = strided(6, 5)
    return lambda: fastopt.batch_norm_backward(x, x.copy(), None, *fastopt.batch_norm_forward(x)[1:])


def dropout() -> Call:
    x = strided(6, 5)
    return lambda: fastopt.dropout_forward(x, p=0.5, seed=1, out=x)


def augmentation() -> Call:
    x = strided(6, 3, 5, 5)
    return lambda: augment.noise_(augment.crop(augment.flip(x, seed=1), shape=5, padding=1, seed=1), std=1.0, seed=1)


def batches() -> Call:
    data = strided(10, 3), strided(10)
    return lambda: list(fastopt.minibatches(*data, batch_size=3, seed=1))


class Exported:
    """An array by DLPack alone, of the version that is asked for, or from before there were versions."""

    def __init__(self, versioned: bool):
        self.array = np.ones(1000, "f4")
        self.versioned = versioned

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options) if self.versioned else self.array.__dlpack__()


def dlpack() -> Call:
    return lambda: fastopt.sgd(Exported(True), Exported(False), lr=0.5)


def dlpack_that_is_refused() -> Call:
    return refused(lambda: fastopt.sgd(Exported(True), np.ones(3, "f4"), lr=0.5))


def tensors_of_pytorch() -> Call:
    torch = peer("torch")
    importlib.import_module("fastopt.torch")
    tensors = [torch.ones(3, 5), torch.ones(7)]

    def look() -> None:
        assert exchange.TensorFingerprint(tensors).holds(tensors)
        fastopt.sgd(torch.ones(1000), torch.ones(1000), lr=0.5)

    return look


KINDS = [
    several_tensors,
    several_tensors_of_which_the_last_is_refused,
    several_tensors_of_which_two_are_one,
    an_optimizer,
    a_layerwise_optimizer,
    an_optimizer_that_is_refused,
    gradients_of_other_strides_at_every_step,
    a_scaler,
    a_whitener,
    a_scaler_that_refuses_infinity,
    a_norm,
    dropout,
    augmentation,
    batches,
    dlpack,
    dlpack_that_is_refused,
    pytest.param(tensors_of_pytorch, marks=pytest.mark.peers),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_allocated_is_freed(kind):
    assert lost_by(kind()) == 0


def run_on_copies(call: OfAFamily, arrays: Arrays) -> None:
    """Else parameters would grow without bound."""
    call.run(copies(arrays))


@pytest.mark.parametrize("family", FAMILIES)
def test_calls_and_refusals_free_what_they_allocate(family):
    """Of every function: what malloc gave, and what Python's objects take."""
    calls = []
    for call in (call for call in CALLS if call.family == family):
        arrays = call.make((6, 20), call.dtypes[0])
        last = list(arrays)[-1]
        mixed = {name: np.asfortranarray(x) if name == last else x for name, x in arrays.items()}
        calls += [partial(run_on_copies, call, arrays), partial(run_on_copies, call, mixed)]
        if call.floating:
            calls.append(refused(partial(call.run, arrays | {last: "no array"})))

    def every_call() -> None:
        for call in calls:
            call()

    def grown(calls: int = 20) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(calls):
            every_call()
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) // calls

    # Caches of Python and NumPy grow now and then; what is never freed grows in every round.
    assert any(lost_by(every_call, 20) == 0 for _ in range(10))
    tracemalloc.start()
    try:
        assert any(grown() < 16 for _ in range(5))
    finally:
        tracemalloc.stop()


def test_what_is_not_freed_is_seen():
    """Else the tests above would see nothing."""
    kept = []
    assert lost_by(lambda: kept.append(libc.malloc(1))) >= 1
    for address in kept:
        libc.free(address)
