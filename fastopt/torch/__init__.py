"""PyTorch optimizers with fastopt's kernels: subclasses of those in ``torch.optim``.

>>> import torch
>>> from fastopt.torch import AdamW
>>> model = torch.nn.Linear(3, 2)
>>> optimizer = AdamW(model.parameters(), lr=0.01)
>>> model(torch.ones(5, 3)).square().sum().backward()
>>> optimizer.step()

What all optimizers share
=========================
**The same classes.** Each class is a subclass of the ``torch.optim`` class of the same name, with the same arguments,
order, defaults, param groups and state names. Schedulers, ``GradScaler``, hooks and state dicts therefore work
unchanged, and a state dict of either class can be loaded into the other. (PyTorch has no Lion.)

**One call.** One call of the engine updates all parameters in host memory, on the number of threads set by
`fastopt.set_num_threads`. Parameters on CUDA devices take one launch per group, dtype and number of steps made. A group
may have both. Nothing is copied. ``foreach`` and ``fused`` select PyTorch's implementations and have no effect here,
except that with ``fused=True`` the scale of a GradScaler is part of the update, as in PyTorch.

**Arithmetic** is in float32 or wider, and each value is rounded once, when it is stored. As in PyTorch, state has the
parameter's dtype and is created at the parameter's first gradient.

**Changed tensors are detected**: a step uses the current storage, shape, layout and dtype of parameters and state, even
after ``param.data = ...``, ``model.to(...)`` or an assignment to the state. The tensor ``step`` of a parameter's state
is read at each step and written in place, so other processes may count in it.

Raises
------
ValueError
    A number is out of range; ``differentiable`` or ``capturable`` is True, also in a state dict; arrays overlap; shapes
    differ; a ``step`` of the state is not a whole number.
TypeError
    A gradient is sparse, a parameter is complex, or a dtype is not float16, bfloat16, float32 or float64. The message
    names the parameter; nothing has been written.
RuntimeError
    A CUDA graph is being captured, which would record this step's step sizes, computed on the host.
BackendUnavailable
    At import: PyTorch is missing. At a step: a parameter is on a CUDA device and numba-cuda is missing.

Differences from torch.optim
----------------------------
Complex parameters and sparse gradients are refused. So are two parameters that share memory, which PyTorch updates
twice, and invalid hyperparameters (such as a momentum above 1). State that a group needs only later (for example, after
amsgrad is turned on) starts from zeros. ``add_param_group`` and ``load_state_dict`` work as in PyTorch.
"""

from fastopt.errors import BackendUnavailable

try:
    import torch  # noqa: F401
except ImportError as error:
    raise BackendUnavailable(f"fastopt.torch needs PyTorch ({error}); `pip install torch` installs it") from error

from fastopt.torch import adam, adaptive, descent, signs
from fastopt.torch.adam import *  # noqa: F403
from fastopt.torch.adaptive import *  # noqa: F403
from fastopt.torch.descent import *  # noqa: F403
from fastopt.torch.signs import *  # noqa: F403

__all__: list[str] = []
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += descent.__all__
__all__ += signs.__all__

__dir__ = __all__.copy
