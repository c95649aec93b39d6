"""Draw the pictures of docs/learning-curves.md: ``python docs/plot_learning_curves.py`` writes four files beside it.

Every curve is a training of the same small network, on generated points: three spiral arms with noise. What a picture
compares is the only difference between its curves.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import fastopt
from fastopt import init, schedules
from fastopt.norm import BatchNorm
from fastopt.optim import AdamW, Momentum, Optimizer

DOCS = Path(__file__).parent
BLUE, RED, GREEN, GRAY = "#0b5fa5", "#d9541e", "#2f8f5b", "#8a8a8a"
HIDDEN = 64


def spirals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points in the plane, and to which of three spiral arms each belongs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    radius = rng.uniform(0.1, 1.0, count)
    angle = 6 * radius + labels * 2 * np.pi / 3 + 0.5 * rng.standard_normal(count)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1).astype(np.float32), labels


TRAIN, VALIDATION = spirals(1000, seed=0), spirals(1000, seed=1)


class Network:
    """Two hidden layers with ReLU, with batch norm or without, and softmax cross-entropy."""

    def __init__(self, batch_norm: bool, seed: int = 0):
        shapes = {"w1": (2, HIDDEN), "w2": (HIDDEN, HIDDEN), "w3": (HIDDEN, 3)}
        self.params = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
        for number, weight in enumerate(self.params.values()):
            init.he_normal_(weight, seed=3 * seed + number, layout="keras")
        self.params["b3"] = np.zeros(3, np.float32)
        self.norms = [BatchNorm(HIDDEN, activation="relu") for _ in range(2)] if batch_norm else []
        for number in (1, 2):
            if batch_norm:
                norm = self.norms[number - 1]
                self.params[f"scale{number}"], self.params[f"b{number}"] = norm.weight, norm.bias
            else:
                self.params[f"b{number}"] = np.zeros(HIDDEN, np.float32)

    def hidden(self, x: np.ndarray, number: int) -> np.ndarray:
        """Return the units of a hidden layer."""
        y = x @ self.params[f"w{number}"]
        return self.norms[number - 1].forward(y) if self.norms else np.maximum(y + self.params[f"b{number}"], 0)

    def loss(self, x: np.ndarray, labels: np.ndarray) -> float:
        """Return the mean cross-entropy in inference."""
        for norm in self.norms:
            norm.eval()
        loss, _ = self.gradients(x, labels, only_loss=True)
        for norm in self.norms:
            norm.train()
        return loss

    def gradients(
        self, x: np.ndarray, labels: np.ndarray, only_loss: bool = False
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Return the mean cross-entropy, and its gradient with respect to each parameter."""
        h1 = self.hidden(x, 1)
        h2 = self.hidden(h1, 2)
        logits = h2 @ self.params["w3"] + self.params["b3"]
        logits -= logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        rows = np.arange(len(labels))
        loss = -float(log_probabilities[rows, labels].mean())
        if only_loss:
            return loss, {}
        dy = np.exp(log_probabilities)
        dy[rows, labels] -= 1
        dy /= len(labels)
        grads = {"w3": h2.T @ dy, "b3": dy.sum(axis=0)}
        dh = dy @ self.params["w3"].T
        for number, (before, after) in ((2, (h1, h2)), (1, (x, h1))):
            if self.norms:
                norm = self.norms[number - 1]
                dh = norm.backward(dh)
                grads[f"scale{number}"], grads[f"b{number}"] = norm.dweight, norm.dbias
            else:
                dh = dh * (after > 0)
                grads[f"b{number}"] = dh.sum(axis=0)
            grads[f"w{number}"] = before.T @ dh
            dh = dh @ self.params[f"w{number}"].T
        return loss, grads


@dataclass
class Curves:
    """What a training has recorded: the loss of each step, and at some steps the loss on both sets of points."""

    losses: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)


def train(
    make: Callable[[Any], Optimizer],
    steps: int,
    *,
    batch_size: int = 50,
    batch_norm: bool = False,
    points: int = 1000,
    every: int = 0,
    observe: Callable[[float], object] | None = None,
) -> Curves:
    """Train a network and record its losses. ``observe`` is called with the loss of each epoch."""
    network, curves = Network(batch_norm), Curves()
    x, labels = TRAIN[0][:points], TRAIN[1][:points]
    weights = {name: param for name, param in network.params.items() if param.ndim == 2}
    others = {name: param for name, param in network.params.items() if param.ndim == 1}
    optimizer = make([{"params": weights}, {"params": others, "weight_decay": 0.0}])
    batches = fastopt.minibatches(x, labels, batch_size=batch_size, seed=1)
    for step, (xb, yb) in zip(range(1, steps + 1), epochs(batches), strict=False):
        loss, grads = network.gradients(xb, yb)
        curves.losses.append(loss)
        if not np.isfinite(loss):
            break
        optimizer.step(grads)
        if every and step % every == 0:
            curves.steps.append(step)
            curves.train.append(network.loss(x, labels))
            curves.validation.append(network.loss(*VALIDATION))
        if observe is not None and step % len(batches) == 0:
            observe(float(np.mean(curves.losses[-len(batches) :])))
    return curves


def epochs(batches: Any) -> Iterator[Any]:
    """Go through epoch after epoch."""
    while True:
        yield from batches


