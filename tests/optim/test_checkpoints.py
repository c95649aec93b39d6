"""Promise 12: training continues from a saved state, in a dict or a file, with the same bits; saves are atomic."""

from __future__ import annotations

import json
import os
import pickle
import stat
import textwrap
import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastopt import optim
from fastopt.optim import atomic, checkpoint
from tests.support import assert_same_bits, bits, run_python

ENDINGS = ["npz", "safetensors"]
every_ending = pytest.mark.parametrize("ending", ENDINGS)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
#: Steps before a checkpoint, and after it. RAdam is rectified from the sixth step on.
STEPS = 4


def falling(step):
    return 0.01 / step


@dataclass(frozen=True)
class Case:
    """An optimizer, and what another one, which loads its checkpoint, is made with in place of that."""

    kind: str
    made_with: dict[str, Any] = field(default_factory=dict)
    otherwise: dict[str, Any] = field(default_factory=lambda: {"lr": 0.77, "weight_decay": 0.3})
    dtypes: tuple[Any, ...] = (np.float32, np.float32, np.float64)
    grouped: bool = False

    @property
    def name(self):
        """What messages call it."""
        options = ",".join(f"{name}={getattr(value, '__name__', value)}" for name, value in self.made_with.items())
        return f"{self.kind}({options}){'grouped' * self.grouped}{'half' * (np.float16 in self.dtypes)}"

    def params(self):
        """Return new parameters, one of them in Fortran's order, with names that files may find hard."""
        rng = np.random.default_rng(1)
        shapes = [(7, 5), (40, 300), ()]
        params = [np.array(rng.standard_normal(s)).astype(d) for s, d in zip(shapes, self.dtypes, strict=True)]
        return {"a/w.m": params[0], "b\0ü\ud800": np.asfortranarray(params[1]), "": params[2]}

    def make(self, params, **otherwise):
        """Return a new optimizer of these parameters."""
        given = [{"params": {name: param}} for name, param in params.items()] if self.grouped else params
        if self.grouped:
            given[1]["lr"] = 0.5 if otherwise else 0.02
        return getattr(optim, self.kind)(given, **{**self.made_with, **otherwise})


HALF = (BFLOAT16, BFLOAT16, np.float16)
MASTERS = {"master_weights": True, "stochastic_rounding": 2**64 - 1, "ema_decay": 0.75}
CASES = [
    *(Case(kind, {"lr": 0.01}) for kind in optim.__all__ if kind not in ("Group", "Optimizer", "StepResult")),
    Case("Momentum", {"lr": falling, "nesterov": True, "form": "average", "dampening": 0.0}, {"weight_decay": 0.3}),
    Case("RMSprop", {"centered": True, "momentum": 0.5}),
    Case("Adam", {"lr": falling, "amsgrad": True}, {"eps": 0.1}),
    Case("AdamW", {"beta1": np.float32(0.9), "amsgrad": True}, {"beta1": 0.5}, grouped=True),
    Case("AdEMAMix", {"warmup": 5}, {"warmup": None}),
    Case("LARS", {"lr": 1.0, "trust_coefficient": np.float32(0.1), "weight_decay": np.float32(0.1)}),
    Case("NAdam", {"lr": 0.01}, grouped=True),
    Case("AdamW", {"ema_decay": 0.75}, {"ema_decay": 0.25}),
    Case("AdamW", MASTERS, {"stochastic_rounding": 5, "ema_decay": 0.25}, HALF),
    Case("SGD", {"lr": 0.01, "stochastic_rounding": 3}, {"stochastic_rounding": 4}, HALF),
    Case("AdamW", {"state_dtype": BFLOAT16, "ema_decay": 0.5}, {"lr": 0.1}, HALF),
    Case("Lion", {"state_dtype": "float16"}, {"lr": 0.1}, (*HALF[:2], np.float32)),
    Case("LAMB", MASTERS, {"stochastic_rounding": 5}, HALF),
]
every_case = pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])


