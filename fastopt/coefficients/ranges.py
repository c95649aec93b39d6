"""The valid range of each hyperparameter: one row per name."""

from __future__ import annotations

from math import inf, nextafter
from sys import float_info

#: Lower and upper bound, both included, and the text of the range. No range has NaN; only `LIMIT` has infinity.
Range = tuple[float, float, str]

ANY: Range = (-float_info.max, float_info.max, "a finite number")
NOT_NEGATIVE: Range = (0.0, float_info.max, "a finite number, 0 or more")
ABOVE_ZERO: Range = (float_info.min, float_info.max, "a finite number above 0")
LIMIT: Range = (float_info.min, inf, "a number above 0, or infinity, which computes the norm without clipping")
FRACTION: Range = (0.0, 1.0, "a number from 0 to 1")
FRACTION_BELOW_ONE: Range = (0.0, nextafter(1.0, 0.0), "a number from 0 to below 1")

#: Range of True and False.
FLAG: Range = (0.0, 1.0, "True or False")

#: For other types: the function of coefficients checks the value.
OTHER: Range = (0.0, 0.0, "")

RANGES: dict[str, Range] = {
    "alpha": NOT_NEGATIVE,
    "amsgrad": FLAG,
    "beta": FRACTION_BELOW_ONE,
    "beta1": FRACTION_BELOW_ONE,
    "beta2": FRACTION_BELOW_ONE,
    "beta3": FRACTION_BELOW_ONE,
    "bias_correction": FLAG,
    "bound": ABOVE_ZERO,
    "centered": FLAG,
    "dampening": ANY,
    "decay": FRACTION,
    "decoupled_weight_decay": FLAG,
    "ema_decay": FRACTION,
    "eps": NOT_NEGATIVE,
    "eps_inside_sqrt": FLAG,
    "eta_minus": (float_info.min, nextafter(1.0, 0.0), "a number between 0 and 1"),
    "eta_plus": (nextafter(1.0, 2.0), float_info.max, "a finite number above 1"),
    "form": OTHER,
    "grad_scale": ANY,
    "high": ANY,
    "lambd": NOT_NEGATIVE,
    "low": ANY,
    "lr": NOT_NEGATIVE,
    "lr_decay": NOT_NEGATIVE,
    "max_norm": LIMIT,
    "max_tensor_norm": LIMIT,
    "mean": ANY,
    "momentum": FRACTION,
    "momentum_decay": NOT_NEGATIVE,
    "mu_product": FRACTION_BELOW_ONE,
    "nesterov": FLAG,
    "p": FRACTION,
    "std": NOT_NEGATIVE,
    "step_max": NOT_NEGATIVE,
    "step_min": NOT_NEGATIVE,
    "t0": NOT_NEGATIVE,
    "trust_coefficient": NOT_NEGATIVE,
    "warmup": OTHER,
    "weight_decay": NOT_NEGATIVE,
}
