"""The base class of all optimizers for PyTorch: the step."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import torch

from fastopt.common.arguments import hyperparameters_of
from fastopt.common.display import Display
from fastopt.engine.update.update import Update
from fastopt.specs.updates import UpdateSpec
from fastopt.torch import tensors
from fastopt.torch.cached_plan import CachedPlan, Disagreement

Group = dict[str, Any]

#: PyTorch's names of states, where they differ from ours, and the hyperparameters in its tuple "betas".
NAMES = {
    "m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq", "u": "exp_inf", "velocity": "momentum_buffer",
    "square_sum": "sum", "delta_avg": "acc_delta",
}  # fmt: skip
BETAS = ("beta1", "beta2")


class Optimizer(torch.optim.Optimizer, Display):
    """PyTorch's optimizer with another step: see `fastopt.torch`."""

    #: The update.
    spec: ClassVar[UpdateSpec]
    #: Whether the state has the number of steps made.
    counted: ClassVar[bool] = True
    #: The name of a number in the state that each step multiplies, if there is one.
    product: ClassVar[str | None] = None

    _cached_plan: CachedPlan | None = None
    _internal = ("arrays", "checked", "counted", "factor", "product", "spec", "spec_of", "start", "update")

    # ---- Overridden by subclasses

    def spec_of(self, group: Group) -> UpdateSpec:
        """Return a group's update."""
        return self.spec

    def factor(self, group: Group, step: int) -> float:
        """Return the factor by which a step multiplies the state's product."""
        return 1.0

    def start(self, name: str) -> float:
        """Return the initial value of a state array."""
        return 0.0

    # ---- Derived from the declaration

    def arrays(self, group: Group) -> tuple[str, ...]:
        """Return the names in the state of a group's arrays, in the order of the rule."""
        return tuple([name for name, option in _states(self.spec_of(group)) if not option or group[option]])

    def update(
        self, group: Group, step: int, lr: Any, grad_scale: float, product: float
    ) -> tuple[Update, tuple[Any, ...]]:
        """Return a group's update for one step, and its hyperparameters."""
        spec = self.spec_of(group)
        of_step = {"step": step, "lr": lr, "grad_scale": grad_scale, "mu_product": product}
        values = tuple([
            of_step[name] if name in of_step else default if theirs not in group
            else group[theirs] if i is None else group[theirs][i]
            for name, theirs, i, default in _hyperparameters(spec)
        ])  # fmt: skip
        return spec.only or spec.update_for({**group, **dict(zip(spec.hyperparameters, values, strict=True))}), values

    def checked(self, arguments: dict[str, Any]) -> Group:
        """Return the defaults in a constructor's ``locals()``, where PyTorch has no constructor that checks them."""
        defaults = hyperparameters_of(arguments)
        for theirs, values in defaults.items():
            count = sum(name == theirs for _, name, *_ in _hyperparameters(self.spec))
            if isinstance(values, tuple) and len(values) != count:
                raise ValueError(f"{theirs} is {values}; expected {count} numbers")
        update, values = self.update(defaults, 1, tensors.number(defaults["lr"]), 1.0, 1.0)
        update.prepare(values)
        return defaults

    # ---- The step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have gradients, in place; call ``closure`` first, if given; return its loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._update()
        return loss

    def _update(self) -> None:
        """Update all parameters that have gradients, unless a GradScaler has found a nonfinite one."""
        for group in self.param_groups:
            refuse(group)
        found_inf, loss_scale = getattr(self, "found_inf", None), getattr(self, "grad_scale", None)
        if found_inf is not None and found_inf.item():
            return  # PyTorch's fused kernels skip such steps, too
        grad_scale = 1.0 if loss_scale is None else 1.0 / loss_scale.item()
        params = [param for group in self.param_groups for param in group["params"]]
        grads = [param.grad for param in params]
        cached = self._cached_plan
        if cached is not None and cached.is_current(self, params, grads):
            try:
                cached.step(self, grads, grad_scale)
                return
            except (RuntimeError, TypeError, ValueError, Disagreement):
                if cached.begun:  # otherwise a shape may have changed, which only the engine checks
                    raise
        cached = CachedPlan(self, params, grads, cached)
        cached.step(self, grads, grad_scale)
        cached.keep(self)
        self._cached_plan = cached

    def _patch_step_function(self) -> None:
        """Exclude the update from torch.compile, which does not know the engine and would break the graph 8 times.

        PyTorch calls this for every new optimizer, and then imports its compiler anyway, which takes a second.
        """
        super()._patch_step_function()
        if hasattr(torch, "compiler") and not hasattr(Optimizer._update, "_torchdynamo_disable"):
            setattr(Optimizer, "_update", torch.compiler.disable(Optimizer._update))  # noqa: B010 (mypy: a method)

    # ---- Outside the step

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, as in PyTorch."""
        if isinstance(param_group, dict):  # PyTorch refuses any other type
            refuse(self.defaults | param_group)
        super().add_param_group(param_group)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the state of a copy or of `load_state_dict`."""
        for group in state.get("param_groups", ()):
            refuse(group)
        self._cached_plan = None
        super().__setstate__(state)
        for values in self.state.values():
            for name in ("step", self.product) if isinstance(values, dict) else ():
                number = values.get(name)
                # PyTorch's fused kernels store it on the device.
                if isinstance(number, torch.Tensor) and tensors.is_on_device(number):
                    values[name] = number.cpu()


@cache
def _states(spec: UpdateSpec) -> tuple[tuple[str, str], ...]:
    """Return, by PyTorch's names, each state array and the hyperparameter that requires it, or ""."""
    return tuple((name_of(spec, name)[0], spec.options.get(name, "")) for name in spec.state)


@cache
def _hyperparameters(spec: UpdateSpec) -> tuple[tuple[str, str, int | None, Any], ...]:
    """Return each hyperparameter's name, PyTorch's name, position in a tuple, and value where a group lacks it."""
    return tuple((name, *name_of(spec, name), spec.defaults[name]) for name in spec.hyperparameters)


def name_of(spec: UpdateSpec, name: str) -> tuple[str, int | None]:
    """Return PyTorch's name of a hyperparameter or state, and its position in a tuple."""
    if name in BETAS:
        return "betas", BETAS.index(name)
    return {**NAMES, **spec.torch_names}.get(name, name), None


#: The reasons why arguments of PyTorch cannot be True.
REASONS = {
    "differentiable": "autograd does not record updates",
    "capturable": "step sizes are computed on the host, and a CUDA graph would record those of one step",
}


def refuse(group: Group) -> None:
    """Raise if a group has an option that the step does not support."""
    for name, reason in REASONS.items():
        if group.get(name):
            raise ValueError(f"{name} is True; expected False: {reason}")
