"""Schedules: formulas, refusals, behaviour as values, and use in optimizers."""

from __future__ import annotations

import copy
import json
import pickle
import re
from bisect import bisect_right
from dataclasses import FrozenInstanceError
from math import cos, floor, inf, nan, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastopt import schedules
from fastopt.optim import SGD, AdamW, Rprop
from fastopt.schedules import (
    ReduceOnPlateau,
    constant,
    cosine,
    cosine_restarts,
    exponential,
    inverse_sqrt,
    inverse_time,
    linear,
    one_cycle,
    per_epoch,
    piecewise,
    polynomial,
    sequence,
    step,
    warmup,
)
from tests.optim_cases import CASES, make
from tests.support import ROOT, assert_same_bits, run_python

# ---- Formulas, as the literature writes them: the rate after t updates


def wave(first, last, share):
    """From first to last along half a wave of the cosine."""
    return last + (first - last) / 2 * (1 + cos(pi * min(share, 1)))


def line(first, last, share):
    return first + (last - first) * min(share, 1)


def restarted(t, lr, final, lengths):
    for length in lengths:
        if t < length:
            return wave(lr, final, t / length)
        t -= length
    raise AssertionError


def cycle(t, shape, *corners):
    """Through the corners (t, rate) and on from the last."""
    ends = [end for end, _ in corners]
    place = bisect_right(ends, t)
    if place == len(corners):
        return corners[-1][1]
    (begin, first), (end, last) = corners[place - 1], corners[place]
    return shape(first, last, (t - begin) / (end - begin))


