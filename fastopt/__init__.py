"""In-place optimizer updates at memory speed, on NumPy arrays and whatever shares memory with them."""

from fastopt.engine.threads import get_num_threads, set_num_threads
from fastopt.errors import BackendUnavailable
from fastopt.host_scalars import nadam_mu
from fastopt.updates.adam import adabelief, adam, adamax, adamw, adan, ademamix, nadam, radam, yogi
from fastopt.updates.descent import asgd, momentum, sgd
from fastopt.updates.signs import lion, rprop, signum
from fastopt.updates.squares import adadelta, adagrad, rmsprop

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailable",
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "ademamix",
    "asgd",
    "get_num_threads",
    "lion",
    "momentum",
    "nadam",
    "nadam_mu",
    "radam",
    "rmsprop",
    "rprop",
    "set_num_threads",
    "sgd",
    "signum",
    "yogi",
]
