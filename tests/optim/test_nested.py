"""Parameters and gradients as nested dicts and lists, as in Flax and other JAX libraries."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType

import numpy as np
import pytest

from fastopt import optim
from tests.support import assert_same_bits

NAMES = ["dense/kernel", "dense/bias", "layers/0/w", "layers/1/w", "pair/0", "pair/1", "scale"]


def tree(seed, kind=dict):
    """The same arrays each time, in nested dicts of some kind."""
    rng = np.random.default_rng(seed)

    def array(*shape):
        return rng.standard_normal(shape, np.float32)

    return kind(
        dense=kind(kernel=array(3, 4), bias=array(4)),
        layers=[kind(w=array(2)), kind(w=array(5, 2))],
        pair=(array(3), array(1)),
        scale=array(2),
        nothing=kind(),
    )


def by_hand(nested):
    """The arrays of `tree`, by name."""
    dense, layers, pair = nested["dense"], nested["layers"], nested["pair"]
    arrays = dense["kernel"], dense["bias"], layers[0]["w"], layers[1]["w"], *pair, nested["scale"]
    return dict(zip(NAMES, arrays, strict=True))


def frozen(**items):
    """A mapping that is no dict, as Flax's FrozenDict."""
    return MappingProxyType(items)


@pytest.mark.parametrize("kind", [dict, OrderedDict, frozen])
@pytest.mark.parametrize("nested_grads", [True, False])
def test_nested_dicts_are_the_flat_ones(kind, nested_grads):
    nested, flat = tree(0, kind), by_hand(tree(0))
    one, other = optim.AdamW(nested, ema_decay=0.5), optim.AdamW(flat, ema_decay=0.5)
    assert list(one.state) == one.groups[0].names == NAMES
    for step in range(1, 4):
        grads = tree(step, kind)
        result = one.step(grads if nested_grads else by_hand(grads), max_norm=1.0)
        assert result == other.step(by_hand(grads), max_norm=1.0)
    assert_same_bits(by_hand(nested), flat)
    for name in NAMES:
        assert_same_bits(one.state[name], other.state[name], name)


def test_gradients_that_are_none():
    optimizer = optim.SGD(tree(0), lr=0.1)
    grads = tree(1)
    grads["dense"]["bias"] = grads["layers"][1]["w"] = None
    optimizer.step(grads)
    assert optimizer.steps.tolist() == [1, 0, 1, 0, 1, 1, 1]


def test_groups_of_nested_dicts():
    nested, flat = tree(0), by_hand(tree(0))
    layers, rest = {"layers": nested["layers"]}, {name: nested[name] for name in ("dense", "pair", "scale")}
    optimizer = optim.AdamW([{"params": layers, "weight_decay": 0.5}, {"params": rest}])
    assert [group.names for group in optimizer.groups] == [NAMES[2:4], NAMES[:2] + NAMES[4:]]
    optimizer.step(tree(1))
    for name in NAMES:
        decay = 0.5 if name.startswith("layers") else 0.01
        optim.AdamW({name: flat[name]}, weight_decay=decay).step({name: by_hand(tree(1))[name]})
    assert_same_bits(by_hand(nested), flat)


@pytest.mark.parametrize("ending", ["npz", "safetensors", None])
def test_checkpoints(ending, tmp_path):
    """The state goes from nested parameters to flat ones, which are called the same."""
    nested, flat = tree(0), by_hand(tree(0))
    one, other = optim.Adam(nested), optim.Adam(flat)
    for grads in (tree(1), tree(2)):
        one.step(grads)
    for name, array in by_hand(nested).items():
        flat[name][...] = array
    if ending is None:
        other.load_state_dict(one.state_dict())
    else:
        one.save(tmp_path / f"state.{ending}")
        other.load(tmp_path / f"state.{ending}")
    one.step(tree(3))
    other.step(by_hand(tree(3)))
    assert_same_bits(by_hand(nested), flat)


A = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        ({"a/b": A, "a": {"b": A.copy()}}, ValueError, "params has 'a/b' twice, with and without nesting"),
        ({"a": {0: A, "0": A.copy()}}, ValueError, "params has 'a/0' twice"),
        ({"a": {None: A}}, TypeError, r"params\['a'\] has the name None, a NoneType; expected a str"),
        ({"a": [{}, {2.0: A}]}, TypeError, r"params\['a/1'\] has the name 2.0, a float; expected a str"),
        ({"a": {"b": {"c": 1.0}}}, TypeError, r"params\['a/b/c'\] is a float; expected an array"),
        ({"a": {"b": A.astype(int)}}, TypeError, r"params\['a/b'\] has dtype int64"),
        ({"a": {"b": A}, "c": [A]}, ValueError, r"params\['c/0'\] overlaps params\['a/b'\]"),
        ([{"params": {"a": {"b": A}}}, {"params": {"a/b": A.copy()}}], ValueError, "params has 'a/b' in two groups"),
    ],
)
def test_refused_params(params, error, match):
    with pytest.raises(error, match=match):
        optim.SGD(params, lr=0.1)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda g: g["dense"].pop("bias"), ValueError, "grads lacks 'dense/bias'; expected all names"),
        (lambda g: g["dense"].update(gamma=A), ValueError, "grads has 'dense/gamma', which is not a parameter"),
        (lambda g: g.update({"dense/bias": A}), ValueError, "grads has 'dense/bias' twice"),
        (lambda g: g.update(dense=None), ValueError, "grads has 'dense', which is not a parameter"),
        (lambda g: g["layers"].append({"w": A}), ValueError, "grads has 'layers/2/w', which is not a parameter"),
        (lambda g: g["dense"].update(bias=A), ValueError, r"grad of params\['dense/bias'\] has shape \(2,\)"),
        (lambda g: g["dense"].update({b"x": A}), TypeError, r"grads\['dense'\] has the name b'x', a bytes"),
    ],
)
def test_refused_grads(change, error, match):
    nested, grads = tree(0), tree(1)
    optimizer = optim.AdamW(nested)
    change(grads)
    with pytest.raises(error, match=match):
        optimizer.step(grads)
    assert_same_bits(by_hand(nested), by_hand(tree(0)))
    assert optimizer.step_count == 0
