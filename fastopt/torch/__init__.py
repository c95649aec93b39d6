"""PyTorch's optimizers, stepping by fastopt's kernels: subclasses of those in ``torch.optim``.

>>> import torch
>>> from fastopt.torch import AdamW
>>> model = torch.nn.Linear(3, 2)
>>> optimizer = AdamW(model.parameters(), lr=0.01)
>>> model(torch.ones(5, 3)).square().sum().backward()
>>> optimizer.step()

What all of them share
======================
**The same classes.** Arguments, their order and defaults, param groups, state and its names are those of the class of
the same name in ``torch.optim``, which is a base class: schedulers, ``GradScaler``, hooks and state dicts know no
difference. A state dict of either can be loaded into the other. (PyTorch has no Lion.)

**One call.** All parameters in the host's memory are updated by one call of the engine, on as many threads as
`fastopt.set_num_threads` says; those on CUDA devices by one launch for each group, dtype and number of steps made. A
group may have both. Nothing is copied. ``foreach`` and ``fused`` choose between PyTorch's implementations, and so have
no effect; but with ``fused=True`` the scale of a GradScaler goes into the update, as it does there.

**Arithmetic** is float32 or wider, and a value is rounded once, when it is stored. State has the parameter's dtype, as
in PyTorch, and appears at the parameter's first gradient.

**What moves is followed**: a parameter or a state tensor that has another storage, shape, layout or dtype since the
last step (``param.data = ...``, ``model.to(...)``), and state that was put in place of another. The tensor ``step`` of
a parameter's state is read at each step and written in place, whoever made it: other processes may count in it.

Raises
------
ValueError
    A number is out of range; ``differentiable`` or ``capturable`` is True, in a state dict too; arrays overlap; shapes
    differ; a ``step`` of the state is no whole number.
TypeError
    A gradient is sparse, or a parameter complex, or of another dtype than float16, bfloat16, float32 or float64. The
    message names the parameter; nothing has been written.
RuntimeError
    A CUDA graph is being captured: step sizes are numbers of the host's.
BackendUnavailable
    At import: PyTorch is missing. At a step: the parameters are on a CUDA device, and numba-cuda is missing.

Beside torch.optim
------------------
Complex parameters and sparse gradients are refused. So are two parameters that share memory, where PyTorch updates it
twice, and numbers that make no sense to the formula (a momentum above 1). State that a group comes to need later
(amsgrad is turned on, say) starts from zeros. ``add_param_group`` and loading a state dict are as ever.
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
