"""Train a NumPy network on scikit-learn's handwritten digits, with Adam from fastopt and from plain NumPy.

The network (64-128-64-10, ReLU, softmax cross-entropy) and its gradients are written by hand; the optimizer is one call
for each weight array, in place. Run it with ``python docs/examples/train_digits.py``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastopt
from fastopt import reference

LAYERS = (64, 128, 64, 10)
EPOCHS = 30
BATCH = 32
SEED = 0
REQUIRED_ACCURACY = 0.97

#: Said in full, since the plain formula has no defaults.
ADAM = {
    "lr": 2e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
    "bias_correction": True, "weight_decay": 0.0, "grad_scale": 1.0,
}  # fmt: skip

#: The same update twice: compiled in one pass over the memory, and as NumPy expressions.
OPTIMIZERS = {"fastopt": fastopt.adam, "NumPy": reference.adam}


@dataclass
class Digits:
    """Images as rows of 64 float32 features, and their labels."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray

    @classmethod
    def load(cls) -> Digits:
        """Load the 1,797 images, keep a quarter of each digit for the test, and scale 0..16 to -1..1."""
        pixels, labels = load_digits(return_X_y=True)
        x = (pixels / 8 - 1).astype(np.float32)
        train_x, test_x, train_y, test_y = train_test_split(
            x, labels, test_size=0.25, stratify=labels, random_state=SEED
        )
        return cls(train_x, train_y, test_x, test_y)


class Network:
    """Dense layers with ReLU between them; ``params`` and ``grads`` are weights and biases in turn."""

    def __init__(self, rng: np.random.Generator):
        self.params: list[np.ndarray] = []
        for fan_in, fan_out in pairwise(LAYERS):
            weights = rng.standard_normal((fan_in, fan_out), np.float32) * np.float32(np.sqrt(2 / fan_in))  # He et al.
            self.params += [weights, np.zeros(fan_out, np.float32)]
        self.grads = [np.zeros_like(param) for param in self.params]
        self.inputs: list[np.ndarray] = []

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of each digit, and remember each layer's input."""
        self.inputs = []
        for weights, bias in zip(self.params[0::2], self.params[1::2], strict=True):
            self.inputs.append(x)
            x = x @ weights + bias
            if weights is not self.params[-2]:
                x = np.maximum(x, 0)
        x = np.exp(x - x.max(axis=1, keepdims=True))
        return x / x.sum(axis=1, keepdims=True)

    def backward(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Fill ``grads`` for the mean cross-entropy of the batch that went forward last."""
        delta = probabilities.copy()
        delta[np.arange(len(labels)), labels] -= 1
        delta /= len(labels)
        for i in reversed(range(len(self.inputs))):
            np.matmul(self.inputs[i].T, delta, out=self.grads[2 * i])
            np.sum(delta, axis=0, out=self.grads[2 * i + 1])
            if i:
                delta = (delta @ self.params[2 * i].T) * (self.inputs[i] > 0)


@dataclass
class Run:
    """What a training left behind."""

    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    #: Seconds in updates alone.
    seconds: float = 0.0


def train(digits: Digits, adam: Any) -> Run:
    """Train from the same start and on the same batches with one implementation of Adam."""
    rng = np.random.default_rng(SEED)
    network = Network(rng)
    state = [(np.zeros_like(param), np.zeros_like(param)) for param in network.params]
    run, step = Run(), 0
    for _ in range(EPOCHS):
        losses, hits = [], []
        order = rng.permutation(len(digits.train_x))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            labels = digits.train_y[batch]
            probabilities = network.forward(digits.train_x[batch])
            network.backward(probabilities, labels)
            losses.append(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12))
            hits.append(probabilities.argmax(axis=1) == labels)

            step += 1
            begin = perf_counter()
            for param, grad, (m, v) in zip(network.params, network.grads, state, strict=True):
                adam(param, grad, m, v, step=step, **ADAM)
            run.seconds += perf_counter() - begin

        test_hits = network.forward(digits.test_x).argmax(axis=1) == digits.test_y
        run.loss.append(float(np.concatenate(losses).mean()))
        run.train_accuracy.append(float(np.concatenate(hits).mean()))
        run.test_accuracy.append(float(test_hits.mean()))
    return run


#: A wide line and a thin one on it, since both optimizers should draw the same curve.
STYLES = ({"color": "#0b5fa5", "linewidth": 3.5}, {"color": "black", "linewidth": 1.3, "linestyle": "--"})


def draw(runs: dict[str, Run], path: Path) -> None:
    """Save the curves of loss and accuracy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    epochs = range(1, EPOCHS + 1)
    for (name, run), style in zip(runs.items(), STYLES, strict=True):
        left.plot(epochs, run.loss, label=name, **style)
        right.plot(epochs, run.test_accuracy, label=name, **style)
    left.set(xlabel="epoch", ylabel="training loss (cross-entropy)", yscale="log")
    right.set(xlabel="epoch", ylabel="test accuracy", ylim=(0.85, 1.0))
    right.axhline(REQUIRED_ACCURACY, color="#8a8a8a", linewidth=0.8)
    for axes, place in ((left, "upper right"), (right, "lower right")):
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(title="Adam by", loc=place, frameon=False)
    figure.suptitle("A 64-128-64-10 network on handwritten digits")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    """Train with each optimizer, and say whether both reach the accuracy that is asked for."""
    parser = argparse.ArgumentParser(description="Train a NumPy network on handwritten digits.")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results/")
    out = parser.parse_args().out
    digits = Digits.load()
    print(f"{len(digits.train_x)} training and {len(digits.test_x)} test images, {EPOCHS} epochs, batches of {BATCH}")
    runs = {name: train(digits, adam) for name, adam in OPTIMIZERS.items()}

    print("epoch  loss    train   test    (fastopt)")
    first = runs["fastopt"]
    for epoch in [1, 2, 3, 5, *range(10, EPOCHS + 1, 5)]:
        loss, train_, test = (curve[epoch - 1] for curve in (first.loss, first.train_accuracy, first.test_accuracy))
        print(f"{epoch:5}  {loss:.4f}  {train_:.2%}  {test:.2%}")
    for name, run in runs.items():
        print(f"{name:8} test accuracy {run.test_accuracy[-1]:.2%}, {1e3 * run.seconds:6.1f} ms in updates")

    out.mkdir(parents=True, exist_ok=True)
    picture = out / "train_digits.png"
    draw(runs, picture)
    print(f"wrote {picture}")
    reached = min(run.test_accuracy[-1] for run in runs.values())
    if reached < REQUIRED_ACCURACY:
        print(f"the test accuracy is {reached:.2%}; expected at least {REQUIRED_ACCURACY:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
