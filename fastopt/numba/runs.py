"""Which `Update` a public function runs: found by calling it with stand-ins for what is known at run time only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from fastopt.engine.update.update import Update


class Run(NamedTuple):
    """One way that a public function may go: what it would call `fastopt.engine.update.run.run` with, as text."""

    #: What has to be true for it; "" if there is no other way.
    condition: str
    #: The function of `fastopt.coefficients.update` that the condition asks; "" if it asks none.
    asked: str
    update: Update
    arrays: tuple[str, ...]
    hyperparameters: tuple[str, ...]


def runs_of(public: Callable[..., None], arrays: Collection[str], hyperparameters: Mapping[str, str]) -> list[Run]:
    """Return the ways that a public function may go with these arrays, the other ones being None.

    There are two where it asks whether a hyperparameter, or what a function of `fastopt.coefficients.update` says, is
    true, and the text does not tell: the first is that of the answer yes.
    """
    yes, no = (_Way(answer).of(public, arrays, hyperparameters) for answer in (True, False))
    return [yes, no] if yes.condition else [no]


class _Value:
    """A value that only the text of is known."""

    def __init__(self, text: str, way: _Way):
        self.text, self.way = text, way

    def __bool__(self) -> bool:
        if self.text in ("True", "False"):
            return self.text == "True"
        self.way.condition = self.text
        return self.way.answer


class _Way:
    """The way of one answer. It stands in for `fastopt.coefficients.update`, whose functions give text."""

    def __init__(self, answer: bool):
        self.answer = answer
        self.condition = self.asked = ""

    def __getattr__(self, name: str) -> Callable[..., _Value]:
        self.asked = name
        return lambda *values: _Value(f"{name}({', '.join(value.text for value in values)})", self)

    def of(self, public: Any, arrays: Collection[str], hyperparameters: Mapping[str, str]) -> Run:
        made: list[Run] = []

        def run(update: Update, given: tuple[_Value, ...], values: tuple[_Value, ...], *_: Any) -> None:
            texts = [tuple(value.text for value in each) for each in (given, values)]
            made.append(Run(self.condition, self.asked, update, *texts))

        # A flag's type is known when a call is compiled.
        names = {**public.__globals__, "coefficients": self, "run": run, "type": lambda value: bool}
        function = FunctionType(public.__code__, names)
        code = public.__code__
        names, options = code.co_varnames[: code.co_argcount], code.co_varnames[code.co_argcount :]
        values: dict[str, _Value | None] = dict.fromkeys(options[: code.co_kwonlyargcount])
        values |= {name: _Value(text, self) for name, text in hyperparameters.items()}
        function(*(_Value(name, self) if name in arrays else None for name in names), **values)
        return made[0]
