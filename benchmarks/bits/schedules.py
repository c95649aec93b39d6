"""Random schedules, and their rates at several steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fastopt
from benchmarks.bits.call import CYTHON_ONLY, Call, Options, calls_of
from benchmarks.bits.inputs import Inputs
from fastopt import schedules

STEPS = [*range(1, 40), 100, 101, 102, 999, 1000, 1001, 10_000, 10**9]


def schedule_calls() -> list[Call]:
    """Return calls of every schedule."""
    calls = [
        call
        for name in MAKERS
        for call in calls_of(name, 15, lambda inputs, options, name=name: rates(name, inputs), backends=CYTHON_ONLY)
    ]
    calls += calls_of("ReduceOnPlateau", 15, plateau, backends=CYTHON_ONLY)
    return calls + calls_of("nadam_mu", 15, nadam_mu, backends=CYTHON_ONLY)


def rates(name: str, inputs: Inputs) -> list[float]:
    """Return the rates of a schedule."""
    schedule = MAKERS[name](inputs)
    return [schedule(step) for step in STEPS]


def _lr(inputs: Inputs) -> float:
    return inputs.magnitude("lr", 1e-5, 10)


def _steps(inputs: Inputs, name: str = "steps") -> int:
    return inputs.choice(name, [1, 2, 7, 30, 100, 1000])


def _final(inputs: Inputs) -> float:
    return _lr(inputs) * inputs.choice("final", [0.0, 0.1, 0.5])


def _inner(inputs: Inputs) -> Callable[[int], float]:
    return schedules.cosine(_lr(inputs), _steps(inputs, "inner steps"), _final(inputs))


MAKERS: dict[str, Callable[[Inputs], Any]] = {
    "constant": lambda i: schedules.constant(_lr(i)),
    "inverse_time": lambda i: schedules.inverse_time(_lr(i), i.magnitude("rate", 1e-4, 2)),
    "inverse_sqrt": lambda i: schedules.inverse_sqrt(_lr(i), i.magnitude("rate", 1e-4, 2)),
    "exponential": lambda i: schedules.exponential(_lr(i), i.uniform("gamma", 0.5, 1), _steps(i), _final(i)),
    "step": lambda i: schedules.step(_lr(i), _steps(i), i.uniform("gamma", 0.1, 1)),
    "piecewise": lambda i: schedules.piecewise([_lr(i), 0.5, _final(i)], [_steps(i), 2000]),
    "linear": lambda i: schedules.linear(_lr(i), _steps(i), _final(i)),
    "polynomial": lambda i: schedules.polynomial(_lr(i), _steps(i), _final(i), i.uniform("power", 0.5, 3)),
    "cosine": lambda i: schedules.cosine(_lr(i), _steps(i), _final(i)),
    "cosine_restarts": lambda i: schedules.cosine_restarts(_lr(i), _steps(i), _final(i), i.whole("growth", 1, 3)),
    "one_cycle": lambda i: schedules.one_cycle(
        _lr(i),
        10 * _steps(i),
        i.uniform("pct_start", 0.1, 0.45),
        anneal=i.choice("anneal", ["cosine", "linear"]),
        three_phase=i.chance("three_phase"),
    ),
    "warmup": lambda i: schedules.warmup(_inner(i), _steps(i), i.choice("start", [0.0, 1e-6])),
    "sequence": lambda i: schedules.sequence([schedules.constant(_lr(i)), _inner(i)], [_steps(i)]),
    "per_epoch": lambda i: schedules.per_epoch(_inner(i), _steps(i)),
}


def plateau(inputs: Inputs, options: Options) -> Any:
    """Return the rates for a metric that stops improving."""
    schedule = schedules.ReduceOnPlateau(
        _lr(inputs),
        factor=inputs.uniform("factor", 0.1, 0.9),
        patience=inputs.whole("patience", 0, 5),
        threshold_mode=inputs.choice("threshold_mode", ["rel", "abs"]),
        mode=inputs.choice("mode", ["min", "max"]),
        cooldown=inputs.whole("cooldown", 0, 3),
    )
    seen = []
    for step, noise in enumerate(inputs.rng("metric").random(60), 1):
        seen.append((schedule.observe(1 / step + 0.1 * float(noise)), schedule(step)))
    return seen


def nadam_mu(inputs: Inputs, options: Options) -> list[float]:
    """Return the momentum of NAdam."""
    beta1, decay = inputs.uniform("beta1", 0, 1), inputs.magnitude("decay", 1e-4, 1e-1)
    return [fastopt.nadam_mu(step, beta1, decay) for step in STEPS]
