"""The arithmetic of every update, written once: scalar functions from which the compilers make kernels.

How to read a rule. Names before ``/`` are per element (arrays in a kernel): ``param`` (or another array to write),
``grad``, then the state. Names after it are coefficients: the same for all elements, computed once per step in float64
by ``fastopt/updates/``. The return values are written back: the first array, then the state in order. ``grad`` is only
read, and is the gradient after loss scale and coupled weight decay (``gradient`` below). A rule with decoupled weight
decay has the coefficient ``decay`` and ends in ``descend``.

A rule may contain ``+ - * /``, comparisons, ``a if condition else b``, assignments, and the functions of
``fastopt/primitives.py``. It has no numeric literals: with ``1.0``, Numba would compute a float32 update in
float64 (1.90 -> 5.51 ms per million elements, measured for Adam). It has no flags: a convention (bias correction,
decoupled decay, position of eps) is a coefficient, or another rule if the memory traffic differs.

A coefficient named ``eps`` is added to a root. The engine's lower bound for it is the root of the compute type's
smallest normal number (1.1e-19 in float32): with eps = 0, an element without gradients is then 0 / 1e-19 instead of
0 / 0, and one whose squares underflow takes a step of ordinary size.

Averages of gradients are ``beta * average + gain * value`` with ``gain = 1 - beta`` from the host, which is accurate to
an ulp for every beta; ``average + gain * (value - average)`` cancels if beta is small (at beta = 0, it loses the value
after a much larger one). But beta and gain are rounded separately and their sum is not exactly 1, so an average of
constant values would change: averages of parameters are therefore written as differences.
"""

from fastopt.primitives import fabs, sign, sqrt

# ---- What every update shares, in two variants each. The engine uses the variant without weight decay if it is 0, so
# ---- that an infinite parameter (such as a mask) does not change: 0 * inf would be NaN.


def gradient(param, grad, grad_scale, weight_decay):
    return grad_scale * grad


def decayed_gradient(param, grad, grad_scale, weight_decay):
    return grad_scale * grad + weight_decay * param


def descend(param, change, decay):
    return param - change


# Not (1 - decay) * param - change: in float32, 1 - 1e-7 is wrong by a fifth of 1e-7, and the product adds a rounding of
# param. With this formula, the error is within an ulp, and a decay below half an ulp still adds to the change.


def decayed_descend(param, change, decay):
    return param - (change + decay * param)


# ---- Gradient descent and momentum


def sgd(param, grad, /, lr):
    return param - lr * grad


def momentum(param, grad, velocity, /, lr, momentum, gain):
    velocity = momentum * velocity + gain * grad
    return param - lr * velocity, velocity


def nesterov(param, grad, velocity, /, lr, momentum, gain):
    velocity = momentum * velocity + gain * grad
    return param - lr * (momentum * velocity + gain * grad), velocity


# An average of parameters is updated by a difference: if average and param are equal, it does not change for any mu.
# The comparison preserves two equal infinities, whose difference is NaN. follow = 0, with mu = 1, restarts the average:
# it becomes param, whatever its value was.


def asgd(param, grad, average, /, decay, lr, follow, mu):
    param = descend(param, lr * grad, decay)
    average = average if follow > mu else param
    moved = average + mu * (param - average)
    return param, average if average == param else moved


# An average that follows a parameter: here, the first array is the average, and the second one is the parameter. The
# difference is added to the one with the larger weight, so that it does not cancel if keep is small. It is 0 if the
# other weight is 0, unlike 0 * NaN: keep = 0 gives the parameter, whatever the average was.


def average(param, grad, /, keep, gain):
    start = param if keep > gain else grad
    end = grad if keep > gain else param
    weight = gain if keep > gain else keep
    end = end if weight > weight - weight else start
    moved = start + weight * (end - start)
    return start if start == end else moved


# ---- The sum of several backward passes. Without beta, acc is not read: it may be NaN or uninitialised.


def accumulate(acc, grad, /, beta):
    return beta * acc + grad


def accumulate_anew(acc, grad, /):
    return grad


# ---- Updates by the sign of the gradient


def signum(param, grad, m, /, decay, lr, beta, gain):
    m = beta * m + gain * grad
    return descend(param, lr * sign(m), decay), m


def lion(param, grad, m, /, decay, lr, beta1, gain1, beta2, gain2):
    direction = sign(beta1 * m + gain1 * grad)
    return descend(param, lr * direction, decay), beta2 * m + gain2 * grad


# One conditional per line, between plain values: gcc turns each into a blend. If they are nested, it splits the loop by
# every combination, which is three times slower.


def rprop(param, grad, prev_grad, step_size, /, grow, shrink, smallest, largest, zero, one):
    agreement = sign(grad) * sign(prev_grad)
    factor = grow if agreement > zero else one
    factor = shrink if agreement < zero else factor
    step_size = factor * step_size
    step_size = smallest if step_size < smallest else step_size
    step_size = largest if step_size > largest else step_size
    grad = zero if agreement < zero else grad
    return param - step_size * sign(grad), grad, step_size


# ---- A learning rate per element, derived from the gradients' squares


def adagrad(param, grad, square_sum, /, lr, eps):
    square_sum = square_sum + grad * grad
    return param - lr * grad / (sqrt(square_sum) + eps), square_sum


def rmsprop(param, grad, square_avg, /, lr, beta, gain, eps_inside, eps):
    square_avg = beta * square_avg + gain * (grad * grad)
    return param - lr * grad / (sqrt(square_avg + eps_inside) + eps), square_avg


