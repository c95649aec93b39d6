"""Optimizers with state: a whole model in one call.

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
with hyperparameters of their own. What may be an array, `fastopt.updates` says; they all are in the host's memory. They
stay the caller's arrays: a step writes into them. A dict may be nested, as Flax has it; a parameter is then called by
its path: ``{"dense": {"bias": b}}`` has the parameter "dense/bias".

**Hyperparameters** are plain attributes of each of ``optimizer.groups``, to be changed between steps; but those that
decide which state there is (``amsgrad``, ``centered``, RMSprop's ``momentum``) keep to it. ``lr`` may be a function of
the step, which is 1 at the first; it is also called once when the optimizer is made.

**state** is plain arrays, made at once, in the layout of the parameter they belong to: ``optimizer.state[0]["m"]``, or
``optimizer.state["weight"]["m"]``. Write into them if you will. ``optimizer.steps`` counts each parameter's updates, in
int64. None of these can be replaced: of an optimizer's attributes, only ``num_threads`` and ``ema_decay`` can be
assigned. The error for another one says what to write instead.

**step(grads)** updates everything in one call of the engine. grads are as params: a list with one for each parameter
in order, or a dict, nested or not. A gradient may be None: then that parameter, its state and its count stay as they
are. Gradients are only read, and may be others at each step.

=====================  ==============================================================================================
``grad_scale``         multiplies all gradients: 1 / loss scale, 1 / number of accumulated passes, -1 to maximise
``max_norm``           if the norm of all gradients (times grad_scale) is above it, they are scaled down to it. Exactly:
                       PyTorch's ``clip_grad_norm_`` divides by the norm + 1e-6. ``math.inf`` measures the norm and
                       does not clip
``max_tensor_norm``    the same for each gradient by itself
``skip_nonfinite``     if a gradient has an infinity or NaN, nothing changes, and the result says so. Without it, a NaN
                       reaches the elements that it belongs to; with a limit for norms, it raises
=====================  ==============================================================================================

It returns a `StepResult`: the number of steps made, the norm, whether the step was skipped, and the learning rate of
each group.

The norm is summed up in float64 in an order that depends on shapes alone: it has the same bits for every layout of the
gradients and number of threads. Gradients are never written: scales are folded into the update.

**Options** of every optimizer:

========================  ===========================================================================================
``state_dtype``           of the state, where it is not to be float32 (float64 for float64 parameters): "float16", say,
                          or ml_dtypes.bfloat16
``master_weights``        16-bit parameters get float32 ones beside them, ``state[...]["master"]``, which are updated;
                          the parameters are those, rounded, written in the same pass
``stochastic_rounding``   a seed: bfloat16 parameters are rounded up or down at random, so that the mean of many steps
                          is right; the same seed gives the same bits on any number of threads
``ema_decay``             keep an exponential moving average of the parameters, ``state[...]["ema"]``, in the same pass
``backend``               who compiles the kernels: "cython" (what None means) or "numba"
``num_threads``           as for `fastopt.updates`
========================  ===========================================================================================

**Checkpoints**: ``save(path)`` and ``load(path)``, or ``state_dict()`` and ``load_state_dict(state)``, carry all that
decides the next steps, but for the parameters, to another process: see docs/checkpoints.md.

Raises
------
ValueError
    Two parameters share memory; grads has another length, or a gradient another shape; a number is out of its range (a
    negative hyperparameter, a NaN); gradients are not finite, and a norm is asked for (layer-wise rules ask always), or
    so large that clipping would make nothing of them; as for `fastopt.updates`.
TypeError
    params or grads is one array, or not of arrays; a parameter or an array of the state has become read-only; a group
    has a hyperparameter that the optimizer has not.
RuntimeError
    Another call of the same optimizer is under way, in another thread or around this one (from an ``lr`` that is a
    function): of ``step``, ``state_dict``, ``load_state_dict``, ``save`` and ``load``, one can run at a time.

Nothing is written before everything is checked. After Ctrl-C a step, or a load, has been made as a whole, counts
included, or not at all.
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
