"""200 steps beside PyTorch and optax: the parameter and every state array, at every step.

Two tables say how a peer spells the cases of ``cases.py``. Where its convention differs, the row converts: *our* update
is given other hyperparameters, by the identity that the row's comment states, and the results must still be the same.
The references, which the other tests trust, are held against the same peers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastopt
from tests import reference
from tests.cases import BY_NAME, CASES, Case, Hyperparameters
from tests.peers import peer
from tests.reference import Arrays, hyperparameters

pytestmark = pytest.mark.peers

STEPS = 200
SIZE = 131

#: What each row is run under: the first step, and hyperparameters. Those without a step are not run late.
CONDITIONS: dict[str, tuple[int, Hyperparameters]] = {
    "start": (1, {"weight_decay": 0.0}),
    "decay": (1, {"weight_decay": 0.1, "grad_scale": 0.5}),
    "eps=1": (1, {"eps": 1.0}),
    "late": (2**24 + 1, {}),  # the first step that a float32 counter cannot count
}

# Both are relative to the largest element of the array at that step.
# float64: 200 steps gather 2e-14 of rounding, measured; the smallest wrong convention (eps) shows above 1e-11.
FLOAT64 = 1e-12
# float32: 200 steps gather 2e-6, measured, and 1.3e-5 in the average of ASGD at step 2^24, where the weight of the
# newest parameter is half an ulp of the average.
FLOAT32 = 2e-5


@dataclass(frozen=True)
class Row:
    """How a peer spells a case. ``h`` has all hyperparameters of a step as attributes."""

    case: str
    #: Makes PyTorch's optimizer of (torch.optim, parameters, h), or optax's transformation of (optax, h).
    make: Callable[..., Any]
    #: Our names of state arrays, and the peer's. An array that is left out starts at zero and is not compared.
    state: dict[str, str] = field(default_factory=dict)
    #: What our update is given instead, where the peer's convention is another.
    ours: Callable[[SimpleNamespace], Hyperparameters] = lambda h: {}
    #: What PyTorch has kept before the first step, besides arrays and the step.
    kept: Callable[[SimpleNamespace], dict[str, float]] = lambda h: {}
    #: Hyperparameters that no condition changes.
    fixed: Hyperparameters = field(default_factory=dict)
    #: Tells two rows of one case apart.
    suffix: str = ""

    def under(self, condition: str) -> tuple[Case, Case, int]:
        """Return the case as the peer is given it, the case as our update is, and the first step."""
        first, options = CONDITIONS[condition]
        case = BY_NAME[self.case]
        theirs = replace(case, fixed={**case.fixed, **options, **self.fixed})
        ours = replace(theirs, of_step=lambda step: {**case.of_step(step), **self.ours(_at(theirs, step))})
        return theirs, ours, first


def _at(case: Case, step: int) -> SimpleNamespace:
    return SimpleNamespace(**hyperparameters(case, step))


# Identities between conventions.


def _corrections(h):
    """Return what Adam divides m by, and the root of v."""
    return 1 - h.beta1**h.step, (1 - h.beta2**h.step) ** 0.5


def _rescaled(h, lr=1.0, eps=1.0, decoupled=False):
    """Return lr and eps times these factors. A decoupled decay is multiplied by lr, so it is divided first."""
    weight_decay = h.weight_decay / lr if decoupled else h.weight_decay
    return {"lr": h.lr * lr, "eps": h.eps * eps, "weight_decay": weight_decay}


def _as_if_corrected(h, decoupled=False):
    """Make Adam without bias correction take corrected steps (Kingma & Ba 2015, end of section 2)."""
    of_m, of_root = _corrections(h)
    return _rescaled(h, lr=of_root / of_m, eps=of_root, decoupled=decoupled)


def _as_if_root_uncorrected(h, decoupled=False):
    """Make Adam take the steps that it would take if it corrected only m."""
    _, of_root = _corrections(h)
    return _rescaled(h, lr=1 / of_root, eps=1 / of_root, decoupled=decoupled)


def _as_if_eps_beside_corrected_root(h):
    _, of_root = _corrections(h)
    return {"eps": h.eps * of_root}


def _without_warm_up(h):
    """Make Nadam's mu beta1 from the first step: 0.96 ** momentum_decay is then 0."""
    return {"momentum_decay": 1e6, "mu_product": h.beta1**h.step}