def train(optimizer, params, first, last):
    """Make steps with gradients of their own, which the second parameter does not have at each."""
    for step in range(first, last):
        rng = np.random.default_rng(100 + step)
        grads = {name: np.array(rng.standard_normal(param.shape)).astype(param.dtype) for name, param in params.items()}
        if step % 2:
            grads["b\0ü\ud800"] = None
        if step == 2 and "beta1" in optimizer.groups[0].hyperparameters:
            optimizer.groups[0].beta1 = 0.7  # which NAdam's product of mu remembers
        optimizer.step(grads)


def results(optimizer, params):
    """All that steps change, by name."""
    state = optimizer.state_dict()
    arrays = {f"{name} {kind}": array for name, own in state["state"].items() for kind, array in own.items()}
    return {**params, **arrays, "steps": state["steps"], "step_count": np.array(state["step_count"])}


def everything(optimizer):
    """The state dict with bits in place of arrays, to be compared; and what the caller may not know of."""
    state = optimizer.state_dict()
    state["steps"] = state["steps"].tolist()
    own = state["state"].items() if isinstance(state["state"], dict) else enumerate(state["state"])
    state["state"] = {(name, kind): bits(array).tolist() for name, each in own for kind, array in each.items()}
    return state, [group.hyperparameters for group in optimizer.groups]


def own_arrays(optimizer):
    return [array for own in optimizer.state.values() for array in own.values()]


def go_on(folder):
    """Load every checkpoint of a folder and make the steps that are left; what a process of its own runs."""
    for number, case in enumerate(CASES):
        for ending in ENDINGS:
            with open(f"{folder}/{number}.params", "rb") as file:
                params = pickle.load(file)
            optimizer = case.make(params, **case.otherwise)
            before = own_arrays(optimizer)
            optimizer.load(f"{folder}/{number}.{ending}")
            assert all(a is b for a, b in zip(own_arrays(optimizer), before, strict=True))
            train(optimizer, params, STEPS, 2 * STEPS)
            with open(f"{folder}/{number}.{ending}.results", "wb") as file:
                pickle.dump(results(optimizer, params), file)


