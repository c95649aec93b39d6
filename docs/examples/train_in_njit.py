"""Trains a small network in one compiled function: forward, backward and Adam, without a return to Python.

Run it: python docs/examples/train_in_njit.py
"""

from __future__ import annotations

import numba
import numpy as np

import fastopt.numba


@numba.njit
def gradients(x, y, params, grads):
    """Write the gradients of the mean squared error of w2 tanh(w1 x + b1) + b2, and return that error."""
    w1, b1, w2, b2 = params
    loss = 0.0
    hidden = np.empty_like(w1)
    for i in range(4):
        grads[i][:] = 0
    for k in range(len(x)):
        output = b2[0]
        for j in range(len(w1)):
            hidden[j] = np.tanh(w1[j] * x[k] + b1[j])
            output += w2[j] * hidden[j]
        error = output - y[k]
        loss += error * error / len(x)
        back = 2 * error / len(x)
        grads[3][0] += back
        for j in range(len(w1)):
            inner = back * w2[j] * (1 - hidden[j] * hidden[j])
            grads[0][j] += inner * x[k]
            grads[1][j] += inner
            grads[2][j] += back * hidden[j]
    return loss


@numba.njit
def train(x, y, params, grads, m, v, steps, lr):
    """Take steps of Adam, and return the error before each."""
    losses = np.empty(steps)
    for step in range(1, steps + 1):
        losses[step - 1] = gradients(x, y, params, grads)
        for i in range(4):
            fastopt.numba.adam(params[i], grads[i], m[i], v[i], step=step, lr=lr)
    return losses


def main() -> None:
    """Fit a sine with 32 hidden units."""
    rng = np.random.default_rng(0)
    x = np.linspace(-3, 3, 200, dtype=np.float32)
    w1, b1, w2 = rng.standard_normal((3, 32), np.float32)
    params = (w1, b1, w2 / 6, np.zeros(1, np.float32))
    grads, m, v = (tuple(np.zeros_like(param) for param in params) for _ in range(3))
    losses = train(x, np.sin(2 * x), params, grads, m, v, 2000, 0.01)
    for step in (1, 10, 100, 1000, 2000):
        print(f"step {step:4}: loss {losses[step - 1]:.6f}")


if __name__ == "__main__":
    main()