# PyTorch. Its Adafactor, LBFGS, Muon and SparseAdam have no counterpart here. On the CPU it takes its plainest code,
# a loop over parameters, unless asked for another.


def _torch_momentum(optim, params, h):
    # An average is a sum dampened by the momentum.
    dampening = h.momentum if h.form == "average" else h.dampening
    return optim.SGD(params, h.lr, h.momentum, dampening, h.weight_decay, nesterov=h.nesterov)


def _torch_asgd(optim, params, h):
    return optim.ASGD(params, h.lr, h.lambd, h.alpha, h.t0, h.weight_decay)


def _torch_asgd_kept(h):
    """Return the rates for the coming step, which PyTorch computes at the end of the one before."""
    eta = h.lr / (1 + h.lambd * h.lr * (h.step - 1)) ** h.alpha
    return {"eta": eta, "mu": 1 / max(1, h.step - 1 - h.t0)}


def _torch_rprop(optim, params, h):
    return optim.Rprop(params, etas=(h.eta_minus, h.eta_plus), step_sizes=(h.step_min, h.step_max))


def _torch_adagrad(optim, params, h):
    return optim.Adagrad(params, h.lr, h.lr_decay, h.weight_decay, eps=h.eps)


def _torch_rmsprop(optim, params, h, **options):
    return optim.RMSprop(params, h.lr, h.decay, h.eps, h.weight_decay, h.momentum, **options)


def _torch_adadelta(optim, params, h):
    return optim.Adadelta(params, h.lr, h.decay, h.eps, h.weight_decay)


def _torch_adam(name, **options):
    def make(optim, params, h):
        return getattr(optim, name)(params, h.lr, (h.beta1, h.beta2), h.eps, h.weight_decay, **options)

    return make


def _torch_nadam_kept(h):
    return {"mu_product": h.mu_product / fastopt.nadam_mu(h.step, h.beta1, h.momentum_decay)}


BUFFER = {"velocity": "momentum_buffer"}
SQUARES = {"square_avg": "square_avg"}
CENTERED = {"square_avg": "square_avg", "grad_avg": "grad_avg"}
MOMENTS = {"m": "exp_avg", "v": "exp_avg_sq"}
MOMENTS_MAX = {**MOMENTS, "v_max": "max_exp_avg_sq"}

TORCH = [
    Row("sgd", lambda optim, params, h: optim.SGD(params, h.lr, weight_decay=h.weight_decay)),
    Row("momentum", _torch_momentum, BUFFER),
    # PyTorch does not dampen a first gradient for which it has no buffer; here it is given one of zeros.
    Row("momentum-dampened", _torch_momentum, BUFFER),
    Row("momentum-nesterov", _torch_momentum, BUFFER),
    Row("momentum-average", _torch_momentum, BUFFER),
    # As lr is constant, the velocity with lr inside is lr times PyTorch's.
    Row("momentum-step", _torch_momentum),
    Row("momentum-step-nesterov", _torch_momentum),
    Row("asgd", _torch_asgd, {"average": "ax"}, kept=_torch_asgd_kept),
    # PyTorch's Rprop has no weight decay; optax's row has.
    Row("rprop", _torch_rprop, {"prev_grad": "prev", "step_size": "step_size"}, fixed={"weight_decay": 0.0}),
    Row("adagrad", _torch_adagrad, {"square_sum": "sum"}),
    Row("rmsprop", _torch_rmsprop, SQUARES),
    Row("rmsprop-centered", partial(_torch_rmsprop, centered=True), CENTERED),
    Row("rmsprop-momentum", _torch_rmsprop, {**SQUARES, **BUFFER}),
    Row("rmsprop-centered-momentum", partial(_torch_rmsprop, centered=True), {**CENTERED, **BUFFER}),
    Row("adadelta", _torch_adadelta, {**SQUARES, "delta_avg": "acc_delta"}),
    Row("adam", _torch_adam("Adam"), MOMENTS),
    # PyTorch always corrects the bias.
    Row("adam-uncorrected", _torch_adam("Adam"), MOMENTS, ours=_as_if_corrected),
    Row("adam-amsgrad", _torch_adam("Adam", amsgrad=True), MOMENTS_MAX),
    Row("adamw", _torch_adam("AdamW"), MOMENTS),
    Row("adamw-amsgrad", _torch_adam("AdamW", amsgrad=True), MOMENTS_MAX),
    Row("adamax", _torch_adam("Adamax"), {"m": "exp_avg", "u": "exp_inf"}),
    Row("nadam", _torch_adam("NAdam"), MOMENTS, kept=_torch_nadam_kept),
    Row("nadam-decoupled", _torch_adam("NAdam", decoupled_weight_decay=True), MOMENTS, kept=_torch_nadam_kept),
    Row("radam", _torch_adam("RAdam"), MOMENTS),
    Row("radam-decoupled", _torch_adam("RAdam", decoupled_weight_decay=True), MOMENTS),
]


