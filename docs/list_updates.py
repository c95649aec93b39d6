"""Writes the table of all updates into choosing-an-optimizer.md, from the registry: `python docs/list_updates.py`."""

from __future__ import annotations

import inspect
import re
import sys
from itertools import groupby
from pathlib import Path

from fastopt import optim
from fastopt.specs.updates import UPDATES

PAGE = Path(__file__).parent / "choosing-an-optimizer.md"
BEGIN, END = "<!-- updates:begin -->\n", "<!-- updates:end -->\n"
NONE = "—"
COLUMNS = (
    "function", "object", "state", "bytes", "default `lr`", "weight decay", "paper", "PyTorch", "optax", "Keras",
)  # fmt: skip

#: By class of `fastopt.optim`, the names in torch.optim, optax and keras.optimizers. Other classes get empty cells.
ELSEWHERE = {
    "SGD": ("SGD", "sgd", "SGD"),
    "Momentum": ("SGD", "sgd", "SGD"),
    "ASGD": ("ASGD", NONE, NONE),
    "LARS": (NONE, "lars", NONE),
    "Adagrad": ("Adagrad", "adagrad", "Adagrad"),
    "RMSprop": ("RMSprop", "rmsprop", "RMSprop"),
    "Adadelta": ("Adadelta", "adadelta", "Adadelta"),
    "Adam": ("Adam", "adam", "Adam"),
    "AdamW": ("AdamW", "adamw", "AdamW"),
    "Adamax": ("Adamax", "adamax", "Adamax"),
    "NAdam": ("NAdam", "nadam", "Nadam"),
    "RAdam": ("RAdam", "radam", NONE),
    "AdaBelief": (NONE, "adabelief", NONE),
    "Yogi": (NONE, "yogi", NONE),
    "AdEMAMix": (NONE, "contrib.ademamix", NONE),
    "Adan": (NONE, "adan", NONE),
    "LAMB": (NONE, "lamb", "Lamb"),
    "Signum": (NONE, "signum", NONE),
    "Lion": (NONE, "lion", "Lion"),
    "Rprop": ("Rprop", "rprop", NONE),
}


def optimizers() -> list[type[optim.Optimizer]]:
    """Return the classes of `fastopt.optim`, those of one family together, the simplest families first."""
    found = [
        each
        for each in vars(optim).values()
        if isinstance(each, type) and issubclass(each, optim.Optimizer) and each is not optim.Optimizer
    ]
    families = ["descent", "adaptive", "adam", "signs"]
    order = list(ELSEWHERE)

    def position(optimizer: type[optim.Optimizer]) -> tuple[int, int]:
        family, name = family_of(optimizer), optimizer.__name__
        return (
            families.index(family) if family in families else len(families),
            order.index(name) if name in order else len(order),
        )

    return sorted(found, key=position)


def family_of(optimizer: type[optim.Optimizer]) -> str:
    """Return the module of `fastopt.updates` that an optimizer's update is in."""
    return optimizer.spec.function.__module__.rpartition(".")[2]


def is_of_one_update(optimizer: type[optim.Optimizer]) -> bool:
    """Return whether an optimizer is its update for a whole model; LARS and LAMB do more than their updates."""
    return optimizer.__name__.lower() == optimizer.spec.name


def state_of(optimizer: type[optim.Optimizer]) -> tuple[str, str]:
    """Return the names of an optimizer's state arrays, and how many bytes they are in float32 for each parameter."""
    spec = optimizer.spec
    every = [f"`{name}`" for name in spec.state if name not in spec.options]
    optional = [f"`{name}`" for name in spec.options if is_of_one_update(optimizer)]
    sizes = sorted({4 * len(every), 4 * len(every + optional)})
    names = ", ".join(every) + (f" (optional: {', '.join(optional)})" if optional else "")
    return names or NONE, " to ".join(map(str, sizes))


def decay_of(optimizer: type[optim.Optimizer]) -> str:
    """Return whether weight decay is coupled or decoupled."""
    if isinstance(optimizer.spec.decoupled, str):
        return f"coupled; decoupled with `{optimizer.spec.decoupled}`"
    return "decoupled" if optimizer.spec.decoupled else "coupled"


def paper_of(documented: object) -> str:
    """Return the first reference of a docstring, without initials."""
    doc = inspect.getdoc(documented) or ""
    references = " ".join(re.split(r"^References\n-+\n", doc, flags=re.M)[1].split())
    match = re.match(r'(.+?), "(.+?)", (\d{4})', references)
    if not match:
        raise ValueError(f"{documented} has the reference {references[:60]!r}; expected authors, a title and a year")
    authors = re.sub(r"\b(?:[A-Z]\. )+", "", match[1])
    return f"{authors} {match[3]}, {match[2]}"


def row(optimizer: type[optim.Optimizer]) -> str:
    """Return the row of one optimizer."""
    name, spec = optimizer.__name__, optimizer.spec
    is_own = is_of_one_update(optimizer)
    lr = inspect.signature(optimizer).parameters["lr"].default
    cells = [
        f"`{spec.name}`" if is_own else NONE,
        f"`{name}`",
        *state_of(optimizer),
        "required" if lr is inspect.Parameter.empty else f"{lr:g}",
        decay_of(optimizer),
        paper_of(spec.function if is_own else optimizer),
        *(each if each in ("", NONE) else f"`{each}`" for each in ELSEWHERE.get(name, ("", "", ""))),
    ]
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """Return the tables, one for each family."""
    listed = optimizers()
    without = {name for name, spec in UPDATES.items() if "lr" in spec.hyperparameters} - {
        each.spec.name for each in listed
    }
    if without:
        raise ValueError(f"fastopt.optim lacks the optimizers of {', '.join(sorted(without))}")
    text = ""
    for family, members in groupby(listed, key=family_of):
        module = sys.modules[f"fastopt.updates.{family}"]
        text += f"\n**{(inspect.getdoc(module) or '').split('.')[0]}**\n\n"
        text += (
            "| function | object | state | bytes | default `lr` | weight decay | paper | PyTorch | optax | Keras |\n"
        )
        text += "|---|---|---|---|---|---|---|---|---|---|\n"
        text += "".join(map(row, members))
    return text + "\n"


def page() -> str:
    """Return the page with the table as it should be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page())
