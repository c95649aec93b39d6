"""Train a residual network in NumPy on handwritten digits with all that stands around a step, and without each part.

Images are scaled by what the training set is like. Mini-batches are shuffled by a seed, and go through the network in
two parts, whose gradients are accumulated. Parameters start as He et al. say. Convolutions have batch norm, with ReLU
and the residual connection in the same pass; the last layer has dropout. The learning rate rises, then falls along a
cosine; the optimizer is AdamW.

``python docs/examples/train_residual.py`` trains it in some seconds and draws its curves. ``--ablate`` trains it anew
without each of these, and with augmentation besides, from several starts, and prints a table;
``--update docs/mini-batches.md`` writes that into the page. ``--quick`` takes few images and epochs.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from train_digits import Dense, Digits

from fastopt import accumulate, augment, dropout_backward, dropout_forward, init, minibatches, residual_add, scaling
from fastopt import residual_add_backward as add_backward
from fastopt.norm import BatchNorm
from fastopt.optim import SGD, AdamW
from fastopt.schedules import cosine, warmup

CHANNELS = 16
BATCH, PARTS = 64, 2
LR, SGD_LR = 8e-3, 0.1
DROPOUT = 0.2
SHIFT, NOISE = 1, 0.1
#: What counts as learnt.
REACHED = 0.95
#: One for each start.
SEEDS = range(3)


@dataclass(frozen=True)
class Recipe:
    """What the training is made of; the ablation turns off one at a time, and turns on augmentation."""

    scaling: bool = True
    he_init: bool = True
    batch_norm: bool = True
    residual: bool = True
    dropout: bool = True
    shuffling: bool = True
    schedule: bool = True
    adam: bool = True
    augmentation: bool = False


#: What a row of the table says of the recipe without it.
WITHOUT = {
    "scaling": "feature scaling: pixels from 0 to 16 as they are",
    "he_init": "He initialisation: weights from N(0, 0.01^2)",
    "batch_norm": "batch norm",
    "residual": "residual connections",
    "dropout": "dropout",
    "shuffling": "shuffling: the same batches in every epoch",
    "schedule": "warm-up and cosine: a constant rate",
    "adam": "AdamW: plain gradient descent, at a rate of its own",
}
AUGMENTED = "(with all, and augmentation: shifts by up to a pixel, and noise)"


@dataclass(frozen=True)
class Effort:
    """How much is trained on, and how long."""

    images: int
    epochs: int


FULL, QUICK = Effort(10_000, 15), Effort(400, 3)


def load(effort: Effort, scaled: bool) -> tuple[Digits, Digits]:
    """Load images of 8 x 8 with one channel: those to train on and to validate with, and those to test with."""
    pixels, labels = load_digits(return_X_y=True)
    whole = Digits.split(pixels[: effort.images].astype(np.float32), labels[: effort.images])
    if scaled:
        scaler = scaling.StandardScaler().fit(whole.train_x)
        scaler.transform_(whole.train_x)
        scaler.transform_(whole.test_x)
    images = [x.reshape(-1, 8, 8, 1) for x in (whole.train_x, whole.test_x)]
    return Digits.split(images[0], whole.train_y), Digits(images[0], whole.train_y, images[1], whole.test_y)


# ---- The network


class Convolution:
    """A layer of 3 x 3 filters, the channels last, at the borders with zeros."""

    def __init__(self, channels_in: int, channels_out: int):
        self.params = [np.empty((3, 3, channels_in, channels_out), np.float32)]
        self.grads = [np.zeros_like(self.params[0])]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return y: for each pixel, its neighbourhood as a row, times the filters."""
        around = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2))
        self.rows = around.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 9 * x.shape[3])
        self.shape = x.shape
        return (self.rows @ self.filters).reshape(*x.shape[:3], -1)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Fill ``grads``; return dx: each pixel's share in its neighbours' rows."""
        dy = dy.reshape(len(self.rows), -1)
        np.matmul(self.rows.T, dy, out=self.grads[0].reshape(self.filters.shape))
        samples, height, width, channels = self.shape
        drows = (dy @ self.filters.T).reshape(samples, height, width, 3, 3, channels)
        dx = np.zeros((samples, height + 2, width + 2, channels), np.float32)
        for i in range(3):
            for j in range(3):
                dx[:, i : i + height, j : j + width] += drows[:, :, :, i, j]
        return dx[:, 1:-1, 1:-1]

    @property
    def filters(self) -> np.ndarray:
        """The weights as a matrix."""
        return self.params[0].reshape(-1, self.params[0].shape[3])


class Bias:
    """In the place of a batch norm: a bias for each channel, then the residual and ReLU in one pass."""

    training = True

    def __init__(self, channels: int):
        self.params = [np.zeros(channels, np.float32)]
        self.grads = [np.zeros(channels, np.float32)]

    def forward(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """Return y."""
        x += self.params[0]
        self.has_residual = residual is not None
        self.y = residual_add(x, residual, activation="relu") if self.has_residual else np.maximum(x, 0)
        return self.y

    def backward(self, dy: np.ndarray) -> Any:
        """Fill ``grads``; return dx, and dresidual if there was a residual."""
        dx = add_backward(dy, y=self.y, activation="relu")
        self.grads[0][...] = dx.sum(axis=(0, 1, 2))
        return (dx, dx) if self.has_residual else dx


class Network:
    """A convolution, two residual blocks of two each, the mean of each quarter; dropout, and a dense layer."""

    def __init__(self, recipe: Recipe, seed: int):
        self.recipe, self.seed, self.step = recipe, seed, 0
        norm = (
            (lambda: BatchNorm(CHANNELS, axis=-1, activation="relu")) if recipe.batch_norm else lambda: Bias(CHANNELS)
        )
        self.convolutions = [Convolution(1 if i == 0 else CHANNELS, CHANNELS) for i in range(5)]
        self.norms = [norm() for _ in self.convolutions]
        self.dense = Dense(4 * CHANNELS, 10, np.random.default_rng(0))
        layers = [*self.convolutions, *self.norms, self.dense]
        self.params = [param for layer in layers for param in layer.params]
        self.grads = [grad for layer in layers for grad in layer.grads]
        for position, param in enumerate(param for param in self.params if param.ndim > 1):
            if recipe.he_init:
                init.he_normal_(param, layout="keras", seed=seed, offset=position)
            else:
                init.normal_(param, std=0.01, seed=seed, offset=position)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        """Return the probability of each digit."""
        kept = None
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            norm.training = training
            if i % 2 == 1:  # a block begins, whose second half adds what came in
                kept = x
            residual = kept if i and i % 2 == 0 and self.recipe.residual else None
            x = norm.forward(convolution.forward(x), residual)
        x = x.reshape(-1, 2, 4, 2, 4, CHANNELS).mean(axis=(2, 4)).reshape(len(x), -1)
        self.p = DROPOUT if training and self.recipe.dropout else 0.0
        x = self.dense.forward(dropout_forward(x, p=self.p, seed=self.seed, offset=self.step))
        x = np.exp(x - x.max(axis=1, keepdims=True))
        return x / x.sum(axis=1, keepdims=True)

    def backward(self, probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Fill ``grads`` for the mean cross-entropy of what went forward last."""
        delta = probabilities.copy()
        delta[np.arange(len(labels)), labels] -= 1
        delta = self.dense.backward(delta / np.float32(len(labels)))
        delta = dropout_backward(delta, p=self.p, seed=self.seed, offset=self.step)
        self.step += 1
        delta = delta.reshape(-1, 2, 1, 2, 1, CHANNELS) / 16
        delta = np.broadcast_to(delta, (len(labels), 2, 4, 2, 4, CHANNELS)).reshape(-1, 8, 8, CHANNELS)
        shortcut = None
        for i in reversed(range(5)):
            delta = self.norms[i].backward(delta)
            if isinstance(delta, tuple):
                delta, shortcut = delta
                shortcut = shortcut.copy()  # the norm's own array, which its next backward pass fills
            delta = self.convolutions[i].backward(delta)
            if i % 2 == 1 and shortcut is not None:
                delta = residual_add(delta, shortcut)
                shortcut = None


