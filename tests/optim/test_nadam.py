"""NAdam's products of mu: one per parameter, for any history of updates, with bounded computation."""

from __future__ import annotations

import numpy as np
import pytest

from fastopt import optim
from fastopt.updates import adam

LR, BETA2, EPS, MOMENTUM_DECAY = 0.05, 0.99, 1e-8, 4e-3


class Oracle:
    """Dozat's formula in float64, for one parameter that keeps its own product."""

    def __init__(self, param):
        self.param, self.product, self.step = param.copy(), 1.0, 0
        self.m, self.v = np.zeros_like(param), np.zeros_like(param)

    def update(self, grad, beta1):
        """Follow one gradient."""
        self.step += 1
        mu, following = (beta1 * (1 - 0.5 * 0.96 ** (t * MOMENTUM_DECAY)) for t in (self.step, self.step + 1))
        self.product *= mu
        self.m = beta1 * self.m + (1 - beta1) * grad
        self.v = BETA2 * self.v + (1 - BETA2) * grad**2
        root = np.sqrt(self.v / (1 - BETA2**self.step)) + EPS
        self.param -= LR * (1 - mu) / (1 - self.product) * grad / root
        self.param -= LR * following / (1 - self.product * following) * self.m / root


class Pair:
    """An optimizer, and an oracle for each of its parameters."""

    def __init__(self, sizes, groups=1):
        params = [np.linspace(-1, 1, size) for size in sizes]
        self.params, self.oracles = params, [Oracle(param) for param in params]
        given = [{"params": params[number::groups]} for number in range(groups)]
        self.order = [i for number in range(groups) for i in range(number, len(sizes), groups)]
        self.groups = groups
        self.optimizer = optim.NAdam(given, lr=LR, beta2=BETA2, eps=EPS, momentum_decay=MOMENTUM_DECAY)

    def set(self, number, beta1):
        """Change a group's beta1."""
        self.optimizer.groups[number].beta1 = beta1

    def step(self, seed, missing=(), skipped=False):
        """Make a step of all parameters but some, or one that is skipped."""
        rng = np.random.default_rng(seed)
        grads = [rng.standard_normal(param.shape) for param in self.params]
        given = [None if i in missing else grads[i] for i in self.order]
        if skipped:
            bad = [None if grad is None else np.full_like(grad, np.nan) for grad in given]
            assert self.optimizer.step(bad, skip_nonfinite=True).skipped
            return
        self.optimizer.step(given)
        for i, oracle in enumerate(self.oracles):
            if i not in missing:
                oracle.update(grads[i], self.optimizer.groups[i % self.groups].beta1)

    def check(self):
        """Compare parameters and products."""
        for param, oracle in zip(self.params, self.oracles, strict=True):
            np.testing.assert_allclose(param, oracle.param, rtol=1e-11, atol=1e-13)
        products = [self.oracles[i].product for i in self.order]
        np.testing.assert_allclose(self.optimizer.mu_products, products, rtol=1e-13)


@pytest.mark.parametrize("apart", [1, 2, 3, 5, 100])
def test_updates_apart(apart):
    """One parameter begins later, beta1 changes, it catches up while the other waits, and both go on."""
    pair = Pair([4, 3])
    for step in range(apart):
        pair.step(step, missing=[1])
    for step in range(20):
        pair.step(step)
    pair.set(0, 0.6)
    for step in range(apart + 10):
        pair.step(step)
        pair.check()
    pair.set(0, 0.95)
    for step in range(apart):
        pair.step(step, missing=[0])
    assert len(set(pair.optimizer.steps.tolist())) == 1
    for step in range(5):
        pair.step(step)
    pair.set(0, 0.8)
    for step in range(5):
        pair.step(step, skipped=step == 3)
    pair.check()


