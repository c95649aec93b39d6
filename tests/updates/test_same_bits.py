"""Promise 9, same bits: for all backends, instruction sets, numbers of threads and positions."""

from __future__ import annotations

import numpy as np
import pytest

from fastopt.engine.update.run import run_many
from fastopt.specs.updates import UPDATES
from tests.cases import BY_NAME, CASES
from tests.support import assert_same_bits, copies, cpus


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_position_does_not_matter(case):
    """Halves updated separately; and 10,007 equal elements stay equal, vector body and scalar tail alike."""
    whole = case.make_arrays(1999)
    halves = copies(whole)
    case.run(whole, 3)
    for part in (slice(0, 1001), slice(1001, None)):
        case.run({name: array[part] for name, array in halves.items()}, 3)
    assert_same_bits(halves, whole)

    equal = {name: np.full(10_007, array[5]) for name, array in case.make_arrays(10).items()}
    case.run(equal, 3)
    for name in case.written:
        assert np.unique(equal[name].view("u4")).size == 1


@pytest.mark.parametrize(
    ("name", "update"), [(name, update) for name, spec in UPDATES.items() for update in spec.updates.values()]
)
def test_a_list_of_tensors_gives_the_bits_of_one_after_the_other(name, update):
    """Large and small, contiguous and not, empty, of mixed dtypes of one compute type."""
    case = next(c for c in CASES if (c.update.__name__, c.arrays) == (name, update.arrays))
    values = _hyperparameters(case, update, step=6)
    shapes = [(3,), (0,), (40_001,), (1,), (64, 33), (5, 0), (70_000,), (17,)]
    tensors = [case.make_arrays(shape, seed=i) for i, shape in enumerate(shapes)]
    tensors[4]["grad"] = np.asfortranarray(tensors[4]["grad"])
    tensors[7] = {name: array.astype("f2") for name, array in tensors[7].items()}
    single, listed = [copies(t) for t in tensors], [copies(t) for t in tensors]
    for tensor in single:
        run_many(update, [tuple(tensor.values())], values, None, None)
    with cpus(4):
        run_many(update, [tuple(t.values()) for t in listed], values, None, 4)
    for got, wanted in zip(listed, single, strict=True):
        assert_same_bits(got, wanted)


def _hyperparameters(case, update, step):
    from tests.reference import hyperparameters

    complete = hyperparameters(case, step)
    return tuple(complete[name] for name in update.hyperparameters)


def test_a_list_refuses_tensors_that_share_memory_and_an_empty_list_is_legal():
    tensors = [tuple(BY_NAME["adam"].make_arrays(10, seed=i).values()) for i in range(5)]
    tensors[3] = (tensors[1][0], *tensors[3][1:])
    before = [[x.copy() for x in tensor] for tensor in tensors]
    adam = UPDATES["adam"].updates[()]
    values = _hyperparameters(BY_NAME["adam"], adam, step=1)
    with pytest.raises(ValueError, match="param of tensor 3 overlaps param of tensor 1"):
        run_many(adam, tensors, values, None, None)
    for tensor, kept in zip(tensors, before, strict=True):
        for x, y in zip(tensor, kept, strict=True):
            np.testing.assert_array_equal(x, y)
    run_many(adam, [], values, None, None)
