"""Errors for unknown options: they list the known options, and translate the names of other libraries."""

from __future__ import annotations

from collections.abc import Collection

#: Hyperparameter names of PyTorch, Keras, optax and TensorFlow, and the names that they may have here.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "b1": ("beta1",),
    "b2": ("beta2",),
    "b3": ("beta3",),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "betas": ("beta1", "beta2", "beta3"),
    "alpha": ("decay",),
    "decay": ("weight_decay",),
    "decay_rate": ("decay",),
    "ema_momentum": ("ema_decay",),
    "epsilon": ("eps",),
    "etas": ("eta_minus", "eta_plus"),
    "learning_rate": ("lr",),
    "rho": ("decay",),
    "step_sizes": ("step_min", "step_max"),
    "trust_coeff": ("trust_coefficient",),
    "use_ema": ("ema_decay",),
}

#: Options that other libraries take at construction, and this one at each step.
OF_A_STEP = {
    "clipnorm": "max_tensor_norm",
    "clip_norm": "max_norm",
    "global_clipnorm": "max_norm",
    "grad_scale": "grad_scale",
    "loss_scale": "grad_scale",
    "max_grad_norm": "max_norm",
    "max_norm": "max_norm",
    "max_tensor_norm": "max_tensor_norm",
    "maximize": "grad_scale",
    "skip_nonfinite": "skip_nonfinite",
}


def refuse_unknown(optimizer: str, given: Collection[str], known: Collection[str]) -> None:
    """Raise for the first option that an optimizer does not have."""
    for name in given:
        if name in OF_A_STEP:
            raise TypeError(f"{optimizer} takes no {name}; expected {OF_A_STEP[name]} in step(grads, ...)")
        instead = [each for each in SYNONYMS.get(name, ()) if each in known]
        if instead:
            raise TypeError(f"{optimizer} takes {_listed(instead)}, not {name}")
        raise TypeError(f"{optimizer} takes no {name}; expected {', '.join(known)}")


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
