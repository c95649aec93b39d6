"""What fastopt raises beside ValueError and TypeError."""


class BackendUnavailable(ImportError):
    """A backend was asked for that can't run here; the message says why, and what installs it."""


class NotFittedError(ValueError):
    """A scaler is asked for what it would know of data, of which it has seen none."""