# optax. It has no ASGD. Weight decay is coupled before the transformation of the gradient, decoupled after it.


def _coupled(optax, h, *transforms):
    return optax.chain(optax.add_decayed_weights(h.weight_decay), *transforms)


def _decoupled(optax, h, *transforms):
    return optax.chain(*transforms, optax.add_decayed_weights(h.weight_decay), optax.scale_by_learning_rate(h.lr))


def _optax_sgd(optax, h):
    return _coupled(optax, h, optax.sgd(h.lr))


def _optax_momentum(optax, h):
    trace = optax.trace(h.momentum, h.nesterov)
    return _coupled(optax, h, optax.scale(1 - h.dampening), trace, optax.scale_by_learning_rate(h.lr))


def _optax_momentum_average(optax, h):
    trace = optax.trace(h.momentum, h.nesterov)
    return _coupled(optax, h, optax.scale(1 - h.momentum), trace, optax.scale_by_learning_rate(h.lr))


def _optax_momentum_step(optax, h):
    return _coupled(optax, h, optax.scale_by_learning_rate(h.lr), optax.trace(h.momentum, h.nesterov))


def _optax_signum(optax, h):
    return _decoupled(optax, h, optax.ema(h.beta, debias=False), optax.scale_by_sign())


def _optax_lion(optax, h):
    return optax.lion(h.lr, h.beta1, h.beta2, weight_decay=h.weight_decay)


def _optax_rprop(optax, h):
    rprop = optax.scale_by_rprop(0.0, h.eta_minus, h.eta_plus, h.step_min, h.step_max)

    def update(grad, state, param=None):
        # optax 0.2.8 returns the step of the call before; the step of this call is in the state.
        _, state = rprop.update(grad, state)
        return -state.prev_updates, state

    return _coupled(optax, h, optax.GradientTransformation(rprop.init, update))


def _optax_adagrad(optax, h):
    return _coupled(optax, h, optax.adagrad(lambda count: h.lr / (1 + count * h.lr_decay), eps=h.eps))


def _optax_rmsprop(optax, h, centered=False):
    options = {"eps_in_sqrt": h.eps_inside_sqrt, "centered": centered, "momentum": h.momentum}
    return _coupled(optax, h, optax.rmsprop(h.lr, h.decay, h.eps, **options))


def _optax_adadelta(optax, h):
    return _coupled(optax, h, optax.adadelta(h.lr, h.decay, h.eps))


def _optax_adam(name, **options):
    return lambda optax, h: _coupled(optax, h, getattr(optax, name)(h.lr, h.beta1, h.beta2, h.eps, **options))


def _optax_adamw(name, **options):
    return lambda optax, h: _decoupled(optax, h, getattr(optax, name)(h.beta1, h.beta2, h.eps, **options))


def _optax_adabelief(optax, h):
    # The paper's one eps is two in optax.
    return _decoupled(optax, h, optax.scale_by_belief(h.beta1, h.beta2, h.eps, eps_root=h.eps))