@pytest.mark.parametrize("seed", range(20))
def test_any_gradients_missing_and_hyperparameters_changing(tmp_path, seed):
    """In two groups, with steps that are skipped, and checkpoints in the middle."""
    rng = np.random.default_rng(seed)
    pair = Pair([4, 3, 2, 5, 1], groups=2)
    for step in range(60):
        if rng.random() < 0.2:
            pair.set(int(rng.integers(2)), float(rng.choice([0.5, 0.9, 0.95])))
        missing = np.flatnonzero(rng.random(5) < rng.choice([0.0, 0.3, 0.7])).tolist()
        if len(missing) < 5:
            pair.step(step, missing, skipped=rng.random() < 0.1)
        if rng.random() < 0.1:
            pair.optimizer.save(tmp_path / "state.npz")
            other = optim.NAdam([{"params": group.params} for group in pair.optimizer.groups])
            other.load(tmp_path / "state.npz")
            pair.optimizer = other
    pair.check()


def test_a_bounded_number_of_products_is_kept(monkeypatch):
    """And each step computes one mu for each number of updates and call, not one for each step so far."""
    pair, calls = Pair([2, 2, 2, 2]), []
    for step in range(7):
        pair.step(step, missing=[0] if step < 2 else [1] if step < 5 else [])
    mu = adam.nadam_mu
    monkeypatch.setattr("fastopt.updates.adam.nadam_mu", lambda *given: calls.append(given) or mu(*given))
    for step in range(1000):
        before = len(calls)
        pair.step(step, missing=[3] if step % 2 else [])
        assert len(calls) - before <= 4 * 3  # here, and in the rule's own scalars
        assert len(pair.optimizer._products._known) <= 64 + 4 * 4 + 4
    assert len(set(pair.optimizer.steps.tolist())) == 4
    pair.check()


def test_histories_do_not_become_more_than_parameters():
    """Whatever changes: numbers of updates that differ, and beta1, again and again."""
    pair = Pair([2, 2, 2])
    for step in range(300):
        pair.set(0, 0.5 + 0.4 * (step % 3) / 3)
        pair.step(step, missing=[step // 3 % 3])
    pair.check()
    assert len(pair.optimizer._products._known) <= 64 + 4 * 3 + 3


def test_counts_that_a_caller_has_written():
    """The product is that of as many updates with the hyperparameters of now."""
    pair = Pair([2])
    pair.optimizer.steps[0] = 40
    wanted = np.prod([0.9 * (1 - 0.5 * 0.96 ** (t * MOMENTUM_DECAY)) for t in range(1, 41)])
    assert pair.optimizer.mu_products == [pytest.approx(wanted, rel=1e-13)]
    pair.step(0)
    following = wanted * 0.9 * (1 - 0.5 * 0.96 ** (41 * MOMENTUM_DECAY))
    assert pair.optimizer.mu_products == [pytest.approx(following, rel=1e-13)]


def test_the_state_right_after_a_load_is_what_was_loaded():
    """The trial of the hyperparameters, which makes the next step's scalars, leaves nothing behind."""
    pair, other = Pair([2, 3]), Pair([2, 3])
    for step in range(6):
        pair.step(step, missing=[1] if step == 2 else [])
    state = pair.optimizer.state_dict()
    other.optimizer.load_state_dict(state)
    for optimizer in (other.optimizer, pair.optimizer):
        assert optimizer.mu_products == state["mu_products"]
        assert len(state["mu_products"]) == 2
        assert optimizer.steps.tolist() == [6, 5]
        assert optimizer.step_count == 6
    assert len(other.optimizer._products._known) == 2


def test_a_load_that_fails_leaves_the_products():
    pair = Pair([2, 3])
    for step in range(3):
        pair.step(step)
    state, known = pair.optimizer.state_dict(), dict(pair.optimizer._products._known)
    group = state["groups"][0]
    state["groups"] = [{**group, "hyperparameters": {**group["hyperparameters"], "eps": -1.0}}]
    with pytest.raises(ValueError, match=r"^eps is -1\.0"):
        pair.optimizer.load_state_dict(state)
    assert pair.optimizer._products._known == known
    pair.step(3)
    pair.check()
