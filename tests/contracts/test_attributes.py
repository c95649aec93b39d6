"""Promise 18: attributes that are not assignable raise an error that says what to do, for every object."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import numpy as np
import pytest

import fastopt
from fastopt import norm, optim, scaling, schedules

PARAMS = {"a": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}
WRONG = 0.125
X = np.arange(12, dtype=np.float64).reshape(6, 2)


@fastopt.rule
def downhill(param, grad, /, lr):
    """Follow the gradient."""
    return param - lr * grad


def optimizer(kind, **options):
    return getattr(optim, kind)({name: param.copy() for name, param in PARAMS.items()}, **{"lr": 0.5, **options})


def used(made, x):
    """A norm that has gone forward and backward."""
    made.backward(np.ones_like(made.forward(x)))
    return made


IMAGES = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
OBJECTS = {
    **{
        kind: lambda kind=kind: optimizer(kind)
        for kind in optim.__all__
        if kind not in ("Group", "Optimizer", "StepResult")
    },
    "Group": lambda: optimizer("Adam").groups[0],
    "a user's optimizer": lambda: downhill.optimizer([np.ones(3, np.float32)], lr=0.5),
    "BatchNorm": lambda: used(norm.BatchNorm(4), IMAGES),
    "LayerNorm": lambda: used(norm.LayerNorm(4), IMAGES),
    "InstanceNorm": lambda: used(norm.InstanceNorm(4), IMAGES[:, :, None]),
    "GroupNorm": lambda: used(norm.GroupNorm(4, groups=2), IMAGES),
    "DatasetStatistics": lambda: norm.DatasetStatistics(3),
    **{
        kind: lambda kind=kind: getattr(scaling, kind)().fit(X)
        for kind in scaling.__all__
        if "Scal" in kind or "Norm" in kind
    },
    "Whitener": lambda: scaling.Whitener(eps=0.5).fit(X),
    "an unfitted scaler": scaling.StandardScaler,
    "ReduceOnPlateau": lambda: schedules.ReduceOnPlateau(0.5),
    "constant": lambda: schedules.constant(0.5),
    "cosine": lambda: schedules.cosine(0.5, steps=9),
    "cosine_restarts": lambda: schedules.cosine_restarts(0.5, steps=9),
    "exponential": lambda: schedules.exponential(0.5, gamma=0.5),
    "inverse_sqrt": lambda: schedules.inverse_sqrt(0.5),
    "inverse_time": lambda: schedules.inverse_time(0.5, rate=0.5),
    "linear": lambda: schedules.linear(0.5, steps=9),
    "one_cycle": lambda: schedules.one_cycle(0.5, steps=9),
    "per_epoch": lambda: schedules.per_epoch(schedules.constant(0.5), steps=9),
    "piecewise": lambda: schedules.piecewise([0.5, 0.25], boundaries=[9]),
    "polynomial": lambda: schedules.polynomial(0.5, steps=9),
    "sequence": lambda: schedules.sequence([schedules.constant(0.5)], boundaries=[]),
    "step": lambda: schedules.step(0.5, every=9),
    "warmup": lambda: schedules.warmup(schedules.constant(0.5), steps=9),
    "minibatches": lambda: fastopt.minibatches(X, batch_size=2, seed=0),
    "kernel": lambda: fastopt.kernel("adam", "float32"),
    "rule": lambda: fastopt.rule(downhill.function),
}
every_object = pytest.mark.parametrize("name", OBJECTS)

#: For each class, what can be assigned, and to what.
OF_NORMS = {"weight": np.ones(4), "bias": np.ones(4), "dweight": np.ones(4), "dbias": np.ones(4), "training": False,
            "axis": 1, "eps": 0.5, "affine": False, "activation": "relu", "backend": "cython", "num_threads": 2,
            "groups": 2, "running_mean": np.ones(4), "running_var": np.ones(4), "momentum": 0.5, "unbiased": False,
            "batches_seen": np.zeros((), np.int64)}  # fmt: skip
OF_SCALERS = {"nan": "ignore", "backend": "cython", "num_threads": 2, "feature_range": (1.0, 2.0), "with_mean": False,
              "with_std": False, "unbiased": True}  # fmt: skip
CAN_BE_ASSIGNED = {
    optim.Optimizer: {"num_threads": 2},
    optim.Group: {"lr": 1.0, "beta1": 0.5, "beta2": 0.5, "eps": 0.5, "bias_correction": False, "weight_decay": 0.5,
                  "amsgrad": False},
    norm.LayerNorm: {name: value for name, value in OF_NORMS.items() if name != "axis"},
    norm.BatchNorm.__mro__[1]: OF_NORMS,
    norm.DatasetStatistics: {"axis": 2, "backend": "cython", "num_threads": 2},
    scaling.Whitener: {"eps": 0.25, "num_threads": 2},
    scaling.StandardScaler.__mro__[1]: OF_SCALERS,
    schedules.ReduceOnPlateau: {"lr": 0.25, "factor": 0.25, "patience": 3, "threshold": 0.5, "threshold_mode": "abs",
                                "cooldown": 3, "min_lr": 0.125, "eps": 0.5, "best": 3.0,
                                "num_bad_epochs": 2, "cooldown_counter": 2},
}  # fmt: skip


def can_be_assigned(made):
    return next((names for kind, names in CAN_BE_ASSIGNED.items() if isinstance(made, kind)), {})


def public(made):
    return [name for name in dir(made) if not name.startswith("_")]


def test_no_class_is_left_out():
    modules = (optim, norm, scaling, schedules)
    classes = {each for module in modules for each in vars(module).values() if inspect.isclass(each)}
    public_ones = {each for each in classes if any(each.__name__ in module.__all__ for module in modules)}
    public_ones -= {optim.Optimizer, optim.StepResult, scaling.NotFittedError}
    assert public_ones <= {type(make()) for make in OBJECTS.values()}


@every_object
def test_what_can_be_assigned_is_and_all_else_is_refused(name):
    made = OBJECTS[name]()
    known = can_be_assigned(made)
    for attribute in public(made):
        if attribute in known:
            setattr(made, attribute, known[attribute])
            assert np.all(getattr(made, attribute) == known[attribute])
        else:
            with pytest.raises(AttributeError, match=r"can't be (assigned|changed|replaced)|is not a hyperparameter"):
                setattr(made, attribute, WRONG)
            assert vars(made).get(attribute) is not WRONG


@every_object
def test_other_names_are_refused(name):
    """What is mistyped would be lost, too."""
    made = OBJECTS[name]()
    for attribute in ("learning_rate", "beta_1"):
        with pytest.raises(AttributeError, match=f"^'?{attribute}'? .*(can't be|is not a hyperparameter)"):
            setattr(made, attribute, 0.125)
        assert not hasattr(made, attribute)


@every_object
def test_nothing_can_be_deleted(name):
    made = OBJECTS[name]()
    for attribute in vars(made):
        if not attribute.startswith("_"):
            with pytest.raises(AttributeError, match=f"^{attribute}.* can't be (deleted|changed)"):
                delattr(made, attribute)


# ---- Optimizers


def test_an_error_says_what_to_write_instead():
    made = optimizer("AdamW")
    for attribute, message in {
        "lr": r"it is a hyperparameter of each group: assign optimizer\.groups\[0\]\.lr$",
        "weight_decay": r"assign optimizer\.groups\[0\]\.weight_decay$",
        "state": r"write into the arrays, as in optimizer\.state\[0\]\['m'\]\[\.\.\.\] = 0, or call load_state_dict$",
        "steps": r"write into the array, as in optimizer\.steps\[\.\.\.\] = 0, or call load_state_dict$",
        "step_count": "call load_state_dict$",
        "groups": r"assign its hyperparameters, as in optimizer\.groups\[0\]\.lr = 0\.1, or make another optimizer$",
        "master_weights": "make another optimizer with it$",
        "beta3": "; expected num_threads or ema_decay$",
    }.items():
        with pytest.raises(AttributeError, match=f"^{attribute} of AdamW can't be assigned.*{message}"):
            setattr(made, attribute, 1000.0)
    assert made.groups[0].lr == 0.5
    with pytest.raises(AttributeError, match=r"^mu_products of NAdam can't be assigned: call load_state_dict$"):
        optimizer("NAdam").mu_products = [1.0, 1.0]


CHANGES_OF_LISTS = {
    "an item": lambda given: given.__setitem__(0, None),
    "no item": lambda given: given.__delitem__(0),
    "one more": lambda given: given.append(None),
    "some more": lambda given: given.extend([None]),
    "at once": lambda given: given.__iadd__([None]),
    "times": lambda given: given.__imul__(2),
    "inserted": lambda given: given.insert(0, None),
    "popped": lambda given: given.pop(),
    "removed": lambda given: given.remove(given[0]),
    "cleared": lambda given: given.clear(),
    "reversed": lambda given: given.reverse(),
    "sorted": lambda given: given.sort(),
}
CHANGES_OF_DICTS = {
    "an item": lambda given: given.__setitem__("a", None),
    "no item": lambda given: given.__delitem__("a"),
    "updated": lambda given: given.update(a=None),
    "at once": lambda given: given.__ior__({"a": None}),
    "a default": lambda given: given.setdefault("c", None),
    "popped": lambda given: given.pop("a", None),
    "an item popped": lambda given: given.popitem(),
    "cleared": lambda given: given.clear(),
}


def test_lists_and_dicts_of_an_optimizer_stay_as_they_are():
    by_name, by_place = optimizer("Adam"), optim.Adam([np.ones(3, np.float32), np.ones(2, np.float32)])
    group = by_place.groups[0]
    state, params = "the state can't be replaced: write into", "the parameters of a group can't be replaced: write into"
    for changes, given, message in (
        (CHANGES_OF_LISTS, by_place.state, state),
        (CHANGES_OF_DICTS, by_name.state, state),
        (CHANGES_OF_DICTS, by_name.state["a"], state),
        (CHANGES_OF_DICTS, by_place.state[0], state),
        (CHANGES_OF_LISTS, by_place.groups, "groups can't be changed: assign its hyperparameters"),
        (CHANGES_OF_LISTS, group.params, params),
        (CHANGES_OF_LISTS, group.names, params),
    ):
        before = repr(given)
        for change in changes.values():
            with pytest.raises(TypeError, match=f"^{message}"):
                change(given)
        assert repr(given) == before
        plain = list if isinstance(given, list) else dict
        for copied in (copy.copy(given), copy.deepcopy(plain(given)), plain(given)):
            assert type(copied) is plain
    assert pickle.loads(pickle.dumps(by_name.state))["a"]["m"].tolist() == by_name.state["a"]["m"].tolist()
    for attribute in ("params", "names"):
        with pytest.raises(AttributeError, match=r"^the parameters of a group can't be replaced"):
            setattr(group, attribute, [])


def test_an_assigned_decay_of_averages_is_that_of_the_next_step():
    made, grads = optimizer("SGD", ema_decay=0.5), {name: np.ones_like(param) for name, param in PARAMS.items()}
    for decay in (0.5, 0.0, 1.0, 0.25):
        made.ema_decay = decay
        assert made.ema_decay == decay
        before = made.state["b"]["ema"].copy()
        made.step(grads)
        wanted = decay * before + (1 - decay) * made.groups[0].params[1]
        np.testing.assert_allclose(made.state["b"]["ema"], wanted, rtol=1e-6)
    assert made.state_dict()["ema_decay"] == 0.25
    for bad, error in ((1.5, ValueError), (None, TypeError), ("a", TypeError)):
        with pytest.raises(error):
            made.ema_decay = bad
    assert made.ema_decay == 0.25
    with pytest.raises(
        AttributeError, match=r"^ema_decay of \w+ can't be assigned: it was made without averages; make another"
    ):
        optimizer("SGD").ema_decay = 0.5


def test_a_users_class_has_attributes_of_its_own():
    class Counting(optim.SGD):
        def __init__(self, params):
            super().__init__(params, lr=0.5)
            self.calls = 0

        def step(self, *given, **named):
            self.calls += 1
            return super().step(*given, **named)

    made = Counting([np.ones(3, np.float32)])
    made.step([np.ones(3, np.float32)])
    made.calls += 1
    assert made.calls == 2
    with pytest.raises(AttributeError, match=r"^lr of Counting can't be assigned: it is a hyperparameter"):
        made.lr = 0.1


# ---- Others


@pytest.mark.parametrize(
    ("name", "attribute", "value", "error", "match"),
    [
        ("StandardScaler", "nan", "drop", ValueError, "nan is 'drop'; expected 'refuse' or 'ignore'"),
        ("StandardScaler", "with_std", "no", TypeError, "with_std is 'no', a str; expected True or False"),
        ("MinMaxScaler", "feature_range", (1, 0), ValueError, "feature_range is"),
        ("Whitener", "eps", -1.0, ValueError, "eps is -1.0"),
        ("Whitener", "method", "pca", AttributeError, "method of Whitener can't be assigned: make another"),
        ("MinMaxScaler", "min", X, AttributeError, "min of MinMaxScaler can't be assigned: call fit or"),
        ("ReduceOnPlateau", "lr", -1.0, ValueError, "lr is -1.0"),
        ("ReduceOnPlateau", "patience", 1.5, TypeError, "patience is 1.5"),
        ("cosine", "lr", 0.1, dataclasses.FrozenInstanceError, "lr can't be changed: dataclasses.replace makes"),
        ("BatchNorm", "mean", X, AttributeError, "mean of BatchNorm can't be assigned: forward sets it"),
        ("minibatches", "epoch", 3, AttributeError, "epoch of MiniBatches can't be assigned: call load_state_dict"),
        ("kernel", "address", 3, AttributeError, "address of Kernel can't be assigned: fastopt.kernel makes another"),
        ("rule", "defaults", {}, AttributeError, "defaults of Rule can't be assigned: fastopt.rule makes another rule"),
    ],
)  # fmt: skip
def test_checks_and_sentences(name, attribute, value, error, match):
    made = OBJECTS[name]()
    before = repr(getattr(made, attribute))
    with pytest.raises(error, match="^" + match):
        setattr(made, attribute, value)
    assert repr(getattr(made, attribute)) == before


@pytest.mark.parametrize("kind", [norm.BatchNorm, norm.LayerNorm, norm.InstanceNorm, norm.GroupNorm])
def test_a_norm_takes_the_attributes_that_it_uses_alone(kind):
    """One that others use would be lost."""
    made = kind(4, groups=2) if kind is norm.GroupNorm else kind(4)
    for name in {*OF_NORMS} - {*dir(made)}:
        with pytest.raises(AttributeError, match=f"^{name} of {kind.__name__} can't be assigned; expected weight"):
            setattr(made, name, OF_NORMS[name])
    for name in ("training", "affine"):
        with pytest.raises(TypeError, match=f"^{name} is 'no'"):
            setattr(made, name, "no")
    with pytest.raises(TypeError, match=r"^weight is None; expected an array$"):
        made.weight = None


class Kept(optim.Adam):
    """What a user may write: with an attribute from before the optimizer is made."""

    def __init__(self, params):
        self.history = []
        super().__init__(params)


def test_attributes_of_a_users_class_can_be_set_and_deleted():
    made = Kept([np.ones(2)])
    made.history.append(1)
    del made.history
    assert not hasattr(made, "history")
    with pytest.raises(AttributeError, match=r"^groups of Kept can't be deleted$"):
        del made.groups


def test_arguments_of_a_plateau_fit_together_when_they_are_assigned():
    made = schedules.ReduceOnPlateau(0.5)
    with pytest.raises(ValueError, match=r"^threshold is 2\.0; expected it below 1 with mode='min'"):
        made.threshold = 2.0
    with pytest.raises(AttributeError, match=r"^mode of ReduceOnPlateau can't be assigned"):
        made.mode = "max"
    made.load_state_dict(made.state_dict())