def _optax_ademamix(optax, h):
    return optax.contrib.ademamix(h.lr, h.beta1, h.beta2, h.beta3, h.alpha, h.eps, weight_decay=h.weight_decay)


def _optax_ademamix_warmup(optax, h):
    alpha = optax.linear_schedule(0.0, h.alpha, h.warmup)
    # Where the paper's formula of beta3 comes from: the half-life of the average, -1 / log2(beta3), grows linearly.
    half_life = optax.linear_schedule(-1 / np.log2(h.beta1), -1 / np.log2(h.beta3), h.warmup)

    def step(count):
        # optax counts from 0, and its schedules would make float32 of an int32 count.
        return count.astype("float64") + 1

    schedules = (lambda count: 0.5 ** (1 / half_life(step(count))), lambda count: alpha(step(count)))
    return optax.contrib.ademamix(h.lr, h.beta1, h.beta2, *schedules, h.eps, weight_decay=h.weight_decay)


def _optax_adan(optax, h):
    adan = optax.scale_by_adan(h.beta1, h.beta2, h.beta3, h.eps, eps_root=0.0)
    # optax.adan decays weights as AdamW does; the paper's proximal step divides by 1 + lr * weight_decay.
    proximal = optax.stateless(lambda updates, params: (params + updates) / (1 + h.lr * h.weight_decay) - params)
    return optax.chain(adan, optax.scale_by_learning_rate(h.lr), proximal)


NU = {"square_avg": "nu"}
MU_NU = {"m": "mu", "v": "nu"}
MU_NU_MAX = {**MU_NU, "v_max": "nu_max"}
CENTERED_MU_NU = {"square_avg": "nu", "grad_avg": "mu"}
ADEMAMIX = {"m1": "m1", "m2": "m2", "v": "nu"}

OPTAX = [
    Row("sgd", _optax_sgd),
    Row("momentum", _optax_momentum, {"velocity": "trace"}),
    Row("momentum-dampened", _optax_momentum, {"velocity": "trace"}),
    Row("momentum-nesterov", _optax_momentum, {"velocity": "trace"}),
    Row("momentum-average", _optax_momentum_average, {"velocity": "trace"}),
    Row(
        "momentum-average",
        _optax_momentum_average,
        {"velocity": "trace"},
        fixed={"nesterov": True},
        suffix="-nesterov",
    ),
    # optax's trace is minus our velocity.
    Row("momentum-step", _optax_momentum_step),
    Row("momentum-step-nesterov", _optax_momentum_step),
    Row("signum", _optax_signum, {"m": "ema"}),
    Row("lion", _optax_lion, {"m": "mu"}),
    # optax remembers the last step where we remember the last gradient; their signs are the same.
    Row("rprop", _optax_rprop, {"step_size": "step_sizes"}),
    # optax has eps inside the root.
    Row("adagrad", _optax_adagrad, {"square_sum": "sum_of_squares"}, fixed={"eps": 0.0}),
    # With momentum, optax's trace is -lr times our velocity.
    Row("rmsprop", _optax_rmsprop, NU),
    Row("rmsprop-inside", _optax_rmsprop, NU),
    Row("rmsprop-momentum", _optax_rmsprop, NU),
    Row("rmsprop-momentum", _optax_rmsprop, NU, fixed={"eps_inside_sqrt": True}, suffix="-inside"),
    Row("rmsprop-centered", partial(_optax_rmsprop, centered=True), CENTERED_MU_NU),
    Row(
        "rmsprop-centered",
        partial(_optax_rmsprop, centered=True),
        CENTERED_MU_NU,
        fixed={"eps_inside_sqrt": True},
        suffix="-inside",
    ),
    Row("rmsprop-centered-momentum", partial(_optax_rmsprop, centered=True), CENTERED_MU_NU),
    Row("adadelta", _optax_adadelta, {"square_avg": "e_g", "delta_avg": "e_x"}),
    Row("adam", _optax_adam("adam"), MU_NU),
    # optax takes the maximum of the corrected v; but it can be told not to correct v.
    Row("adam-amsgrad", _optax_adam("amsgrad", bias_correction_nu=False), MU_NU_MAX, ours=_as_if_root_uncorrected),
    Row("adamw", _optax_adamw("scale_by_adam"), MU_NU),
    Row(
        "adamw-amsgrad",
        _optax_adamw("scale_by_amsgrad", bias_correction_nu=False),
        MU_NU_MAX,
        ours=partial(_as_if_root_uncorrected, decoupled=True),
    ),
    Row("adamax", _optax_adam("adamax"), {"m": "mu", "u": "nu"}),
    # optax does not warm up Nadam's mu.
    Row("nadam", _optax_adam("nadam"), MU_NU, ours=_without_warm_up),
    Row("nadam-decoupled", _optax_adamw("scale_by_adam", nesterov=True), MU_NU, ours=_without_warm_up),
    # optax adds eps to the corrected root, PyTorch to the uncorrected one.
    Row("radam", _optax_adam("radam"), MU_NU, ours=_as_if_eps_beside_corrected_root),
    Row("radam-decoupled", _optax_adamw("scale_by_radam"), MU_NU, ours=_as_if_eps_beside_corrected_root),
    Row("adabelief", _optax_adabelief, {"m": "mu", "s": "nu"}),
    Row("yogi", _optax_adamw("scale_by_yogi"), MU_NU),
    # optax always corrects the bias.
    Row("yogi-uncorrected", _optax_adamw("scale_by_yogi"), MU_NU, ours=partial(_as_if_corrected, decoupled=True)),
    Row("ademamix", _optax_ademamix, ADEMAMIX),
    Row("ademamix-warmup", _optax_ademamix_warmup, ADEMAMIX),
    # optax 0.2.8 weights the change of the gradient by 1 - beta2 where the paper, in these betas, has beta2: the two
    # agree at one half.
    Row("adan", _optax_adan, {"m": "m", "v": "v", "n": "n", "prev_grad": "g"}, fixed={"beta2": 0.5}),
]

