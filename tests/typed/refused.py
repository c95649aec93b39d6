"""The errors that type checkers must report: one in each line that says so, and no others. It is never run."""

import numpy as np

import fastopt
from fastopt import minibatches, schedules
from fastopt.norm import BatchNorm
from fastopt.optim import LAMB, SGD, AdamW, Optimizer

x = np.ones((8, 4), np.float32)

AdamW([x], betas=(0.9, 0.999))  # error
AdamW([x], lr="0.1")  # error
AdamW([x], learning_rate=0.1)  # error
AdamW([x], amsgrad="yes")  # error
AdamW([x], master_weights=3)  # error
AdamW([x], backend="cuda")  # error
AdamW(3)  # error
AdamW()  # error
SGD([x])  # error
SGD([x], lr=0.1, momentum=0.9)  # error
LAMB([x], ema_decay="0.9")  # error
optimizer: Optimizer = AdamW([x])
optimizer.step(x, max_norm="1")  # error
optimizer.step(x, closure=None)  # error
optimizer.step(3)  # error
_ = optimizer.step(x).norm  # error
optimizer.state[0]["m"] = x  # error
optimizer.state[0] = 3  # error
optimizer.steps = 3  # error
optimizer.state = [{}]  # error
optimizer.lr = 0.5  # error
optimizer.groups[0].params = 3  # error

fastopt.adamw(x, x, x, x)  # error
fastopt.adam(x, x, x, x, step=1, betas=(0.9, 0.999))  # error
fastopt.adam(x, x, x, x, step=1.5)  # error
fastopt.adam(x, x, x, x, step=1, backend="opencl")  # error
_ = fastopt.AdamW  # error
_ = fastopt.nonsense  # error

y, mean, rstd = fastopt.batch_norm_forward(x, activation="gelu")  # error
a, b, c, d = fastopt.batch_norm_backward(x, x, None, mean, rstd)  # error
a, b, c = fastopt.batch_norm_backward(x, x, None, mean, rstd, residual=True)  # error
fastopt.batch_norm_backward(x, x, None, mean, rstd, axes=1)  # error
fastopt.group_norm_backward(x, x, None, mean, rstd)  # error
a, b, c = fastopt.layer_norm_backward(x, x, None, mean, rstd, residual=True)  # error
y.nonsense()  # error
BatchNorm(4, activation="gelu")  # error
BatchNorm(4).forward(x).nonsense()  # error

minibatches(x)  # error
minibatches(x, batch_size=4, shuffled=True)  # error
for batch in minibatches({"x": x}, batch_size=4):
    _ = batch.shape  # error
for pair in minibatches(x, x, batch_size=4):
    _ = pair.shape  # error

schedules.cosine("0.1", steps=10)  # error
schedules.cosine(0.1)  # error
schedules.cosine(0.1, steps=10)("1")  # error
schedules.ReduceOnPlateau(0.1, mode="least")  # error
