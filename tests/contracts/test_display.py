"""The representation of objects: one-line repr, tab completion and `help`."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
from typing import Any

import numpy as np
import pytest

import fastopt
from fastopt import norm, optim, scaling, schedules
from fastopt.backends.cython import ISA
from fastopt.capi import Kernel
from fastopt.data.minibatches import MiniBatches
from fastopt.extending import Rule
from fastopt.optim.groups import Group
from tests.support import run_python


@fastopt.rule
def heavy_ball(param, grad, velocity, /, lr, momentum=0.5):
    """Polyak's momentum."""
    velocity = momentum * velocity - lr * grad
    return param + velocity, velocity


@fastopt.rule
def undocumented(param, grad, /, lr):
    return param - lr * grad


@fastopt.rule(prepare=lambda step, lr=0.1: {"step_size": lr / step})
def prepared(param, grad, /, step_size):
    """Less at each step."""
    return param - step_size * grad


X = np.array([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]])
Y = np.array([[1.0, np.nan], [3.0, 5.0]])


def params(count: int = 2) -> list[np.ndarray]:
    return [np.ones(3, np.float32) for _ in range(count)]


def stepped(optimizer: optim.Optimizer) -> optim.Optimizer:
    optimizer.step([np.ones(3, np.float32) for _ in optimizer.state])
    return optimizer


ADAM = "beta1=0.9, beta2=0.999, eps=1e-08, amsgrad=False, weight_decay=0.01"
CALL = "weight_decay=0.0, grad_scale=1.0, backend=None, num_threads=None, stream=None"
STANDARD = "with_mean=True, with_std=True, unbiased=False, nan='refuse'"

#: An object of each kind, and what it says.
SHOWN: list[tuple[Any, str]] = [
    (stepped(optim.AdamW(params())), f"AdamW(2 parameters, lr=0.001, {ADAM}, step_count=1)"),
    (optim.SGD(params(1), lr=0.5), "SGD(1 parameter, lr=0.5, weight_decay=0.0, step_count=0)"),
    (
        optim.AdamW([{"params": params()}, {"params": params(1), "lr": 0.1}], ema_decay=0.0, stochastic_rounding=0),
        f"AdamW(3 parameters in 2 groups, lr=[0.001, 0.1], {ADAM}, stochastic_rounding=0, ema_decay=0.0, step_count=0)",
    ),
    (
        optim.SGD(params(1), lr=schedules.constant(0.5), master_weights=True),
        "SGD(1 parameter, lr=constant(lr=0.5), weight_decay=0.0, master_weights=True, step_count=0)",
    ),
    (optim.SGD(params(1), lr=0.5).groups[0], "Group(1 parameter, lr=0.5, weight_decay=0.0)"),
    (
        heavy_ball.optimizer(params(), lr=0.5),
        "heavy_ball(2 parameters, lr=0.5, momentum=0.5, weight_decay=0.0, step_count=0)",
    ),
    (heavy_ball, f"<rule heavy_ball(param, grad, velocity, /, *, lr, momentum=0.5, {CALL})>"),
    (prepared, f"<rule prepared(param, grad, /, *, step, lr=0.1, {CALL})>"),
    (
        norm.BatchNorm(64, activation="relu"),
        "BatchNorm(64, momentum=0.1, eps=1e-05, axis=1, affine=True, unbiased=True, activation='relu', "
        "dtype='float32', training=True)",
    ),
    (norm.LayerNorm((3, 4)).eval(), "LayerNorm((3, 4), eps=1e-05, affine=True, dtype='float32', training=False)"),
    (
        norm.InstanceNorm(3, num_threads=2, dtype=np.float64),
        "InstanceNorm(3, eps=1e-05, axis=1, affine=True, num_threads=2, dtype='float64', training=True)",
    ),
    (
        norm.GroupNorm(4, groups=2, backend="numba", affine=False),
        "GroupNorm(4, groups=2, eps=1e-05, axis=1, affine=False, backend='numba', dtype='float32', training=True)",
    ),
    (norm.DatasetStatistics(3), "DatasetStatistics(3, axis=1, count=0)"),
    (scaling.StandardScaler(), f"StandardScaler({STANDARD}) (not fitted)"),
    (scaling.StandardScaler().fit(X), f"StandardScaler({STANDARD}, n_features=2, count=3)"),
    (
        scaling.MinMaxScaler(nan="ignore").fit(Y),
        "MinMaxScaler(feature_range=(0.0, 1.0), nan='ignore', n_features=2, count=1 to 2)",
    ),
    (scaling.MeanNormalizer(), "MeanNormalizer(nan='refuse') (not fitted)"),
    (scaling.MaxAbsScaler(), "MaxAbsScaler(nan='refuse') (not fitted)"),
    (scaling.Whitener(), "Whitener(method='zca', eps=0.0) (not fitted)"),
    (
        scaling.Whitener(method="pca", n_components=1).fit(X),
        "Whitener(method='pca', n_components=1, eps=0.0, n_features=2, count=3)",
    ),
    (schedules.cosine(0.5, steps=10), "cosine(lr=0.5, steps=10, final=0.0)"),
    (
        schedules.ReduceOnPlateau(0.5),
        "ReduceOnPlateau(lr=0.5, factor=0.1, patience=10, threshold=0.0001, threshold_mode='rel', mode='min', "
        "cooldown=0, min_lr=0.0, eps=1e-08, best=inf, num_bad_epochs=0, cooldown_counter=0)",
    ),
    (
        fastopt.minibatches(X, batch_size=2, seed=5),
        "MiniBatches(3 samples, batch_size=2, shuffle=True, drop_last=False, seed=5, epoch=0)",
    ),
    (
        fastopt.kernel("lion", "float64", decay=True),
        f"Kernel('lion', 'float64', weight_decay=False, decay=True, isa='{ISA}', arrays=('param', 'grad', 'm'))",
    ),
]