#: Cases that are another case under one of the conditions, and so have no row.
OTHER_CASES = {"sgd-decay", "adam-decay"}


def _parameters(rows: list[Row]) -> list[Any]:
    """Return a test's parameters: each row under each condition that applies to it."""
    parameters = []
    for row in rows:
        free = hyperparameters(BY_NAME[row.case]).keys() - (row.fixed.keys() & {"eps"})
        for name, (first, options) in CONDITIONS.items():
            if options.keys() <= free and (first == 1 or "step" in free):
                parameters.append(pytest.param(row, name, id=f"{row.case}{row.suffix}-{name}"))
    return parameters


def _inputs(case: Case, first: int, dtype: str) -> tuple[Arrays, np.ndarray]:
    """Return the arrays before the first step, and the gradients of all steps, of another size for each element."""
    arrays = case.make_arrays(SIZE, dtype, zero_state=first == 1)
    rng = np.random.default_rng(1)
    sizes = 10.0 ** rng.uniform(-3, 1, SIZE)
    return arrays, (sizes * rng.standard_normal((STEPS, SIZE))).astype(dtype)


def _fastopt_steps(case: Case, arrays: Arrays, grads: np.ndarray, first: int) -> list[Arrays]:
    arrays = {name: array.copy() for name, array in arrays.items()}
    history = []
    for step, grad in enumerate(grads, first):
        arrays["grad"][:] = grad
        case.run(arrays, step)
        history.append({name: array.copy() for name, array in arrays.items()})
    return history


OURS = {"fastopt": _fastopt_steps, "reference": reference.steps}


def _torch_steps(torch: Any, row: Row, case: Case, arrays: Arrays, grads: np.ndarray, first: int) -> list[Arrays]:
    h = _at(case, first)
    param = torch.nn.Parameter(torch.tensor(arrays["param"]))
    optimizer = row.make(torch.optim, [param], h)
    state = optimizer.state[param]
    state["step"] = torch.tensor(float(first - 1))
    state.update({name: torch.tensor(value) for name, value in row.kept(h).items()})
    state.update({theirs: torch.tensor(arrays[ours]) for ours, theirs in row.state.items()})
    history = []
    for grad in grads:
        param.grad = torch.tensor(h.grad_scale * grad)
        optimizer.step()
        after = {"param": param.detach(), **{ours: state[theirs] for ours, theirs in row.state.items()}}
        history.append({name: tensor.numpy().copy() for name, tensor in after.items()})
    return history


