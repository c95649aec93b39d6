"""The exceptions of fastopt besides ValueError and TypeError."""


class BackendUnavailable(ImportError):
    """The requested backend can't run here; the message says why, and how to install it."""


class NotFittedError(ValueError):
    """A scaler is used before it has been fitted."""