def rmsprop_momentum(param, grad, square_avg, velocity, /, lr, beta, gain, eps_inside, eps, momentum):
    square_avg = beta * square_avg + gain * (grad * grad)
    velocity = momentum * velocity + grad / (sqrt(square_avg + eps_inside) + eps)
    return param - lr * velocity, square_avg, velocity


# The variance below is never negative in exact arithmetic; in floating point, it can be, by a rounding error. Its
# magnitude is then just as accurate, and has a root.


def rmsprop_centered(param, grad, square_avg, grad_avg, /, lr, beta, gain, eps_inside, eps):
    square_avg = beta * square_avg + gain * (grad * grad)
    grad_avg = beta * grad_avg + gain * grad
    variance = fabs(square_avg - grad_avg * grad_avg)
    return param - lr * grad / (sqrt(variance + eps_inside) + eps), square_avg, grad_avg


def rmsprop_centered_momentum(
    param, grad, square_avg, grad_avg, velocity, /, lr, beta, gain, eps_inside, eps, momentum
):
    square_avg = beta * square_avg + gain * (grad * grad)
    grad_avg = beta * grad_avg + gain * grad
    variance = fabs(square_avg - grad_avg * grad_avg)
    velocity = momentum * velocity + grad / (sqrt(variance + eps_inside) + eps)
    return param - lr * velocity, square_avg, grad_avg, velocity


def adadelta(param, grad, square_avg, delta_avg, /, lr, beta, gain, eps_inside):
    square_avg = beta * square_avg + gain * (grad * grad)
    delta = sqrt(delta_avg + eps_inside) / sqrt(square_avg + eps_inside) * grad
    return param - lr * delta, square_avg, beta * delta_avg + gain * (delta * delta)


# ---- Adam and related updates


def adam(param, grad, m, v, /, decay, step_size, beta1, gain1, beta2, gain2, correction, eps):
    m = beta1 * m + gain1 * grad
    v = beta2 * v + gain2 * (grad * grad)
    return descend(param, step_size * m / (sqrt(v) * correction + eps), decay), m, v


def amsgrad(param, grad, m, v, v_max, /, decay, step_size, beta1, gain1, beta2, gain2, correction, eps):
    m = beta1 * m + gain1 * grad
    v = beta2 * v + gain2 * (grad * grad)
    v_max = v_max if v_max > v else v
    return descend(param, step_size * m / (sqrt(v_max) * correction + eps), decay), m, v, v_max


def adamax(param, grad, m, u, /, step_size, beta1, gain1, beta2, eps_beside):
    m = beta1 * m + gain1 * grad
    u = beta2 * u
    magnitude = fabs(grad) + eps_beside
    u = u if u > magnitude else magnitude
    return param - step_size * m / u, m, u


def nadam(param, grad, m, v, /, decay, grad_size, m_size, beta1, gain1, beta2, gain2, correction, eps):
    m = beta1 * m + gain1 * grad
    v = beta2 * v + gain2 * (grad * grad)
    return descend(param, (grad_size * grad + m_size * m) / (sqrt(v) * correction + eps), decay), m, v


def radam(param, grad, m, v, /, decay, step_size, beta1, gain1, beta2, gain2, eps):
    m = beta1 * m + gain1 * grad
    v = beta2 * v + gain2 * (grad * grad)
    return descend(param, step_size * m / (sqrt(v) + eps), decay), m, v


def radam_unrectified(param, grad, m, v, /, decay, step_size, beta1, gain1, beta2, gain2):
    m = beta1 * m + gain1 * grad
    v = beta2 * v + gain2 * (grad * grad)
    return descend(param, step_size * m, decay), m, v


def adabelief(param, grad, m, s, /, decay, step_size, beta1, gain1, beta2, gain2, correction, eps, eps_state):
    m = beta1 * m + gain1 * grad
    surprise = grad - m
    s = beta2 * s + gain2 * (surprise * surprise) + eps_state
    return descend(param, step_size * m / (sqrt(s) * correction + eps), decay), m, s


def yogi(param, grad, m, v, /, decay, step_size, beta1, gain1, gain2, correction, eps):
    m = beta1 * m + gain1 * grad
    square = grad * grad
    v = v - gain2 * square * sign(v - square)
    return descend(param, step_size * m / (sqrt(v) * correction + eps), decay), m, v


def ademamix(
    param, grad, m1, m2, v, /, decay, m1_size, m2_size, beta1, gain1, beta2, gain2, beta3, gain3, correction, eps
):
    m1 = beta1 * m1 + gain1 * grad
    m2 = beta3 * m2 + gain3 * grad
    v = beta2 * v + gain2 * (grad * grad)
    return descend(param, (m1_size * m1 + m2_size * m2) / (sqrt(v) * correction + eps), decay), m1, m2, v


def adan(
    param, grad, m, v, n, prev_grad, /,
    decay, m_size, v_size, fresh, beta1, gain1, beta2, gain2, beta3, gain3, correction, eps,
):  # fmt: skip
    difference = fresh * (grad - prev_grad)
    m = beta1 * m + gain1 * grad
    v = beta2 * v + gain2 * difference
    ahead = grad + beta2 * difference
    n = beta3 * n + gain3 * (ahead * ahead)
    change = (m_size * m + v_size * v) / (sqrt(n) * correction + eps)
    return descend(param, change, decay), m, v, n, grad