# ---- Training


@dataclass
class Run:
    """What a training left behind, epoch by epoch."""

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    test_accuracy: float = 0.0


def score(network: Network, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return the mean cross-entropy, and the share of hits."""
    probabilities = network.forward(x, training=False)
    losses = -np.log(probabilities[np.arange(len(y)), y] + 1e-12)
    return float(losses.mean()), float((probabilities.argmax(axis=1) == y).mean())


def augmented(x: np.ndarray, seed: int, first: int) -> np.ndarray:
    """Return images that are shifted at random, with noise; ``first`` counts samples, over all epochs."""
    x = augment.shift(x, size=SHIFT, axis=-1, seed=seed, offset=first)
    augment.noise_(x, std=NOISE, seed=seed, offset=first)
    return x


def train(recipe: Recipe, effort: Effort, seed: int) -> Iterator[Run]:
    """Train, and yield what is known after each epoch: the same object, which grows."""
    digits, tested = load(effort, recipe.scaling)
    network, run = Network(recipe, seed), Run()
    batches = minibatches(
        digits.train_x, digits.train_y, batch_size=BATCH // PARTS, seed=seed, shuffle=recipe.shuffling
    )
    steps = -(-len(batches) // PARTS) * effort.epochs
    rate = LR if recipe.adam else SGD_LR
    lr = warmup(cosine(rate, steps - steps // 10), steps // 10) if recipe.schedule else rate
    optimizer = (AdamW if recipe.adam else SGD)(network.params, lr=lr, weight_decay=1e-2 if recipe.adam else 0.0)
    sums = [np.empty_like(grad) for grad in network.grads]
    for _ in range(effort.epochs):
        for number, (x, y) in enumerate(batches):
            if recipe.augmentation:
                first = batches.epoch * batches.samples + number * batches.batch_size
                x = augmented(x, seed, first)
            network.backward(network.forward(x, training=True), y)
            parts = min(PARTS, len(batches) - number // PARTS * PARTS)
            for acc, grad in zip(sums, network.grads, strict=True):
                accumulate(acc, grad, alpha=1 / parts, beta=float(number % PARTS > 0))
            if number % PARTS == parts - 1:
                optimizer.step(sums)
        for curves, data in (
            ((run.loss, run.accuracy), (digits.train_x, digits.train_y)),
            ((run.validation_loss, run.validation_accuracy), (digits.test_x, digits.test_y)),
        ):
            for curve, value in zip(curves, score(network, *data), strict=True):
                curve.append(value)
        run.test_accuracy = score(network, tested.test_x, tested.test_y)[1]
        yield run


def train_all(recipes: dict[str, Recipe], effort: Effort, seeds: range, console: Console) -> dict[str, list[Run]]:
    """Train each recipe from each start, under a progress bar."""
    runs: dict[str, list[Run]] = {}
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(recipes) * len(seeds) * effort.epochs)
        for name, recipe in recipes.items():
            for seed in seeds:
                for run in train(recipe, effort, seed):
                    at = f"{name}, start {seed}: validation accuracy {run.validation_accuracy[-1]:.1%}"
                    progress.update(task, advance=1, description=at)
                runs.setdefault(name, []).append(run)
    return runs


# ---- What is shown


def draw(run: Run, path: Path) -> None:
    """Save the learning curves."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.7), layout="constrained")
    epochs = np.arange(1, len(run.loss) + 1)
    for axes, curves in ((left, (run.loss, run.validation_loss)), (right, (run.accuracy, run.validation_accuracy))):
        for label, values, color in zip(("training", "validation"), curves, ("#0b5fa5", "#c8501e"), strict=True):
            axes.plot(epochs, values, color=color, marker="o", markersize=3.5, label=label)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    left.set(title="Loss (cross-entropy)", yscale="log")
    right.set(title="Accuracy", ylim=(min(0.85, *run.validation_accuracy), 1.005))
    figure.suptitle("A residual network on handwritten digits")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def table_of(runs: dict[str, list[Run]]) -> str:
    """Return a table in Markdown: what was left out, and what became of it."""
    headings = ("without", f"epochs to {REACHED:.0%}", "validation loss", "validation", "test")
    rows = ["| " + " | ".join(headings) + " |", "| --- |" + " ---: |" * 4]
    for name, some in runs.items():
        loss, validation, test = (
            float(np.mean(values))
            for values in (
                [run.validation_loss[-1] for run in some],
                [run.validation_accuracy[-1] for run in some],
                [run.test_accuracy for run in some],
            )
        )
        needed = [next((n for n, a in enumerate(run.validation_accuracy, 1) if a >= REACHED), None) for run in some]
        reached = [n for n in needed if n is not None]
        epochs = f"{np.mean(reached):.1f}" if len(reached) == len(needed) else f"{len(reached)} of {len(needed)} did"
        rows.append(f"| {name} | {epochs} | {loss:.3f} | {validation:.1%} | {test:.1%} |")
    return "\n".join(rows)


def update(page: Path, table: str) -> None:
    """Write the table into a page, between its markers."""
    text, count = re.subn(
        r"(<!-- ablation:begin -->\n).*?(<!-- ablation:end -->)", rf"\1\n{table}\n\n\2", page.read_text(), flags=re.S
    )
    if count != 1:
        raise SystemExit(f"{page} has {count} places for the table; expected one")
    page.write_text(text)


def main() -> None:
    """Train, print, and draw."""
    parser = argparse.ArgumentParser(description="Train a residual network in NumPy on handwritten digits.")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help="default: results/")
    parser.add_argument("--ablate", action="store_true", help="train without each technique, too: some minutes")
    parser.add_argument("--quick", action="store_true", help="few images and epochs: seconds")
    parser.add_argument("--update", type=Path, metavar="PAGE", help="write the table of --ablate into a page")
    options = parser.parse_args()
    if options.update and not options.ablate:
        parser.error("--update needs --ablate")
    effort, console = (QUICK if options.quick else FULL), Console()
    recipes = {"(with all)": Recipe()}
    if options.ablate:
        recipes |= {label: Recipe(**{name: False}) for name, label in WITHOUT.items()}
        recipes[AUGMENTED] = Recipe(augmentation=True)
    runs = train_all(recipes, effort, SEEDS if options.ablate and not options.quick else range(1), console)
    table = table_of(runs)
    print(table)
    if options.update:
        update(options.update, table)
    options.out.mkdir(parents=True, exist_ok=True)
    picture = options.out / "train_residual.png"
    draw(runs["(with all)"][0], picture)
    print(f"wrote {picture}")


if __name__ == "__main__":
    main()
