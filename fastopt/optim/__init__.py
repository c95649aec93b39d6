"""Optimizers with state, which update a whole model in one call.

>>> import numpy as np
>>> from fastopt.optim import AdamW
>>> params = {"weight": np.ones((3, 2), np.float32), "bias": np.zeros(2, np.float32)}
>>> optimizer = AdamW(params, lr=0.01)
>>> grads = {name: np.full_like(param, 0.5) for name, param in params.items()}
>>> optimizer.step(grads, max_norm=1.0)
StepResult(step=1, grad_norm=1.4142135623730951, skipped=False, lr=(0.01,))

What all optimizers share
=========================
**params** are the arrays that steps update: a list, a dict by name, or a list of groups ``{"params": ..., "lr": ...}``
with hyperparameters of their own. `fastopt.updates` describes the supported arrays; here, all are in host memory. They
remain the caller's arrays: a step writes into them. A dict may be nested, as in Flax; the name of a parameter is then
its path: ``{"dense": {"bias": b}}`` has the parameter "dense/bias".

**Hyperparameters** are attributes of each of ``optimizer.groups`` and may be changed between steps, except that those
which determine the state (``amsgrad``, ``centered``, RMSprop's ``momentum``) cannot add or remove state arrays. ``lr``
may be a function of the step, which is 1 at the first; it is also called once at construction.

**state** consists of arrays in the memory layout of their parameter, allocated at construction:
``optimizer.state[0]["m"]`` or ``optimizer.state["weight"]["m"]``. Their values may be changed. ``optimizer.steps``
counts each parameter's updates, in int64. Of an optimizer's attributes, only ``num_threads`` and ``ema_decay`` can be
assigned; for the others, the error says what to write instead.

**step(grads)** updates all parameters in one call of the engine. grads has the structure of params: a list with one
gradient per parameter in order, or a dict, nested or not. If a gradient is None, its parameter, state and count do not
change. Gradients are only read, and may be different arrays at each step.

=====================  ==============================================================================================
``grad_scale``         multiplies all gradients: 1 / loss scale, 1 / number of accumulated passes, -1 to maximise
``max_norm``           if the norm of all gradients (times grad_scale) is larger, they are scaled down to this norm.
                       PyTorch's ``clip_grad_norm_`` divides by the norm + 1e-6 instead. ``math.inf`` computes the norm
                       without clipping
``max_tensor_norm``    the same for each gradient separately
``skip_nonfinite``     if a gradient has an infinity or NaN, nothing changes, and the result says so. Without it, NaN
                       gradients affect their own elements only; if max_norm or max_tensor_norm is given, they raise
=====================  ==============================================================================================

It returns a `StepResult`: the number of steps made, the norm, whether the step was skipped, and the learning rate of
each group.

The norm is summed in float64 in an order that depends only on shapes: it has the same bits for every memory layout and
number of threads. Gradients are never written: the update multiplies them by the scale.

**Options** of every optimizer:

========================  ===========================================================================================
``state_dtype``           dtype of the state, such as "float16" or ml_dtypes.bfloat16; by default float32 (float64 for
                          float64 parameters)
``master_weights``        each 16-bit parameter has a float32 copy, ``state[...]["master"]``, which is updated; the
                          parameter is the rounded copy, written in the same pass
``stochastic_rounding``   a seed: bfloat16 parameters are rounded up or down at random, so that rounding is unbiased;
                          the same seed gives the same bits on any number of threads
``ema_decay``             decay of a moving average of the parameters, ``state[...]["ema"]``, in the same pass
``backend``               compiler of the kernels: "cython" (the default) or "numba"
``num_threads``           as in `fastopt.updates`
========================  ===========================================================================================

**Checkpoints**: ``save(path)`` and ``load(path)``, or ``state_dict()`` and ``load_state_dict(state)``, transfer
everything that determines the next steps, except the parameters: see docs/checkpoints.md.

Raises
------
ValueError
    Two parameters share memory; grads has another length, or a gradient another shape; a number is out of its range (a
    negative hyperparameter, a NaN); gradients are not finite and a norm is needed (layer-wise rules always need it), or
    are so large that clipping would make them 0; or a reason given in `fastopt.updates`.
TypeError
    params or grads is one array, or does not hold arrays; a parameter or an array of the state has become read-only; a
    group has a hyperparameter that the optimizer does not have.
RuntimeError
    Another call of the same optimizer is running, in another thread or as the caller of this one (from a function
    ``lr``): only one of ``step``, ``state_dict``, ``load_state_dict``, ``save`` and ``load`` can run at a time.

Everything is checked before anything is written. If Ctrl-C interrupts a step or a load, it has been made either
completely, counts included, or not at all.
"""

from fastopt.optim import adam, adaptive, descent, layerwise, signs
from fastopt.optim.adam import *  # noqa: F403
from fastopt.optim.adaptive import *  # noqa: F403
from fastopt.optim.descent import *  # noqa: F403
from fastopt.optim.groups import Group
from fastopt.optim.layerwise import *  # noqa: F403
from fastopt.optim.optimizer import Optimizer, StepResult
from fastopt.optim.signs import *  # noqa: F403

__all__ = ["Group", "Optimizer", "StepResult"]
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += descent.__all__
__all__ += layerwise.__all__
__all__ += signs.__all__

__dir__ = __all__.copy
