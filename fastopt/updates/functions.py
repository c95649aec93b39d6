"""The public functions of all families, for what has them as its own names."""

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

__all__: list[str] = []
__all__ += _accumulation.__all__
__all__ += _adam.__all__
__all__ += _adaptive.__all__
__all__ += _descent.__all__
__all__ += _signs.__all__