@pytest.fixture(scope="module")
def continued(tmp_path_factory):
    """A folder with the results of a process that went on from checkpoints."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for number, case in enumerate(CASES):
        params = case.params()
        optimizer = case.make(params)
        train(optimizer, params, 0, STEPS)
        for ending in ENDINGS:
            optimizer.save(folder / f"{number}.{ending}")
        (folder / f"{number}.params").write_bytes(pickle.dumps(params))
    run_python("import sys; from tests.optim.test_checkpoints import go_on; go_on(sys.argv[1])", str(folder))
    return folder


# ---- The same bits


@every_ending
@every_case
def test_another_process_goes_on_with_the_same_bits(continued, number, ending):
    case = CASES[number]
    params = case.params()
    optimizer = case.make(params)
    train(optimizer, params, 0, 2 * STEPS)
    got = pickle.loads((continued / f"{number}.{ending}.results").read_bytes())
    wanted = results(optimizer, params)
    assert list(got) == list(wanted)
    assert_same_bits(got, wanted, case.name)


@every_case
def test_a_state_dict_goes_on_with_the_same_bits(number):
    """Through a dict too; and every number in it decides a bit: an optimizer made otherwise takes it over."""
    case = CASES[number]
    params = case.params()
    old = case.make(params)
    train(old, params, 0, STEPS)
    copied = {name: param.copy(order="K") for name, param in params.items()}
    new = case.make(copied, **case.otherwise)
    new.load_state_dict(old.state_dict())
    for optimizer, arrays in ((old, params), (new, copied)):
        train(optimizer, arrays, STEPS, 2 * STEPS)
    assert_same_bits(results(new, copied), results(old, params), case.name)
    assert everything(new)[0] == everything(old)[0]


@every_ending
@pytest.mark.parametrize("params", [[], {}], ids=repr)
def test_an_optimizer_of_no_parameters(tmp_path, params, ending):
    old, new = optim.Adam(params, lr=0.5), optim.Adam(params)
    assert old.step(params)[:3] == (1, None, False)
    new.load_state_dict(old.state_dict())
    assert everything(new) == everything(old)
    new = optim.Adam(params)
    old.save(tmp_path / f"state.{ending}")
    new.load(tmp_path / f"state.{ending}")
    assert everything(new) == everything(old)


def test_a_state_dict_is_plain_and_copied():
    params = {"w": np.ones(3, np.float32)}
    optimizer = optim.NAdam(params, lr=falling, beta1=np.float32(0.5), ema_decay=np.float32(0.5))
    optimizer.step({"w": np.ones(3, np.float32)})
    state = optimizer.state_dict()
    before = pickle.dumps(state)
    optimizer.step({"w": np.ones(3, np.float32)})
    assert pickle.dumps(state) == before
    assert state["groups"][0]["hyperparameters"]["lr"] is None
    assert list(state["state"]["w"]) == ["m", "v", "ema"]
    assert state["steps"].dtype == np.int64

    def kinds(value):
        if isinstance(value, (dict, list)):
            return set().union(*map(kinds, value.values() if isinstance(value, dict) else value))
        return {type(value)}

    assert kinds(state) == {str, int, float, bool, type(None), np.ndarray}


def test_a_function_of_the_step_stays_the_loaders():
    grad = [np.ones(1, np.float32)]
    old, new, constant = (optim.SGD([np.ones(1, np.float32)], lr=lr) for lr in (falling, lambda step: 0.5, 0.25))
    old.step(grad)
    new.load_state_dict(old.state_dict())
    assert new.groups[0].lr(1) == 0.5
    constant.load_state_dict(old.state_dict())
    assert constant.groups[0].lr == 0.25
    new.load_state_dict(optim.SGD([np.ones(1, np.float32)], lr=0.125).state_dict())
    assert new.groups[0].lr == 0.125


# ---- What does not fit


def trained(kind="NAdam", params=None, steps=2, **options):
    params = {"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32)} if params is None else params
    optimizer = getattr(optim, kind)(params, **{"lr": 0.1, **options})
    arrays = list(params.values()) if isinstance(params, dict) else params
    for _ in range(steps):
        optimizer.step([np.full(array.shape, 0.5, np.float32) for array in arrays])
    return optimizer


def changed(state, place, value):
    """A copy of a state dict with one value another; None as the value takes the place away."""
    first, *rest = place
    copied = list(state) if isinstance(state, list) else dict(state)
    if rest:
        copied[first] = changed(copied[first], rest, value)
    elif value is None:
        del copied[first]
    else:
        copied[first] = value
    return copied


GROUP, HYPER = ("groups", 0), ("groups", 0, "hyperparameters")
MISFITS = [
    (("optimizer",), "Adam", ValueError, r"^state is of 'Adam'; expected 'NAdam'$"),
    (("steps",), None, ValueError, r"^state lacks 'steps'$"),
    (("more",), 1, ValueError, r"^state has 'more'; expected only 'optimizer', "),
    (("step_count",), -1, ValueError, r"^step_count is -1; expected a number from 0 to 2\*\*63 - 2$"),
    (("step_count",), 2**63 - 1, ValueError, r"^step_count is 9223372036854775807; expected a number from 0 to"),
    (("step_count",), True, TypeError, r"^step_count is True, a bool"),
    (("step_count",), 1.0, TypeError, r"^step_count is 1\.0, a float"),
    (("steps",), np.array([1, -1]), ValueError, r"^steps has -1; expected counts of 0 or more$"),
    (("steps",), np.array([1.0, 1.0]), TypeError, r"^steps has dtype float64; expected int64$"),
    (("steps",), np.array([1]), ValueError, r"^steps has shape \(1,\); expected \(2,\)$"),
    (("steps",), [1, 1], TypeError, r"^steps is a list; expected a NumPy array$"),
    (("groups",), {}, TypeError, r"^groups is a dict; expected a list$"),
    (("groups",), [], ValueError, r"^groups has a length of 0; expected 1$"),
    (GROUP, 3, TypeError, r"^group 0 is a int; expected a dict$"),
    ((*GROUP, "names"), ["a", "c"], ValueError, r"^names of group 0 has 'c' for params\['b'\]; expected 'b'$"),
    ((*GROUP, "names"), ["a"], ValueError, r"^names of group 0 has a length of 1; expected 2$"),
    ((*GROUP, "shapes"), [[2, 3], [5]], ValueError, r"^shapes of group 0 has \[5\] for params\['b'\]; expected \[4\]$"),
    ((*GROUP, "dtypes"), ["float32", "float16"], ValueError, r"^dtypes of group 0 has 'float16' for params\['b'\]"),
    ((*HYPER, "lr"), -0.1, ValueError, r"^lr is -0\.1; expected a finite number, 0 or more$"),
    ((*HYPER, "lr"), "0.1", TypeError, r"^lr is '0\.1', a str"),
    ((*HYPER, "lr"), np.float32(0.1), TypeError, r"^lr is .*, a float32"),
    ((*HYPER, "beta1"), 1, ValueError, r"^beta1 is 1\.0"),
    ((*HYPER, "beta1"), None, ValueError, r"^hyperparameters of group 0 lacks 'beta1'$"),
    ((*HYPER, "amsgrad"), True, ValueError, r"^hyperparameters of group 0 has 'amsgrad'"),
    ((*HYPER, "decoupled_weight_decay"), 1, TypeError, r"^decoupled_weight_decay is 1; expected something like False$"),
    (("state",), [], TypeError, r"^state of the parameters is a list; expected a dict$"),
    (("state", "b"), None, ValueError, r"^state of the parameters lacks 'b'$"),
    (("state", "c"), {}, ValueError, r"^state of the parameters has 'c'"),
    (("state", "b", "v"), None, ValueError, r"^state of params\['b'\] lacks 'v'$"),
    (("state", "b", "w"), np.ones(4, np.float32), ValueError, r"^state of params\['b'\] has 'w'"),
    (("state", "b", "v"), np.ones(5, np.float32), ValueError, r"^v in state of params\['b'\] has shape \(5,\)"),
    (("state", "a", "v"), np.ones((3, 2), np.float32), ValueError, r"^v in state of params\['a'\] has shape \(3, 2\)"),
    (("state", "b", "v"), np.ones(4), TypeError, r"^v in state of params\['b'\] has dtype float64; expected float32$"),
    (("state", "b", "v"), [1.0] * 4, TypeError, r"^v in state of params\['b'\] is a list"),
    (("mu_products",), {}, TypeError, r"^mu_products is a dict; expected a list$"),
    (("mu_products",), [0.5], ValueError, r"^mu_products has a length of 1; expected 2$"),
    (("mu_products",), [0.5, 1], TypeError, r"^mu_products has 1, a int; expected a float$"),
    (
        ("mu_products",),
        [0.5, 1.0],
        ValueError,
        r"^mu_products has 1\.0 for a parameter with 2 updates; expected a number",
    ),
    (("mu_products",), [-0.5, 0.5], ValueError, r"^mu_products has -0\.5 for a parameter with 2 updates"),
    (("mu_products",), [0.5, float("nan")], ValueError, r"^mu_products has nan for a parameter"),
    (("master_weights",), True, ValueError, r"^master_weights is True; expected False$"),
    (("stochastic_rounding",), -1, ValueError, r"^stochastic_rounding is -1; expected None, or a seed"),
    (("stochastic_rounding",), 2**64, ValueError, r"^stochastic_rounding is 18446744073709551616; expected None"),
    (("ema_decay",), 1.5, ValueError, r"^ema_decay is 1\.5; expected a number from 0 to 1$"),
    (("ema_decay",), "a", TypeError, r"^ema_decay is 'a'"),
]


@pytest.mark.parametrize("misfit", MISFITS, ids=lambda misfit: ".".join(map(str, misfit[0])))
def test_state_that_does_not_fit_changes_nothing(misfit):
    place, value, error, message = misfit
    options = {"ema_decay": 0.5, "stochastic_rounding": 1}
    optimizer, state = trained(steps=1, **options), trained(lr=0.2, **options).state_dict()
    before = everything(optimizer)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(changed(state, place, value))
    assert everything(optimizer) == before
    optimizer.load_state_dict(state)  # as it is, it fits
    assert everything(optimizer) != before


@pytest.mark.parametrize("state", [None, 3, [], "state"])
def test_state_that_is_no_dict(state):
    with pytest.raises(TypeError, match=r"^state is a \w+; expected a dict"):
        trained().load_state_dict(state)


OTHERS = {
    "another class": lambda: trained("Adamax"),
    "positions for names": lambda: trained("Adam", [np.ones((2, 3), np.float32), np.ones(4, np.float32)]),
    "one parameter fewer": lambda: trained("Adam", {"a": np.ones((2, 3), np.float32)}),
    "another parameter dtype": lambda: trained("Adam", {"a": np.ones((2, 3), np.float16), "b": np.ones(4, np.float16)}),
    "more state": lambda: trained("Adam", amsgrad=True),
    "an average": lambda: trained("Adam", ema_decay=0.5),
    "masters": lambda: trained("Adam", master_weights=True),
    "random rounding": lambda: trained("Adam", stochastic_rounding=1),
    "another state dtype": lambda: trained("Adam", state_dtype="float16"),
}


@every_ending
@pytest.mark.parametrize("other", OTHERS)
def test_the_state_of_another_optimizer_changes_nothing(tmp_path, other, ending):
    """In a dict or a file, in either direction."""
    one, another = trained("Adam", steps=1), OTHERS[other]()
    for giver, taker in ((one, another), (another, one)):
        before = everything(taker)
        giver.save(tmp_path / f"state.{ending}")
        with pytest.raises((ValueError, TypeError)):
            taker.load_state_dict(giver.state_dict())
        with pytest.raises((ValueError, TypeError)):
            taker.load(tmp_path / f"state.{ending}")
        assert everything(taker) == before


def test_parameters_without_state_are_known_by_their_shapes():
    one, another = (optim.SGD([np.ones(n, np.float32)], lr=0.1) for n in (3, 4))
    with pytest.raises(ValueError, match=r"^shapes of group 0 has \[3\] for params\[0\]; expected \[4\]$"):
        another.load_state_dict(one.state_dict())


def test_hyperparameters_that_ask_for_other_state():
    optimizer = trained("Adam")
    before = everything(optimizer)
    with pytest.raises(ValueError, match=r"^the hyperparameters of group 0 need m, v, v_max; expected m, v"):
        optimizer.load_state_dict(changed(optimizer.state_dict(), (*HYPER, "amsgrad"), True))
    assert everything(optimizer) == before


@pytest.mark.parametrize("which", [0, 1])
def test_groups_may_have_different_state(which):
    """Each group's hyperparameters are compared with its own parameters' state."""

    def make():
        params = [np.ones(n, np.float32) for n in (3, 4, 5)]
        groups = [{"params": params[:2]}, {"params": params[2:]}]
        groups[which]["amsgrad"] = True
        return optim.Adam(groups, lr=0.1)

    old, new = make(), make()
    for _ in range(2):
        old.step([np.ones(n, np.float32) for n in (3, 4, 5)])
    state = old.state_dict()
    new.load_state_dict(state)
    assert everything(new) == everything(old)
    for group, wanted in enumerate(("m, v, v_max", "m, v") if which == 0 else ("m, v", "m, v, v_max")):
        asked = "m, v" if wanted == "m, v, v_max" else "m, v, v_max"
        bad = changed(state, ("groups", group, "hyperparameters", "amsgrad"), group != which)
        with pytest.raises(ValueError, match=f"^the hyperparameters of group {group} need {asked}; expected {wanted},"):
            new.load_state_dict(bad)
    assert everything(new) == everything(old)


@every_ending
def test_no_warmup_takes_the_place_of_one(tmp_path, ending):
    """None is a value like others, but for an lr that was a function."""
    params = {"a": np.ones(3, np.float32)}
    without, warmed = (optim.AdEMAMix(params, warmup=warmup) for warmup in (None, 10))
    without.save(tmp_path / f"state.{ending}")
    state = warmed.state_dict()
    warmed.load_state_dict(without.state_dict())
    assert warmed.groups[0].warmup is None
    warmed.load_state_dict(state)
    assert warmed.groups[0].warmup == 10
    warmed.load(tmp_path / f"state.{ending}")
    assert warmed.groups[0].warmup is None


def test_a_load_tries_the_next_step_and_leaves_nothing_of_it():
    """Whether it fails or not: neither the optimizer nor its groups know of the trial."""
    optimizer = trained("Adam", steps=3)
    before = {name: dict(vars(each)) for name, each in (("group", optimizer.groups[0]), ("optimizer", optimizer))}
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"^eps is -1\.0"):
        optimizer.load_state_dict(changed(state, (*HYPER, "eps"), -1.0))
    assert vars(optimizer.groups[0]) == before["group"]
    optimizer.load_state_dict(state)
    assert vars(optimizer.groups[0]) == before["group"]
    assert vars(optimizer) == before["optimizer"]


def test_a_count_beyond_all_steps():
    optimizer = trained("Adam")
    before = everything(optimizer)
    with pytest.raises(ValueError, match=r"^step is 9223372036854775808"):
        optimizer.load_state_dict(changed(optimizer.state_dict(), ("steps",), np.array([1, 2**63 - 1])))
    assert everything(optimizer) == before


# ---- Files


@every_ending
def test_a_file_that_is_none_changes_nothing(tmp_path, ending):
    """Cut off anywhere, empty, of another kind, or without what fastopt writes."""
    optimizer, path = trained(steps=1), tmp_path / f"state.{ending}"
    trained().save(path)
    whole = path.read_bytes()
    foreign = tmp_path / f"foreign.{ending}"
    bad = [whole[:-cut] for cut in (1, 2, 30, 100, len(whole) // 2, len(whole) - 1, len(whole))]
    arrays = checkpoint._apart(trained().state_dict())[1]
    for metadata in ("{}", "[]", "no JSON", "[" * 50_000, json.dumps({"optimizer": "NAdam"})):
        with open(foreign, "wb") as file:
            checkpoint.KINDS[f".{ending}"].write(file, metadata, arrays)
        bad.append(foreign.read_bytes())
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "pickled.npz", metadata=np.array([{}], object))
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    bad += [(tmp_path / name).read_bytes() for name in ("one.npy", "pickled.npz", "other.npz")]
    before = everything(optimizer)
    for content in (*bad, b"\0" * 1000, b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"^{path} is not a checkpoint of this NAdam, or damaged: "):
            optimizer.load(path)
        assert everything(optimizer) == before
    with pytest.raises(FileNotFoundError):
        optimizer.load(tmp_path / f"nothing.{ending}")
    path.write_bytes(whole)
    optimizer.load(path)
    assert everything(optimizer) != before


def test_no_file_runs_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "done"),)

    np.savez(tmp_path / "state.npz", metadata=np.array([Evil()], object))
    with pytest.raises(ValueError, match="is not a checkpoint of this NAdam"):
        trained().load(tmp_path / "state.npz")
    assert os.listdir(tmp_path) == ["state.npz"]


def test_arrays_that_nobody_knows_are_refused(tmp_path):
    optimizer, path = trained(), tmp_path / "state.npz"
    optimizer.save(path)
    with np.load(path) as arrays:
        np.savez(path, extra=np.ones(3), **arrays)
    with pytest.raises(ValueError, match=r"it has 'extra'; expected only 'metadata', "):
        optimizer.load(path)


@pytest.mark.parametrize("path", ["state", "state.npy", "state.NPZ", "state.npz.tmp", "npz"])
def test_the_ending_says_the_kind(tmp_path, path):
    for call in (trained().save, trained().load):
        with pytest.raises(ValueError, match=r"expected it to end in \.npz or \.safetensors$"):
            call(tmp_path / path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [b"state.npz", 3, None])
def test_a_path_is_a_path(path):
    with pytest.raises(TypeError):
        trained().save(path)


def test_files_need_no_other_package(tmp_path):
    program = """