FORMULAS = [
    (constant(0.3), lambda t: 0.3),
    (inverse_time(0.2, 1), lambda t: 0.2 / (1 + t)),
    (inverse_time(0.2, 0), lambda t: 0.2),
    (exponential(0.2, 0.95), lambda t: 0.2 * 0.95**t),
    (exponential(0.2, 0.5, 30, final=0.01), lambda t: max(0.2 * 0.5 ** (t / 30), 0.01)),
    (inverse_sqrt(0.2), lambda t: 0.2 / sqrt(t + 1)),
    (inverse_sqrt(0.2, rate=0.01), lambda t: 0.2 * sqrt(100 / (t + 100))),
    (step(0.2, 30), lambda t: 0.2 * 0.1 ** floor(t / 30)),
    (step(0.2, every=7, gamma=1), lambda t: 0.2),
    (piecewise([0.2, 0.5, 0.0], [10, 11]), lambda t: 0.2 if t < 10 else 0.5 if t < 11 else 0.0),
    (piecewise([0.2], []), lambda t: 0.2),
    (linear(0.2, 90), lambda t: 0.2 * max(90 - t, 0) / 90),
    (linear(0.0, 90, final=0.2), lambda t: 0.2 * min(t, 90) / 90),
    (polynomial(0.2, 90, 0.01, 2), lambda t: 0.01 + 0.19 * max(1 - t / 90, 0) ** 2),
    (polynomial(0.2, 1, power=0.5), lambda t: 0.0 if t else 0.2),
    (cosine(0.2, 90), lambda t: wave(0.2, 0, t / 90)),
    (cosine(0.2, 90, final=0.05), lambda t: wave(0.2, 0.05, t / 90)),
    (cosine_restarts(0.2, 30, 0.05), lambda t: wave(0.2, 0.05, t % 30 / 30)),
    (cosine_restarts(0.2, 5, 0.0, 3), lambda t: restarted(t, 0.2, 0.0, [5, 15, 45, 135, 405])),
    (one_cycle(0.2, 100), lambda t: cycle(t, wave, (0, 0.008), (30, 0.2), (100, 8e-7))),
    (one_cycle(0.2, 50, 0.25, 5, 2, "linear"), lambda t: cycle(t, line, (0, 0.04), (12.5, 0.2), (50, 0.02))),
    (one_cycle(0.2, 50, pct_start=0), lambda t: cycle(t, wave, (0, 0.2), (50, 8e-7))),
    (
        one_cycle(0.2, 100, div_factor=5, final_div_factor=2, anneal="linear", three_phase=True),
        lambda t: cycle(t, line, (0, 0.04), (30, 0.2), (60, 0.04), (100, 0.02)),
    ),
    (
        one_cycle(0.2, 80, 0.5, div_factor=5, final_div_factor=2, three_phase=True),
        lambda t: cycle(t, wave, (0, 0.04), (40, 0.2), (80, 0.04)) if t < 80 else 0.02,
    ),
    (warmup(cosine(0.2, 90), 10), lambda t: 0.02 * t if t < 10 else wave(0.2, 0, (t - 10) / 90)),
    (warmup(inverse_sqrt(0.2, 1 / 50), 50), lambda t: 0.2 * t / 50 if t < 50 else 0.2 * sqrt(50 / t)),
    (warmup(lambda step: 0.4 / step, 4, start=0.1), lambda t: 0.1 + 0.3 * t / 4 if t < 4 else 0.4 / (t - 3)),
    (
        sequence([exponential(0.2, 0.9), constant(0.5), cosine(0.1, 20)], [25, 100]),
        lambda t: 0.2 * 0.9**t if t < 25 else 0.5 if t < 100 else wave(0.1, 0, (t - 100) / 20),
    ),
    (sequence([inverse_time(0.2, 1)], []), lambda t: 0.2 / (1 + t)),
    (per_epoch(exponential(0.2, 0.5), 30), lambda t: 0.2 * 0.5 ** (t // 30)),
    (per_epoch(warmup(linear(0.2, 10), 2), 7), lambda t: 0.1 * (t // 7) if t < 14 else 0.02 * max(12 - t // 7, 0)),
    (ReduceOnPlateau(0.2), lambda t: 0.2),
]
every_formula = pytest.mark.parametrize(("schedule", "formula"), FORMULAS, ids=lambda each: type(each).__name__)
every_schedule = pytest.mark.parametrize("schedule", [each for each, _ in FORMULAS], ids=lambda e: type(e).__name__)


@every_formula
def test_formula(schedule, formula):
    for t in range(400):
        rate = schedule(t + 1)
        assert type(rate) is float
        assert abs(rate - formula(t)) <= 1e-15, t


@every_schedule
def test_beyond_the_end_it_is_a_rate_still(schedule):
    for late in (10**6, 2**40, 2**63 - 1):
        assert 0 <= schedule(late) <= 0.5


def test_every_schedule_has_a_formula():
    assert {type(schedule).__name__ for schedule, _ in FORMULAS} | {"linear"} == set(schedules.__all__)


RATE = st.floats(0, 1e300)
TINY = 1e-320  # a few units of subnormal numbers, which have fewer digits
STEPS = st.integers(1, 2**40)


@given(RATE, RATE, STEPS, st.data())
def test_both_ends_are_exact_and_all_else_lies_between(lr, final, steps, data):
    at = data.draw(st.integers(1, 2 * steps))
    for schedule in (linear(lr, steps, final), polynomial(lr, steps, final, 3), cosine(lr, steps, final)):
        assert schedule(1) == lr
        assert schedule(steps + 1) == schedule(2 * steps + 1) == final
        lowest, highest = sorted((lr, final))
        assert lowest * (1 - 1e-15) - TINY <= schedule(at) <= highest * (1 + 1e-15) + TINY
    assert warmup(cosine(lr, steps), steps, start=final)(1) == final
    assert warmup(cosine(lr, steps), steps, start=final)(steps + 1) == lr


@given(STEPS, st.sampled_from(["cosine", "linear"]), st.booleans())
def test_a_cycle_begins_and_ends_exactly(steps, anneal, three_phase):
    rate = one_cycle(0.3, 4 * steps, 0.25, 8, 1024, anneal, three_phase)
    assert rate(1) == 0.3 / 8
    assert rate(steps + 1) == 0.3
    assert rate(2 * steps + 1) == 0.3 / 8 or not three_phase
    assert rate(4 * steps + 1) == rate(5 * steps + 1) == 0.3 / 8192


def test_the_last_digits_of_a_long_wave():
    # One update before the end, 1 + cos has 5 right digits of 16; the first terms of its series have all.
    steps = 10**6
    left = pi / steps
    assert cosine(1.0, steps)(steps) == pytest.approx(left**2 / 4 * (1 - left**2 / 12), rel=1e-14, abs=0)


# ---- What is refused


STEPS_REFUSED = {
    0: ValueError, -1: ValueError, 2**63: ValueError, np.int64(0): ValueError,
    1.0: TypeError, np.float64(2): TypeError, "1": TypeError, None: TypeError, 1j: TypeError,
}  # fmt: skip


@every_schedule
def test_refused_steps(schedule):
    for given_, error in [*STEPS_REFUSED.items(), (True, TypeError), (np.True_, TypeError), (np.ones(2), TypeError)]:
        with pytest.raises(
            error, match=r"^step is .*; expected a whole number, 1 or more: steps count from 1(, at most 2\*\*63 - 1)?$"
        ):
            schedule(given_)


@every_schedule
def test_numpy_s_integers_are_steps(schedule):
    for dtype in (np.int8, np.uint16, np.int64, np.uint64):
        assert schedule(dtype(100)) == schedule(100)


NUMBERS = {
    "lr": (-0.1, nan, inf), "final": (-0.1, nan, inf), "rate": (-1, nan, inf), "start": (-0.1, nan, inf),
    "gamma": (0, -0.5, 1.1, nan), "power": (0, -1, nan, inf), "pct_start": (-0.1, 1, nan), "div_factor": (0, -1, inf),
    "final_div_factor": (0, nan), "factor": (-0.1, 1, nan), "threshold": (-1, inf), "min_lr": (-1, nan),
    "eps": (-1, nan),
}  # fmt: skip
WHOLE = ("steps", "every", "growth")
COUNTS = ("patience", "cooldown")
CHOICES = ("anneal", "mode", "threshold_mode")
FLAGS = ("three_phase",)
ARGUMENTS = {
    constant: {"lr": 0.1},
    inverse_time: {"lr": 0.1, "rate": 1.0},
    exponential: {"lr": 0.1, "gamma": 0.5, "steps": 3, "final": 0.0},
    inverse_sqrt: {"lr": 0.1, "rate": 1.0},
    step: {"lr": 0.1, "every": 10, "gamma": 0.5},
    linear: {"lr": 0.1, "steps": 3, "final": 0.0},
    polynomial: {"lr": 0.1, "steps": 3, "final": 0.0, "power": 2.0},
    cosine: {"lr": 0.1, "steps": 3, "final": 0.0},
    cosine_restarts: {"lr": 0.1, "steps": 3, "final": 0.0, "growth": 2},
    one_cycle: {
        "lr": 0.1, "steps": 3, "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4, "anneal": "linear",
        "three_phase": True,
    },
    warmup: {"schedule": constant(0.1), "steps": 3, "start": 0.0},
    per_epoch: {"schedule": constant(0.1), "steps": 3},
    piecewise: {"rates": (0.1, 0.2), "boundaries": (3,)},
    sequence: {"schedules": (constant(0.1), constant(0.2)), "boundaries": (3,)},
    ReduceOnPlateau: {
        "lr": 0.1, "factor": 0.5, "patience": 1, "threshold": 0.1, "threshold_mode": "abs", "mode": "max",
        "cooldown": 1, "min_lr": 0.01, "eps": 0.0,
    },
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", ARGUMENTS, ids=lambda kind: kind.__name__)


@every_kind
def test_refused_arguments(kind):
    good = ARGUMENTS[kind]
    kind(**good)

    def refused(name, value, error):
        with pytest.raises(error, match=rf"^{name}(\[\d\])? (is|has) .*; expected "):
            kind(**{**good, name: value})

    for name in good:
        for value in NUMBERS.get(name, ()):
            refused(name, value, ValueError)
        if name in NUMBERS:
            for value in ("0.5", None, 1j, [0.5], np.ones(2)):
                refused(name, value, TypeError)
        if name in WHOLE + COUNTS:
            for value in (-1, 2**63, *[0] * (name in WHOLE)):
                refused(name, value, ValueError)
            for value in (1.0, True, None, "3"):
                refused(name, value, TypeError)
        if name in CHOICES:
            for value in ("other", None, 1, np.ones(2)):
                refused(name, value, ValueError)
        if name in FLAGS:
            for value in ("True", None, 1, np.ones(2)):
                refused(name, value, TypeError)
    assert good.keys() <= {*NUMBERS, *WHOLE, *COUNTS, *CHOICES, *FLAGS, "rates", "schedule", "schedules", "boundaries"}


@pytest.mark.parametrize(
    ("make_one", "message"),
    [
        (lambda: piecewise([0.1, -0.1], [3]), "rates[1] is -0.1; expected a finite number, 0 or more"),
        (lambda: piecewise([0.1], [3]), "rates has a length of 1, boundaries of 1; expected one boundary less"),
        (lambda: piecewise([1, 1, 1], [3]), "rates has a length of 3, boundaries of 1; expected one boundary less"),
        (lambda: piecewise([], []), "rates has a length of 0, boundaries of 0; expected one boundary less"),
        (lambda: piecewise([1, 1, 1], [3, 3]), "boundaries has 3 after 3; expected increasing numbers of updates"),
        (lambda: piecewise([1, 1, 1], [4, 3]), "boundaries has 3 after 4; expected increasing numbers of updates"),
        (lambda: piecewise([1, 1], [0]), "boundaries[0] is 0; expected a whole number, 1 or more"),
        (lambda: piecewise([1, 1], [3.0]), "boundaries[0] is 3.0, a float; expected a whole number, 1 or more"),
        (lambda: piecewise(0.1, [3]), "rates is 0.1, a float; expected a list"),
        (lambda: piecewise([1, 1], 3), "boundaries is 3, a int; expected a list"),
        (lambda: sequence([constant(1)], [3]), "schedules has a length of 1, boundaries of 1; expected one "),
        (lambda: sequence([constant(1), 0.1], [3]), "schedules[1] is 0.1, a float; expected a schedule, or a "),
        (lambda: warmup(0.1, 3), "schedule is 0.1, a float; expected a schedule, or a function of the step"),
        (lambda: per_epoch(None, 3), "schedule is None, a NoneType; expected a schedule, or a function of the step"),
        (lambda: one_cycle(0.1, 9, 0.6, three_phase=True), "pct_start is 0.6; expected at most 0.5 with "),
        (lambda: ReduceOnPlateau(0.1, threshold=1.5), "threshold is 1.5; expected it below 1 with mode='min' and "),
        (lambda: ReduceOnPlateau(0.1, threshold=1.0), "threshold is 1.0; expected it below 1 with mode='min' and "),
    ],
)
def test_arguments_that_do_not_go_together(make_one, message):
    with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}"):
        make_one()


# ---- Schedules as values


@every_kind
def test_as_values(kind):
    arguments = ARGUMENTS[kind]
    schedule, same = kind(**arguments), kind(*arguments.values())
    assert schedule == same
    for copied in (pickle.loads(pickle.dumps(schedule)), copy.copy(schedule), copy.deepcopy(schedule)):
        assert copied == schedule
        assert [copied(at) for at in range(1, 9)] == [schedule(at) for at in range(1, 9)]
    numbers = [name for name in arguments if name in NUMBERS | dict.fromkeys(WHOLE)]
    for name in numbers:
        assert kind(**{**arguments, name: 0.25 if name in NUMBERS else 4}) != schedule
    for name, value in arguments.items():
        assert getattr(schedule, name) == value
    if kind is not ReduceOnPlateau:
        assert eval(repr(schedule), vars(schedules)) == schedule
        assert hash(schedule) == hash(same)
        with pytest.raises(FrozenInstanceError):
            schedule.steps = 3


def test_numbers_become_plain():
    schedule = cosine(np.float32(0.5), np.int8(10), np.array(1))
    assert repr(schedule) == "cosine(lr=0.5, steps=10, final=1.0)"
    assert schedule == cosine(0.5, 10, 1)
    assert [type(value) for value in vars(schedule).values()] == [float, int, float]
    assert piecewise(np.array([0.5, 0.25]), np.array([7])) == piecewise([0.5, 0.25], [7])


def test_kinds_differ():
    assert cosine(0.1, 10) != linear(0.1, 10)
    assert cosine(0.1, 10) != cosine_restarts(0.1, 10)


def test_import_is_light():
    run_python("import fastopt.schedules, sys; assert not {'numba', 'torch', 'matplotlib'} & set(sys.modules)")


def test_every_schedule_is_on_the_page():
    page = (ROOT / "docs" / "schedules.md").read_text()
    assert [name for name in schedules.__all__ if f"`{name}(" not in page] == []


# ---- In optimizers

RATED = [case for case in CASES if case.name != "rprop" and case.target == "param"]


@pytest.mark.parametrize("case", RATED, ids=lambda case: case.name)
def test_an_optimizer_makes_the_updates_of_the_rates(case):
    rng = np.random.default_rng(0)
    shapes = [(30, 7), (5,)]
    start = [rng.standard_normal(shape, np.float32) for shape in shapes]
    rates = warmup(cosine(0.1, 6, final=0.01), 3, start=0.02)
    by_schedule, by_number = ([param.copy() for param in start] for _ in range(2))
    first, second = make(case, by_schedule), make(case, by_number)
    first.groups[0].lr = rates
    for count in range(1, 13):
        grads = [rng.standard_normal(shape, np.float32) for shape in shapes]
        second.groups[0].lr = rates(count)
        for optimizer in (first, second):
            optimizer.step(grads)
        for i in range(len(shapes)):
            ours, wanted = (
                {"param": params[i], **o.state[i]} for o, params in ((first, by_schedule), (second, by_number))
            )
            assert_same_bits(ours, wanted, f"step {count}, {i}")
    assert not np.array_equal(by_schedule[0], start[0])


def test_a_group_has_its_own_and_a_parameter_its_own_step():
    a, b, c = (np.zeros(1) for _ in range(3))
    rates = piecewise([1.0, 10.0, 100.0], [1, 2])
    optimizer = SGD([{"params": [a]}, {"params": [b, c], "lr": rates}], lr=step(2.0, 1, 0.5))
    ones = np.ones(1)
    optimizer.step([ones, ones, None])
    optimizer.step([ones, ones, ones])
    assert (a, b, c) == (-3.0, -11.0, -1.0)
    optimizer.step([ones, None, ones])
    assert (a, b, c) == (-3.5, -11.0, -11.0)


def test_a_checkpoint_goes_on_at_the_right_rate(tmp_path):
    rates = warmup(cosine(0.1, 8), 4)
    asked = []

    def recorded(step):
        asked.append(step)
        return rates(step)

    def train(optimizer, params, steps):
        for at in steps:
            optimizer.step([np.random.default_rng(at).standard_normal(param.shape) for param in params])

    whole = [np.ones((4, 3)), np.zeros(5)]
    train(AdamW(whole, lr=rates), whole, range(12))

    broken = [param.copy() for param in (np.ones((4, 3)), np.zeros(5))]
    before = AdamW(broken, lr=rates)
    train(before, broken, range(7))
    before.save(tmp_path / "adamw.npz")
    after = AdamW(broken, lr=recorded)
    after.load(tmp_path / "adamw.npz")
    asked.clear()
    train(after, broken, range(7, 12))
    assert asked == [8, 9, 10, 11, 12]
    assert_same_bits(dict(enumerate(broken)), dict(enumerate(whole)))


def test_rprop_has_no_rate():
    with pytest.raises(TypeError, match=r"^lr is constant\(lr=0.1\), a constant; expected a finite number, 0 or more"):
        Rprop([np.zeros(1)], lr=constant(0.1))


def test_an_optimizer_refuses_a_rate_that_is_none():
    optimizer = SGD([np.zeros(1)], lr=warmup(lambda step: 1.0 if step < 3 else -1.0, 1))
    for _ in range(3):
        optimizer.step([np.ones(1)])
    with pytest.raises(ValueError, match=r"^lr is -1\.0; expected a finite number, 0 or more"):
        optimizer.step([np.ones(1)])


# ---- ReduceOnPlateau


def rates_of(schedule, metrics):
    """Return the rate after each metric."""
    rates = []
    for metric in metrics:
        before = schedule(1)
        fell = schedule.observe(metric)
        assert fell is (schedule(1) < before)
        rates.append(schedule(1))
    return rates


@pytest.mark.parametrize(
    ("options", "metrics", "rates"),
    [
        # The third observation in a row that is no better is one too many.
        ({"patience": 2}, [5, 5, 5, 5, 5, 5, 5], [8, 8, 8, 4, 4, 4, 2]),
        ({"patience": 2}, [5, 6, 6, 4, 6, 6, 6], [8, 8, 8, 8, 8, 8, 4]),
        ({"patience": 0}, [5, 5, 4, 4], [8, 4, 4, 2]),
        # A share of the best, or a number.
        ({"patience": 0, "threshold": 0.25}, [8, 6, 5.9, 5, 4], [8, 4, 4, 2, 2]),
        ({"patience": 0, "threshold": 0.25, "threshold_mode": "abs"}, [8, 7.75, 7.7, 7.5, 7.4], [8, 4, 4, 2, 2]),
        ({"patience": 0, "threshold": 0.25, "mode": "max"}, [8, 10, 10.1, 12], [8, 4, 4, 2]),
        ({"patience": 0, "threshold": 0.25, "threshold_mode": "abs", "mode": "max"}, [8, 8.25, 8.3], [8, 4, 4]),
        # Of a negative best, the margin is a share of its magnitude; of a best of 0 there is none.
        ({"patience": 0, "threshold": 0.25}, [-8, -8, -9, -10, -10.1, -7], [8, 4, 2, 1, 1, 0.5]),
        ({"patience": 0, "threshold": 0.25, "mode": "max"}, [-8, -8, -7, -6, -5.9, -9], [8, 4, 2, 1, 1, 0.5]),
        ({"patience": 0, "threshold": 0.25}, [1, 0, 0, -1e-300, -1.2e-300, -2e-300], [8, 8, 4, 4, 2, 2]),
        ({"patience": 0, "threshold": 0.25, "mode": "max"}, [-1, 0, 0, 1e-300, 1.2e-300, 2e-300], [8, 8, 4, 4, 2, 2]),
        ({"patience": 0, "threshold": 0.25}, [4, -4, -4, 4, nan, -6], [8, 8, 4, 2, 1, 1]),
        # A margin of the whole of best, or more: for mode="max" alone.
        ({"patience": 0, "threshold": 1.0, "mode": "max"}, [-4, -1, 0, 0.1, 1, 2, 2.1], [8, 4, 2, 2, 2, 1, 1]),
        ({"patience": 0, "threshold": 2.0, "mode": "max"}, [-4, 3, 4.1, 13], [8, 4, 4, 4]),
        ({"patience": 0, "threshold": 1.0, "threshold_mode": "abs"}, [4, 3, 2.9], [8, 4, 4]),
        # After a fall two don't count; a better one among them is still the best.
        ({"patience": 0, "cooldown": 2}, [5, 5, 5, 5, 5, 5], [8, 4, 4, 4, 2, 2]),
        ({"patience": 0, "cooldown": 2}, [5, 5, 3, 4, 4, 2], [8, 4, 4, 4, 2, 2]),
        # Not below min_lr, and not by eps or less.
        ({"patience": 0, "min_lr": 3.0}, [5, 5, 5, 5], [8, 4, 3, 3]),
        ({"patience": 0, "eps": 2.0}, [5, 5, 5, 5], [8, 4, 4, 4]),
        ({"patience": 0, "min_lr": 9.0}, [5, 5], [8, 8]),
        ({"patience": 0, "factor": 0.0}, [5, 5, 5], [8, 0, 0]),
        # NaN is no better than anything; so is an infinity on the wrong side; on the right one it is best for good.
        ({"patience": 1}, [nan, nan, 5, nan, 4, nan, nan], [8, 4, 4, 4, 4, 4, 2]),
        ({"patience": 0}, [inf, 5, inf], [4, 4, 2]),
        ({"patience": 0}, [-inf, -inf], [8, 4]),
        ({"patience": 0, "mode": "max"}, [-inf, 5, inf, 6], [4, 4, 4, 2]),
        ({"patience": 0, "threshold": 0.25}, [nan, -5, -inf, -inf, nan], [4, 4, 4, 2, 1]),
        ({"patience": 0, "threshold": 1.5, "mode": "max"}, [nan, -inf, -5, inf, inf], [4, 2, 2, 2, 1]),
    ],
)
def test_plateau(options, metrics, rates):
    schedule = ReduceOnPlateau(8.0, **{"factor": 0.5, "threshold": 0.0, **options})
    assert rates_of(schedule, metrics) == rates


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.9])
@pytest.mark.parametrize("level", [-1234.5, -1e-3, 0.0, 1e-3, 1234.5])
def test_the_rate_falls_where_a_metric_stays_the_same(mode, threshold, level):
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=3, threshold=threshold, mode=mode)
    assert rates_of(schedule, [level] * 9) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_nan_is_never_best():
    schedule = ReduceOnPlateau(1.0)
    for metric in (nan, 2.0, nan):
        schedule.observe(metric)
    assert (schedule.best, schedule.num_bad_epochs) == (2.0, 1)


@pytest.mark.parametrize("metric", [None, "0.5", 1j, [0.5], np.ones(2), np.complex64(1)])
def test_refused_metrics(metric):
    schedule = ReduceOnPlateau(1.0)
    before = schedule.state_dict()
    with pytest.raises(TypeError, match=r"^metric is .*; expected a number$"):
        schedule.observe(metric)
    assert schedule.state_dict() == before


@pytest.mark.parametrize("metric", [3, np.float32(3), np.int8(3), np.array(3.0)])
def test_metrics_of_other_types(metric):
    schedule = ReduceOnPlateau(1.0)
    schedule.observe(metric)
    assert schedule.best == 3.0
    assert type(schedule.best) is float


def test_a_plateau_s_state_goes_on():
    options = {"factor": 0.5, "patience": 1, "cooldown": 1, "threshold_mode": "abs"}
    metrics = np.random.default_rng(3).standard_normal(40).tolist()
    wanted = rates_of(ReduceOnPlateau(1.0, **options), metrics)
    for k in range(40):
        old, new = ReduceOnPlateau(1.0, **options), ReduceOnPlateau(0.3, eps=0.1)
        first = rates_of(old, metrics[:k])
        new.load_state_dict(json.loads(json.dumps(old.state_dict())))
        assert new == old
        assert first + rates_of(new, metrics[k:]) == wanted


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda state: [state], TypeError, "state is a list; expected a dict, as state_dict returns it"),
        (lambda state: state | {"mode": "max"}, ValueError, "mode is 'max'; expected 'min', the mode of this object"),
        (lambda state: state | {"lr": nan}, ValueError, "lr is nan; expected a finite number, 0 or more"),
        (lambda state: state | {"lr": None}, TypeError, "lr is None, a NoneType; expected a finite number, 0 or more"),
        (lambda state: state | {"best": nan}, ValueError, "best is nan; expected a number, or an infinity"),
        (lambda state: state | {"threshold": 2.0}, ValueError, "threshold is 2.0; expected it below 1 with "),
        (lambda state: state | {"num_bad_epochs": -1}, ValueError, "num_bad_epochs is -1; expected a whole number, "),
        (lambda state: state | {"cooldown_counter": 0.5}, TypeError, "cooldown_counter is 0.5, a float; expected a "),
        (lambda state: state | {"threshold_mode": "no"}, ValueError, "threshold_mode is 'no'; expected 'rel' or "),
        (lambda state: state | {"gamma": 0.5}, ValueError, "state has 'gamma'; expected only lr, factor, "),
        (lambda state: {n: v for n, v in state.items() if n != "best"}, ValueError, "state lacks 'best'"),
    ],
)
def test_a_state_that_is_refused_changes_nothing(change, error, message):
    old, new = ReduceOnPlateau(0.5), ReduceOnPlateau(0.25, patience=3)
    for metric in (3.0, 4.0):
        old.observe(metric)
    new.observe(1.0)
    before = new.state_dict()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        new.load_state_dict(change(old.state_dict()))
    assert new.state_dict() == before


def test_a_plateau_in_an_optimizer_and_behind_a_warm_up():
    weight = np.zeros(1)
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=0)
    optimizer = SGD([weight], lr=warmup(plateau, steps=2))
    falls = []
    for loss in (1.0, 2.0, 2.0, 2.0, 0.5):
        before = weight[0]
        optimizer.step([np.ones(1)])
        falls.append(before - weight[0])
        plateau.observe(loss)
    assert falls == [0.0, 0.5, 0.5, 0.25, 0.125]