def smoothed(values: list[float], width: int = 20) -> np.ndarray:
    """Return the running mean of the last values."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - width, 0)
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


# ---- Pictures


def panels(count: int, title: list[str]) -> tuple[Any, list[Axes]]:
    """Return a figure with panels beside each other, which share an axis of losses."""
    figure, axes = plt.subplots(1, count, figsize=(4.6 * count, 3.5), sharey=True, layout="constrained", squeeze=False)
    for panel, text in zip(axes[0], title, strict=True):
        panel.set_title(text, loc="left", fontsize=11)
        panel.grid(color="#e4e4e4", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, list(axes[0])


def learning_rates() -> Any:
    """Compare rates: too low, right, too high."""
    figure, axes = panels(2, ["Momentum", "AdamW"])
    for panel, kind, rates in (
        (axes[0], Momentum, (0.001, 0.1, 1.0)),
        (axes[1], AdamW, (0.0003, 0.01, 0.3)),
    ):
        for rate, color, word in zip(rates, (GRAY, BLUE, RED), ("too low", "good", "too high"), strict=True):
            curves = train(lambda groups, kind=kind, rate=rate: kind(groups, lr=rate), 1000)
            panel.plot(smoothed(curves.losses), color=color, label=f"lr={rate:g}: {word}")
        panel.set_xlabel("step")
        panel.set_ylim(0, 1.6)
        panel.legend(frameon=False, fontsize=9)
    axes[0].set_ylabel("training loss")
    return figure


def overfitting() -> Any:
    """Compare few points, more weight decay, and more points."""
    figure, axes = panels(3, ["150 points", "150 points, weight decay", "1,000 points"])
    for panel, points, decay in zip(axes, (150, 150, 1000), (0.0, 1.0, 0.0), strict=True):
        curves = train(
            lambda groups, decay=decay: AdamW(
                [{**group, "weight_decay": group.get("weight_decay", decay)} for group in groups], lr=0.005
            ),
            1500,
            points=points,
            every=20,
        )
        panel.plot(curves.steps, curves.train, color=BLUE, label="training")
        panel.plot(curves.steps, curves.validation, color=RED, label="validation")
        best = int(np.argmin(curves.validation))
        panel.plot(curves.steps[best], curves.validation[best], "o", color=RED, markersize=6)
        panel.set_xlabel("step")
    axes[0].set_ylim(0, 1.6)
    axes[0].set_ylabel("loss")
    axes[0].legend(frameon=False, fontsize=9)
    return figure


def plateaus() -> Any:
    """Compare a constant rate with rates that fall."""
    steps, rate = 2000, 0.06
    plateau = schedules.ReduceOnPlateau(rate, factor=0.3, patience=8)
    compared = {
        "constant": (schedules.constant(rate), GRAY),
        "cosine": (schedules.cosine(rate, steps), BLUE),
        "step: three tenths after 1,000 steps": (schedules.step(rate, 1000, gamma=0.3), GREEN),
        "ReduceOnPlateau": (plateau, RED),
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.5), layout="constrained")
    for label, (schedule, color) in compared.items():
        rates: list[float] = []

        def make(groups: Any, schedule: Any = schedule, rates: Any = rates) -> Optimizer:
            def lr(number: int) -> float:
                rates.append(schedule(number))
                return float(rates[-1])

            return AdamW(groups, lr=lr, weight_decay=0.0)

        observe = plateau.observe if schedule is plateau else None
        curves = train(make, steps, batch_size=50, batch_norm=True, every=20, observe=observe)
        left.plot(curves.steps, smoothed(curves.train, 3), color=color, label=label)
        right.plot(rates[-2 * steps :: 2], color=color)  # each of the two groups asked in each step
    for panel, title in ((left, "loss on all training points"), (right, "learning rate")):
        panel.set_title(title, loc="left", fontsize=11)
        panel.grid(color="#e4e4e4", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_xlabel("step")
    left.set_ylim(0, 0.5)
    left.legend(frameon=False, fontsize=9)
    return figure


def batch_sizes() -> Any:
    """Compare batch sizes over the same number of samples, as they are and smoothed."""
    figure, axes = panels(3, ["batches of 10", "batches of 50", "batches of 250"])
    for panel, size, color in zip(axes, (10, 50, 250), (BLUE, GREEN, RED), strict=True):
        steps = 40_000 // size
        curves = train(lambda groups: AdamW(groups, lr=0.005, weight_decay=0.0), steps, batch_size=size)
        seen = size * np.arange(1, steps + 1) / 1000
        panel.plot(seen, curves.losses, color=color, alpha=0.25, linewidth=0.7)
        panel.plot(seen, smoothed(curves.losses, max(1, 1000 // size)), color=color)
        panel.set_xlabel("epoch")
    axes[0].set_ylim(0, 1.6)
    axes[0].set_ylabel("training loss of each step")
    return figure


#: The pictures, by what follows "learning_curves_" in the file's name.
PICTURES = {"rates": learning_rates, "overfitting": overfitting, "plateaus": plateaus, "batches": batch_sizes}


def draw(folder: Path) -> list[Path]:
    """Draw all pictures into a folder; return their paths."""
    paths = []
    for name, picture in PICTURES.items():
        figure = picture()
        paths.append(folder / f"learning_curves_{name}.png")
        figure.savefig(paths[-1], dpi=80)
        plt.close(figure)
    return paths


def main() -> None:
    """Draw, and say where to."""
    parser = argparse.ArgumentParser(description="Draw the pictures of docs/learning-curves.md.")
    parser.add_argument("folder", type=Path, nargs="?", default=DOCS)
    for path in draw(parser.parse_args().folder):
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