def _optax_steps(row: Row, case: Case, arrays: Arrays, grads: np.ndarray, first: int) -> list[Arrays]:
    jax, optax = peer("jax"), peer("optax")
    h = _at(case, first)
    with jax.enable_x64(True):
        optimizer = row.make(optax, h)

        @jax.jit
        def update(grad, state, param):
            updates, state = optimizer.update(grad, state, param)
            return state, optax.apply_updates(param, updates)

        param = jax.numpy.asarray(arrays["param"])
        state = optimizer.init(param)
        for counter in ("count", "count_m2", "t"):
            if optax.tree.get(state, counter) is not None:
                state = optax.tree.set(state, **{counter: jax.numpy.int32(first - 1)})
        state = optax.tree.set(state, **{theirs: jax.numpy.asarray(arrays[ours]) for ours, theirs in row.state.items()})
        history = []
        for grad in grads:
            state, param = update(h.grad_scale * grad, state, param)
            after = {"param": param, **{ours: optax.tree.get(state, theirs) for ours, theirs in row.state.items()}}
            history.append({name: np.asarray(array) for name, array in after.items()})
    return history


def _assert_same(ours: list[Arrays], theirs: list[Arrays], tolerance: float) -> None:
    """Compare the arrays that the peer has, step by step."""
    assert len(ours) == len(theirs) == STEPS
    for name in theirs[0]:
        actual = np.stack([arrays[name] for arrays in ours])
        desired = np.stack([arrays[name] for arrays in theirs])
        assert np.isfinite(desired).all()
        deviation = np.abs(actual - desired)
        same = deviation <= tolerance * np.abs(desired).max(axis=1, keepdims=True)
        assert same.all(), (
            f"{name} differs first at (step - 1, element) {np.argwhere(~same)[0]}, by {deviation[~same][0]}"
        )


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch, keeping its numbers (steps, ASGD's rates, NAdam's product) in float64: 2^24 + 1 needs it."""
    module = peer("torch")
    default = module.get_default_dtype()
    module.set_default_dtype(module.float64)
    yield module
    module.set_default_dtype(default)


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(("row", "condition"), _parameters(TORCH))
def test_torch_float64(torch: Any, row: Row, condition: str, ours: str) -> None:
    """The update and its reference make PyTorch's steps, in float64."""
    case, our_case, first = row.under(condition)
    arrays, grads = _inputs(case, first, "float64")
    theirs = _torch_steps(torch, row, case, arrays, grads, first)
    _assert_same(OURS[ours](our_case, arrays, grads, first), theirs, FLOAT64)


@pytest.mark.parametrize(("row", "condition"), _parameters(TORCH))
def test_torch_float32(torch: Any, row: Row, condition: str) -> None:
    """The update makes PyTorch's steps in float32, as near as two roundings can be."""
    case, our_case, first = row.under(condition)
    arrays, grads = _inputs(case, first, "float32")
    theirs = _torch_steps(torch, row, case, arrays, grads, first)
    _assert_same(_fastopt_steps(our_case, arrays, grads, first), theirs, FLOAT32)


@pytest.mark.parametrize(("row", "condition"), _parameters(OPTAX))
def test_optax_float64(row: Row, condition: str) -> None:
    """The update and its reference make optax's steps, in float64."""
    case, our_case, first = row.under(condition)
    arrays, grads = _inputs(case, first, "float64")
    theirs = _optax_steps(row, case, arrays, grads, first)
    for steps in OURS.values():  # in one test, for optax's steps take longest to compile
        _assert_same(steps(our_case, arrays, grads, first), theirs, FLOAT64)


def test_every_case_has_a_peer() -> None:
    """A case that is added gets a row, or is known to be covered by another."""
    assert {case.name for case in CASES if case.target == "param"} == {row.case for row in TORCH + OPTAX} | OTHER_CASES
