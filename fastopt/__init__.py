"""In-place optimizer updates and norms at memory speed, for NumPy arrays and objects that share memory with them."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastopt import device as _device  # noqa: F401  (tells the engine how devices are reached)
from fastopt.common.version import VERSION
from fastopt.data.minibatches import minibatches
from fastopt.engine.threads.threads import get_num_threads, set_num_threads
from fastopt.errors import BackendUnavailable
from fastopt.layers.dropout import dropout_backward, dropout_forward
from fastopt.layers.residual import residual_add, residual_add_backward
from fastopt.norm.batch import (
    batch_norm_backward,
    batch_norm_backward_inference,
    batch_norm_forward,
    batch_norm_inference,
)
from fastopt.norm.group import group_norm_backward, group_norm_forward
from fastopt.norm.instance import instance_norm_backward, instance_norm_forward
from fastopt.norm.layer import layer_norm_backward, layer_norm_forward
from fastopt.updates import accumulation as _accumulation
from fastopt.updates import adam as _adam
from fastopt.updates import adaptive as _adaptive
from fastopt.updates import descent as _descent
from fastopt.updates import signs as _signs
from fastopt.updates.accumulation import *  # noqa: F403
from fastopt.updates.adam import *  # noqa: F403
from fastopt.updates.adaptive import *  # noqa: F403
from fastopt.updates.descent import *  # noqa: F403
from fastopt.updates.signs import *  # noqa: F403

if TYPE_CHECKING:
    from fastopt import init as init
    from fastopt import norm as norm
    from fastopt import numba as numba
    from fastopt import optim as optim
    from fastopt import scaling as scaling
    from fastopt import schedules as schedules
    from fastopt import sklearn as sklearn
    from fastopt import torch as torch
    from fastopt import updates as updates
    from fastopt.capi import get_include, kernel
    from fastopt.config import show_config
    from fastopt.extending import rule

__version__ = VERSION

__all__ = [
    "BackendUnavailable",
    "batch_norm_backward",
    "batch_norm_backward_inference",
    "batch_norm_forward",
    "batch_norm_inference",
    "dropout_backward",
    "dropout_forward",
    "get_include",
    "get_num_threads",
    "group_norm_backward",
    "group_norm_forward",
    "instance_norm_backward",
    "instance_norm_forward",
    "kernel",
    "layer_norm_backward",
    "layer_norm_forward",
    "minibatches",
    "residual_add",
    "residual_add_backward",
    "rule",
    "set_num_threads",
    "show_config",
]
__all__ += _accumulation.__all__
__all__ += _adam.__all__
__all__ += _adaptive.__all__
__all__ += _descent.__all__
__all__ += _signs.__all__


#: Names that are imported on first use, and their modules.
ON_DEMAND = {
    "_c_api": "fastopt.engine.capi.c_api",
    "get_include": "fastopt.capi",
    "kernel": "fastopt.capi",
    "rule": "fastopt.extending",
    "show_config": "fastopt.config",
}


if not TYPE_CHECKING:  # otherwise type checkers would accept any attribute

    def __getattr__(name: str) -> Any:
        """Import a name on first use."""
        if name in ON_DEMAND:
            return getattr(import_module(ON_DEMAND[name]), name)
        namespace = import_module("fastopt.namespace")
        if name in namespace.MODULES:
            return namespace.import_public(name)
        raise AttributeError(namespace.missing(name), name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    """Return the public names: functions, and modules."""
    from fastopt.namespace import HEAVY, MODULES

    return __all__ + [name for name in MODULES if name not in HEAVY or name in globals()]
