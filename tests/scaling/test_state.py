"""Feature scaling: fitted statistics are shown, saved and restored; invalid ones raise a named error."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fastopt.scaling import NotFittedError, StandardScaler, Whitener
from tests.scaling.test_scaling import SCALERS, data, fresh, same_state, scalers

WHITENERS = [Whitener(), Whitener(method="pca"), Whitener(method="pca", n_components=2, eps=0.5)]


@pytest.mark.parametrize("scaler", [*SCALERS, *WHITENERS], ids=repr)
def test_state(scaler):
    x = data(200, 4)
    old = fresh(scaler).fit(x[:150])
    new = type(scaler)()
    new.load_state_dict(old.state_dict())
    for each in (old, new, copied := fresh(old)):
        each.partial_fit(x[150:])
    assert same_state(old, new)
    assert np.array_equal(old.transform(x), new.transform(x))
    assert np.array_equal(old.transform(x), copied.transform(x))
    assert repr(new) == repr(old)
    unfitted = type(scaler)()
    unfitted.load_state_dict(fresh(scaler).state_dict())
    with pytest.raises(NotFittedError):
        unfitted.transform(x)


@pytest.mark.parametrize("scaler", [*SCALERS, *WHITENERS], ids=repr)
def test_state_goes_through_a_file(scaler, tmp_path):
    """Of numbers, strings and arrays, all of which NumPy saves without pickle."""
    x = data(200, 4, "float32")
    scaler = fresh(scaler).fit(x)
    np.savez(tmp_path / "scaler.npz", **scaler.state_dict())
    other = type(scaler)()
    with np.load(tmp_path / "scaler.npz") as file:
        other.load_state_dict(file)
    assert np.array_equal(other.transform(x), scaler.transform(x))
    assert repr(other) == repr(scaler)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scaler": "Whitener"}, "state is of 'Whitener'"),
        ({"mean": None}, "mean has dtype object"),
        ({"mean": np.ones(3, "f4")}, "mean has dtype float32"),
        ({"m2": np.ones(2)}, r"m2 has shape \(2,\); expected \(3,\)"),
        ({"more": 1}, "state has 'more'"),
        ({"nan": "drop"}, "nan is 'drop'"),
        ({"nan": np.array(["ignore"] * 2)}, "nan is array"),
        ({"scaler": np.array(["StandardScaler"] * 2)}, "state is of array"),
        ({"count": np.array([9.0, -1, 9])}, "count has -1 for feature 1; expected a whole number, 0 or more"),
        ({"count": np.array([9.0, 9, 0.5])}, "count has 0.5 for feature 2"),
        ({"count": np.array([9.0, np.inf, 9])}, "count has inf for feature 1"),
        ({"count": np.array([9.0, np.nan, 9])}, "count has nan for feature 1"),
        ({"m2": np.array([1.0, -1e-9, 1])}, "m2 has -1e-09 for feature 1; expected 0 or more"),
        ({"min": np.array([-1e9, np.nan, -1e9])}, "min has nan for feature 1; expected a finite number"),
        ({"max": np.array([1e9, 1e9, np.inf])}, "max has inf for feature 2; expected a finite number"),
        ({"max": np.array([-1e9, 1e9, 1e9])}, "max has -1e.09 for feature 0; expected min or more"),
        ({"mean": np.array([0.0, np.nan, 0])}, "mean has nan for feature 1; expected a finite number"),
        ({"mean": np.array([0.0, 1e9, 0])}, "mean has 1e.09 for feature 1; expected a number from min to max"),
    ],
)
def test_bad_states(change, message):
    scaler = StandardScaler().fit(data(9, 3))
    state = scaler.state_dict()
    other = StandardScaler(with_std=False).fit(data(9, 2))
    before = pickle.dumps(other)
    with pytest.raises((TypeError, ValueError), match=message):
        other.load_state_dict({**state, **change})
    for name in ("m2", "with_std"):
        with pytest.raises(ValueError, match=f"state lacks '{name}'"):
            other.load_state_dict({key: value for key, value in state.items() if key != name})
    with pytest.raises(TypeError, match="state is a list"):
        other.load_state_dict([])
    assert pickle.dumps(other) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": np.float64(0)}, "count has 0; expected a whole number, 1 or more"),
        ({"count": np.float64(np.nan)}, "count has nan"),
        ({"products": -np.eye(3)}, "products has -1 for feature 0; expected 0 or more"),
        ({"mean": np.array([0, np.nan, 0])}, "mean has nan for feature 1; expected a finite number"),
        ({"n_components": np.array([1, 1])}, "n_components"),
        ({"method": np.array(["zca", "zca"])}, "method is array"),
    ],
)
def test_bad_states_of_whitening(change, message):
    whitener = Whitener(eps=1).fit(data(9, 2))
    before = pickle.dumps(whitener)
    with pytest.raises((TypeError, ValueError), match=message):
        whitener.load_state_dict({**Whitener().fit(data(9, 3)).state_dict(), **change})
    assert pickle.dumps(whitener) == before


@scalers
def test_what_is_fitted_loads(scaler):
    """Whatever is fitted: features without values, constant, far from zero, and with sums that overflow."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 6)) * [1, 1e-3, 1e-170, 1e160, 1e307, 0] + [0, 1e9, 0, 0, 0, 0.1]
    x[:, 0] = np.nan
    old = type(scaler)(nan="ignore")
    for batch in np.split(x, [1, 2, 1000]):
        old.partial_fit(batch)
        new = type(scaler)()
        new.load_state_dict(old.state_dict())
        for name, array in vars(new._statistics).items():
            assert np.array_equal(array, vars(old._statistics)[name], equal_nan=True)


@pytest.mark.parametrize("scaler", [*SCALERS, *WHITENERS], ids=repr)
def test_arrays_given_and_taken_are_copies(scaler):
    """Whatever is written into them, the scaler stays what it is."""
    x = data(50, 4)
    scaler = fresh(scaler).fit(x)
    wanted, saved = scaler.transform(x), scaler.state_dict()
    loaded = type(scaler)()
    given = {name: array.copy() if isinstance(array, np.ndarray) else array for name, array in saved.items()}
    loaded.load_state_dict(given)
    merged = type(scaler)(**{name: getattr(scaler, name) for name in scaler._options}).merge(scaler)
    taken = [
        getattr(scaler, name) for name in ("count", "mean", "var", "min", "max", "covariance") if hasattr(scaler, name)
    ]
    assert len(taken) >= 3
    for array in [*saved.values(), *given.values(), *taken]:
        if isinstance(array, np.ndarray) and array.dtype == np.float64:
            array[...] = np.nan
    for each in (scaler, loaded, merged):
        assert np.array_equal(each.transform(x), wanted)
    before = scaler.state_dict()
    merged.partial_fit(2 * x)
    assert same_state(scaler, loaded)
    assert all(np.array_equal(before[name], scaler.state_dict()[name]) for name in before)


def test_every_option_is_loaded():
    old = StandardScaler(with_mean=False, with_std=True, unbiased=True, nan="ignore", num_threads=2).fit(data(9, 3))
    new = StandardScaler(backend="cython", num_threads=1)
    new.load_state_dict(old.state_dict())
    assert repr(new) == repr(old)
    assert (new.num_threads, new.backend) == (1, "cython")