import sys, numpy as np
from fastopt.optim import Adam
optimizer = Adam([np.ones(3, np.float32)])
for ending in ("npz", "safetensors"):
    optimizer.save(f"{sys.argv[1]}/state.{ending}")
    optimizer.load(f"{sys.argv[1]}/state.{ending}")
assert not {name.partition(".")[0] for name in sys.modules} & {"safetensors", "ml_dtypes", "torch", "numba"}
"""
    assert run_python(program, str(tmp_path)) == ""


def test_others_can_read_the_files(tmp_path):
    """Arrays by the parameter's name, in the format's own bfloat16 where there is one."""
    from safetensors.numpy import load_file

    optimizer = trained("Momentum", {"layer.weight": np.ones((2, 3), np.float32)}, state_dtype=BFLOAT16)
    optimizer.save(tmp_path / "state.npz")
    optimizer.save(tmp_path / "state.safetensors")
    wanted = {"layer.weight.velocity": optimizer.state["layer.weight"]["velocity"], "steps": np.array([2])}
    assert_same_bits(load_file(tmp_path / "state.safetensors"), wanted)
    with np.load(tmp_path / "state.npz") as arrays:
        assert_same_bits(arrays, wanted)
        assert json.loads(str(arrays["metadata"]))["optimizer"] == "Momentum"


# ---- Memory


@every_ending
def test_saving_does_not_copy_all(tmp_path, ending):
    """Of 64 MB of state: for npz a part of one array at a time, which NumPy takes."""
    optimizer = optim.Adam([np.ones(1 << 20, np.float32) for _ in range(8)])
    tracemalloc.start()
    try:
        optimizer.save(tmp_path / f"state.{ending}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


# ---- Saving is all or nothing


def left(folder):
    return sorted(os.listdir(folder))


@every_ending
def test_a_file_system_that_fails_leaves_the_old_file(tmp_path, monkeypatch, ending):
    path = tmp_path / f"state.{ending}"
    optimizer = trained(steps=1)
    optimizer.save(path)
    old, before = path.read_bytes(), left(tmp_path)

    def fail(*given):
        raise OSError(28, "No space left on device")

    optimizer.step([np.ones((2, 3), np.float32), np.ones(4, np.float32)])
    for module, name in ((os, "fsync"), (os, "replace"), (os, "fchmod"), (checkpoint.json, "dumps")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, fail)
            with pytest.raises(OSError, match="No space left"):
                optimizer.save(path)
        assert (path.read_bytes(), left(tmp_path)) == (old, before)


@every_ending
def test_a_full_disk_leaves_the_old_file(tmp_path, ending):
    """As a limit for the size of files, within every part of the file."""
    program = """
