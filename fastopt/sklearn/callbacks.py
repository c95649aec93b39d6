"""scikit-learn's callbacks for `StandardScaler`, which scikit-learn's own supports from 1.9 on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: before 1.9, scikit-learn has no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method."""
        return method


__all__ = ["CallbackSupportMixin", "fit_task", "with_callbacks"]


@contextmanager
def fit_task(estimator: Any, X: Any, y: Any, **metadata: Any) -> Iterator[None]:
    """Tell the estimator's callbacks where its fit begins and ends, in a method that has `with_callbacks`."""
    if not hasattr(estimator, "_init_callback_context"):
        yield
        return
    context = estimator._init_callback_context()
    context.call_on_fit_task_begin(estimator=estimator, X=X, y=y, metadata=metadata)
    yield
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y, metadata=metadata, reconstruction_attributes={})