#: Of which there is one optimizer each, with defaults.
OPTIMIZERS = [
    getattr(optim, name)(params(), lr=0.1)
    for name in optim.__all__
    if isinstance(getattr(optim, name), type) and issubclass(getattr(optim, name), optim.Optimizer)
    if getattr(optim, name) is not optim.Optimizer
]

OBJECTS = [*(shown for shown, _ in SHOWN), *OPTIMIZERS]
every_object = pytest.mark.parametrize("shown", OBJECTS, ids=lambda shown: type(shown).__name__)

#: Names without an underscore that are the library's own affair.
MACHINERY = {
    optim.Optimizer: {"choose", "layerwise", "starts", "update", "variant"},
    Group: {"grad_scale", "mu_product", "step"},
    norm.objects.Norm: {"kind"},
    norm.LayerNorm: {"groups", "momentum", "running_mean", "running_var", "unbiased"},
    norm.BatchNorm: {"groups"},
    norm.GroupNorm: {"momentum", "running_mean", "running_var", "unbiased"},
    Rule: {"update"},
}

#: What users need of each.
PUBLIC = {
    optim.Optimizer: {
        "groups",
        "load",
        "load_state_dict",
        "save",
        "state",
        "state_dict",
        "step",
        "step_count",
        "steps",
    },
    Group: {"hyperparameters", "lr", "names", "params", "weight_decay"},
    norm.objects.Norm: {"backward", "bias", "eps", "forward", "grads", "params", "training", "weight", "y"},
    norm.BatchNorm: {"batches_seen", "momentum", "running_mean", "running_var", "unbiased", "use"},
    norm.GroupNorm: {"groups"},
    norm.DatasetStatistics: {"count", "m2", "mean", "merge", "update", "var"},
    scaling.scaler.Fitted: {"fit", "merge", "n_features", "partial_fit", "state_dict", "transform", "transform_"},
    scaling.MinMaxScaler: {"feature_range", "max", "min"},
    schedules.cosine: {"final", "lr", "steps"},
    schedules.ReduceOnPlateau: {"best", "lr", "observe", "state_dict"},
    MiniBatches: {"batch_size", "epoch", "samples", "seed", "state_dict"},
    Kernel: {"address", "arrays", "decay", "dtype", "isa", "name", "prepare", "scalars", "weight_decay"},
    Rule: {"arrays", "hyperparameters", "name", "optimizer", "reference"},
}


