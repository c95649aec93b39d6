"""The class of docs/checkpoints.md, as an estimator of scikit-learn."""

from __future__ import annotations

import copy
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest

from fastopt.optim import AdamW
from tests.docs.test_pages import ROOT, blocks_of
from tests.peers import peer


@pytest.fixture
def shown(monkeypatch):
    """The block's names, as a module of which pickle can find them."""
    (block,) = (block for block in blocks_of(ROOT / "docs" / "checkpoints.md") if "class Regressor" in block.text)
    module = ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)
    exec(block.text, vars(module))
    base = peer("sklearn.base")
    module.Estimator = type("Estimator", (module.Regressor, base.BaseEstimator), {"__module__": "shown"})
    return module


@pytest.mark.peers
def test_it_is_cloned_copied_and_pickled(shown):
    base = peer("sklearn.base")
    model = shown.Estimator(lr=0.05).partial_fit(shown.x, shown.y)
    clone = base.clone(model)
    assert clone.lr == 0.05
    assert not hasattr(clone, "optimizer_")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        original = copy.deepcopy(model)
        for each in (original, twin):
            each.partial_fit(shown.x, shown.y)
        assert twin.optimizer_.steps.tolist() == [2]
        assert np.array_equal(twin.params_["weight"], original.params_["weight"])
        assert not np.shares_memory(twin.params_["weight"], model.params_["weight"])
        assert model.optimizer_.steps.tolist() == [1]


@pytest.mark.peers
def test_an_optimizer_given_to_a_constructor_is_not_cloned(shown):
    base = peer("sklearn.base")

    class Wrong(base.BaseEstimator):
        def __init__(self, optimizer=None):
            self.optimizer = optimizer

    with pytest.raises(TypeError, match=r"AdamW can't be copied or pickled.*state_dict"):
        base.clone(Wrong(AdamW([np.ones(3)])))
