"""Draw every schedule: ``python docs/examples/plot_schedules.py`` writes docs/schedules.png.

What stands over a curve is the code that drew it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from fastopt import schedules

STEPS = 400
COLORS = ("#0b5fa5", "#d9541e", "#2f8f5b")

#: What each panel draws: the schedule that it shows, in code.
PANELS = {
    "constant": ["constant(0.1)"],
    "inverse_time": ["inverse_time(0.1, rate=0.01)", "inverse_time(0.1, rate=0.05)"],
    "inverse_sqrt": ["inverse_sqrt(0.1)", "inverse_sqrt(0.1, rate=0.02)"],
    "exponential": ["exponential(0.1, gamma=0.99)", "exponential(0.1, 0.5, steps=100, final=0.02)"],
    "step": ["step(0.1, every=100, gamma=0.5)"],
    "piecewise": ["piecewise([0.03, 0.1, 0.01], [50, 250])"],
    "linear": ["linear(0.1, steps=300)", "linear(0.02, steps=300, final=0.06)"],
    "polynomial": ["polynomial(0.1, steps=300, power=2)", "polynomial(0.1, steps=300, power=0.5)"],
    "cosine": ["cosine(0.1, steps=300)", "cosine(0.1, steps=300, final=0.03)"],
    "cosine_restarts": ["cosine_restarts(0.1, steps=134)", "cosine_restarts(0.06, steps=58, growth=2)"],
    "one_cycle": ["one_cycle(0.1, steps=350)", 'one_cycle(0.06, 350, 0.4, 5, anneal="linear")'],
    "warmup": ["warmup(cosine(0.1, 300), steps=50)", "warmup(inverse_sqrt(0.06, 1 / 50), 50, 0.02)"],
    "sequence": ["sequence([constant(0.1), cosine(0.1, 150)], [200])"],
    "per_epoch": ["per_epoch(inverse_time(0.1, rate=0.5), steps=80)"],
    "ReduceOnPlateau": ["ReduceOnPlateau(0.1, 0.5, 80, threshold=0.05)"],
}


def losses() -> np.ndarray:
    """Return a loss that falls to a plateau, leaves it, and comes to another."""
    at = np.arange(STEPS)
    falls = 0.05 * np.exp(-at / 12) + 0.03 / (1 + np.exp((at - 190) / 10)) + 0.012
    return np.asarray(falls * (1 + 0.04 * np.random.default_rng(0).standard_normal(STEPS)))


def rates(code: str) -> list[float]:
    """Return the learning rate of each step."""
    schedule = eval(code, dict(vars(schedules)))
    if not isinstance(schedule, schedules.ReduceOnPlateau):
        return [schedule(step) for step in range(1, STEPS + 1)]
    curve = []
    for step, loss in enumerate(losses(), 1):
        curve.append(schedule(step))
        schedule.observe(loss)
    return curve


def draw_panel(panel: Axes, name: str, codes: list[str]) -> None:
    """Draw the curves of one kind of schedule, with their code above them."""
    steps = np.arange(1, STEPS + 1)
    lines: list[tuple[str, str]] = list(zip(codes, COLORS, strict=False))
    if name == "ReduceOnPlateau":
        panel.plot(steps, losses(), color="#b9b9b9", linewidth=0.9)
        lines.append(("and the loss that it observes", "#8a8a8a"))
    for code, color in lines[: len(codes)]:
        panel.plot(steps, rates(code), color=color, linewidth=2.0, solid_joinstyle="round")
    for height, (code, color) in zip((1.13, 1.03), lines, strict=False):
        text = panel.text(0, height, code, color=color, family="monospace", fontsize=8.0, transform=panel.transAxes)
        text.set_in_layout(False)  # the panels would make room for it on their right
    panel.set_title(name, loc="left", fontsize=11, fontweight="bold", pad=31)
    panel.set_xlim(0, STEPS)
    panel.set_ylim(-0.003, 0.106)
    panel.set_xticks(range(0, STEPS + 1, 100))
    panel.set_yticks([0, 0.05, 0.1])
    panel.grid(color="#e4e4e4", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def draw(path: Path) -> None:
    """Save small multiples, one for each kind of schedule."""
    figure, axes = plt.subplots(5, 3, figsize=(12, 13.6), sharex=True, sharey=True)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    for panel, (name, codes) in zip(axes.flat, PANELS.items(), strict=True):
        draw_panel(panel, name, codes)
    for panel in axes[:, 0]:
        panel.set_ylabel("learning rate")
    for panel in axes[-1]:
        panel.set_xlabel("step")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Draw, and say where to."""
    parser = argparse.ArgumentParser(description="Draw every schedule of fastopt.schedules.")
    parser.add_argument("path", type=Path, nargs="?", default=Path(__file__).parents[1] / "schedules.png")
    path = parser.parse_args().path
    draw(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