@pytest.mark.parametrize(("shown", "expected"), SHOWN, ids=[expected.partition("(")[0] for _, expected in SHOWN])
def test_repr(shown: Any, expected: str) -> None:
    assert repr(shown) == expected


@every_object
def test_repr_is_one_line_without_addresses(shown: Any) -> None:
    assert "\n" not in repr(shown)
    assert " at 0x" not in repr(shown)


@every_object
def test_dir(shown: Any) -> None:
    names = dir(shown)
    assert not [name for name in names if name.startswith("_")]
    for kind, machinery in MACHINERY.items():
        if isinstance(shown, kind):
            assert not machinery & set(names)
    for kind, public in PUBLIC.items():
        if isinstance(shown, kind):
            assert public <= set(names)


def test_every_public_class_is_among_them() -> None:
    public = [getattr(module, name) for module in (optim, norm, scaling, schedules) for name in module.__all__]
    families = (optim.Optimizer, schedules.schedule.Schedule)  # each has one `repr`
    others = (Exception, optim.StepResult)
    classes = {each for each in public if isinstance(each, type) and not issubclass(each, (*families, *others))}
    assert classes <= {type(each) for each in OBJECTS}


def test_objects_say_what_makes_them_again() -> None:
    for shown in (norm.BatchNorm, norm.LayerNorm):
        text = repr(shown(8)).replace(", training=True", "")
        assert repr(eval(text, vars(norm))) == repr(shown(8))
    for scaler in (scaling.StandardScaler(unbiased=True), scaling.Whitener(method="pca", n_components=2)):
        text = repr(scaler).replace(" (not fitted)", "")
        assert repr(eval(text, vars(scaling))) == repr(scaler)


# ---- Rules


def test_a_rule_has_the_names_of_its_function() -> None:
    function = heavy_ball.function
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(heavy_ball, name) == getattr(function, name)
    assert heavy_ball.__wrapped__ is function
    assert inspect.getsource(heavy_ball) == inspect.getsource(function)
    assert undocumented.__doc__ is None
    assert type(heavy_ball.optimizer(params(), lr=0.5)).__module__ == __name__


def test_signature_of_a_rule() -> None:
    """It is what calls take."""
    signature = inspect.signature(heavy_ball)
    assert str(signature) == f"(param, grad, velocity, /, *, lr, momentum=0.5, {CALL})"
    arrays = [np.ones(3) for _ in range(3)]
    bound = signature.bind(*arrays, lr=0.5, num_threads=1)
    bound.apply_defaults()
    heavy_ball(*bound.args, **{**bound.kwargs, "backend": "reference"})
    np.testing.assert_array_equal(arrays[2], np.zeros(3))
    with pytest.raises(TypeError):
        signature.bind(*arrays)


def squeezed(text: str) -> str:
    """Return a text without white space: from 3.13 on, Python breaks long signatures."""
    return "".join(text.split())


def test_help_of_a_rule() -> None:
    """Of one with a docstring, and one without; in a class, too, and in a module's."""

    class Holder:
        rule = heavy_ball

    for rule, doc in ((heavy_ball, "Polyak's momentum."), (undocumented, ""), (prepared, "Less at each step.")):
        text = pydoc.plain(pydoc.render_doc(rule))
        assert squeezed(f"{rule.name}{inspect.signature(rule)}") in squeezed(text)
        assert doc in text
        assert "An update that a user wrote" not in text
    assert Holder.rule is Holder().rule is heavy_ball
    printed = run_python("import tests.contracts.test_display as t; help(t.heavy_ball); help(t)")
    assert squeezed(printed).count("heavy_ball(param,grad,velocity,/,*,lr,momentum=0.5") == 2
    assert printed.count("Polyak's momentum.") == 2


def test_rules_are_pickled_and_copied_by_name() -> None:
    for rule in (heavy_ball, undocumented, prepared):
        for copied in (pickle.loads(pickle.dumps(rule)), copy.copy(rule), copy.deepcopy(rule)):
            assert copied is rule

    @fastopt.rule
    def local(param, grad, /, lr):
        return param - lr * grad

    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(local)