import os, resource, sys, warnings, numpy as np
from fastopt.optim import Adam
warnings.simplefilter("error")
def unraisable(what):
    os._exit(3)
sys.unraisablehook = unraisable
def content():
    with open(path, "rb") as file:
        return file.read()
path = sys.argv[1]
optimizer = Adam([np.ones(20_000, np.float32)])
optimizer.save(path)
old = content()
optimizer.step([np.ones(20_000, np.float32)])
for limit in (0, 10, 5_000, 70_000, 100_000, len(old) - 1000, len(old) - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        optimizer.save(path)
    except OSError as error:
        assert "File too large" in str(error), error
    else:
        raise AssertionError(limit)
    assert content() == old
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
optimizer.save(path)
assert content() != old
"""
    run_python(program, str(tmp_path / f"state.{ending}"))


@every_ending
def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, ending):
    """First the file, then its name, then the folder: after a crash of the machine, too, it is the old or the new."""
    path, calls = tmp_path / f"state.{ending}", []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor):
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def noted_replace(old, new):
        assert os.path.getsize(old) > 100
        calls.append((old, new))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    trained().save(path)
    (temporary, (old, new), folder) = calls
    assert (temporary, new, folder) == (old, str(path), str(tmp_path))
    assert os.path.dirname(old) == str(tmp_path)


@pytest.mark.parametrize("number", [22, 95])
def test_folders_that_cannot_be_synchronised(tmp_path, monkeypatch, number):
    """As those of some network file systems; of a file the same error is one."""

    def fail(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folders:
            raise OSError(number, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fail)
    folders = True
    trained().save(tmp_path / "state.npz")
    folders = False
    with pytest.raises(OSError, match="Invalid argument"):
        trained().save(tmp_path / "state.npz")
    assert left(tmp_path) == ["state.npz"]


@every_ending
def test_an_interruption_leaves_the_old_file(tmp_path, monkeypatch, ending):
    path = tmp_path / f"state.{ending}"

    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "_synchronise", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained().save(path)
    assert left(tmp_path) == []


@every_ending
def test_killed_at_any_moment(tmp_path, ending):
    """A child saves one state after another until it is killed; what it leaves is one of them, whole."""
    program = textwrap.dedent("""
        import os, random, signal, sys, time, numpy as np
        from fastopt.optim import Adam
        path = sys.argv[1]
        def make():
            return Adam({f"layer{i}": np.zeros(60_000, np.float32) for i in range(4)})
        optimizer, seen = make(), set()
        def fill(count):
            optimizer._plan.restore(count, [], [])
            optimizer.steps[:] = count
            for own in optimizer.state.values():
                own["m"][:] = own["v"][:] = count
        for turn in range(40):
            fill(1000 * turn)
            optimizer.save(path)
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                os.write(write, b"begun")
                for count in range(1000 * turn + 1, 1000 * turn + 1000):
                    fill(count)
                    optimizer.save(path)
                os._exit(0)
            os.read(read, 5)
            os.close(read)
            os.close(write)
            time.sleep(random.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            assert os.waitpid(child, 0)[1] == signal.SIGKILL
            loaded = make()
            loaded.load(path)
            count = loaded.step_count
            assert count // 1000 == turn
            assert (loaded.steps == count).all()
            assert all((own[kind] == count).all() for own in loaded.state.values() for kind in ("m", "v"))
            seen.add(count)
        print(sum(count % 1000 > 0 for count in seen))
    """)
    assert int(run_python(program, str(tmp_path / f"state.{ending}"), OMP_NUM_THREADS="1")) > 5


@every_ending
def test_a_link_stays_a_link(tmp_path, ending):
    """What it leads to is replaced, where that stands."""
    (tmp_path / "far").mkdir()
    link, target = tmp_path / f"latest.{ending}", tmp_path / "far" / f"state.{ending}"
    link.symlink_to(f"far/state.{ending}")
    for steps in (1, 2):
        trained(steps=steps).save(link)
        assert link.is_symlink()
        assert not target.is_symlink()
        new = trained(steps=0)
        new.load(target)
        assert new.step_count == steps
    assert left(tmp_path / "far") == [target.name]
    assert left(tmp_path) == ["far", link.name]


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_folder_that_does_not_exist_is_named(ending, tmp_path):
    optimizer = optim.Adam([np.zeros(2)])
    with pytest.raises(FileNotFoundError, match=r"path is in a folder that does not exist: '.*nowhere'"):
        optimizer.save(tmp_path / "nowhere" / f"state.{ending}")
    assert list(tmp_path.iterdir()) == []
