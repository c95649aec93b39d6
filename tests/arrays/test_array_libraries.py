"""Arrays of other libraries, beyond docs/array-libraries.md: layouts, aliases and errors."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import fastopt
from tests.array_page import PAGE
from tests.cases import BY_NAME
from tests.docs.test_pages import blocks_of
from tests.peers import peer
from tests.support import assert_same_bits, copies

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:jax")


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_torch_tensors_are_updated_without_a_copy(dtype):
    torch = peer("torch")
    for shape in ((1000,), (30, 40)):
        wanted = BY_NAME["adamw"].make_arrays(shape)
        tensors = {name: torch.tensor(x).to(getattr(torch, dtype)) for name, x in wanted.items()}
        if len(shape) == 2:  # another layout, and gaps between elements
            tensors["m"] = tensors["m"].t().contiguous().t()
            tensors["v"] = torch.stack([tensors["v"], tensors["v"]], dim=-1)[..., 0]
        numpy_dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
        wanted = {name: x.astype(numpy_dtype) for name, x in wanted.items()}
        BY_NAME["adamw"].run(wanted, 3)
        BY_NAME["adamw"].run(tensors, 3)
        got = {name: t.contiguous().to(torch.float64).numpy() for name, t in tensors.items()}
        assert_same_bits(got, {name: x.astype("f8") for name, x in wanted.items()})


@pytest.mark.peers
def test_torch_tensors_that_share_memory_are_refused():
    shared = peer("torch").ones(3)
    with pytest.raises(ValueError, match="grad overlaps param"):
        fastopt.sgd(shared, shared.numpy(), lr=0.1)


@pytest.mark.peers
def test_jax_arrays_are_gradients():
    jax = peer("jax")
    start = BY_NAME["adam"].make_arrays(100)
    wanted, got = copies(start), copies(start)
    BY_NAME["adam"].run(wanted, 3)
    BY_NAME["adam"].run({**got, "grad": jax.numpy.asarray(got["grad"])}, 3)
    assert_same_bits(got, wanted)


@pytest.mark.peers
def test_the_pages_block_on_jax_runs():
    """That of docs/array-libraries.md, which other tests leave alone where JAX may be missing."""
    peer("jax")
    (block,) = (block for block in blocks_of(PAGE) if not block.is_complete)
    exec(compile(block.text, f"{PAGE.name}, line {block.line}", "exec"), {"__name__": "__main__"})


class Variable:
    """What hands on the attributes that it does not have, as flax.nnx.Variable does."""

    def __init__(self, value):
        self.value = value

    def __getattr__(self, name):
        return getattr(self.value, name)


@pytest.mark.peers
def test_an_array_of_jax_is_not_written_through_a_wrapper():
    value = peer("jax").numpy.ones(4)
    with pytest.raises(TypeError, match="param is read-only"):
        fastopt.sgd(Variable(value), np.ones(4, "f4"), lr=0.5)
    assert np.all(np.asarray(value) == 1)


class Exporter:
    """What exports another library's array through DLPack, once it has been asked the right way."""

    def __init__(self, wrapped, device=1, error=None):
        self.wrapped, self.device, self.error = wrapped, device, error

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self, **options):
        if self.error:
            raise self.error
        if options:
            raise TypeError("a producer from before DLPack 1 knows no options")
        return self.wrapped.__dlpack__()


def test_dlpack_of_old_producers_and_its_failures():
    param = np.ones(3, "f4")
    fastopt.sgd(Exporter(param), np.ones(3, "f4"), lr=0.5)
    assert np.all(param == 0.5)
    with pytest.raises(TypeError, match="param is a Exporter that can't be exported through DLPack: no"):
        fastopt.sgd(Exporter(param, error=BufferError("no")), param, lr=0.5)
    with pytest.raises(TypeError, match=r"param is a Exporter .*: it lies on DLPack device 10; expected it in"):
        fastopt.sgd(Exporter(param, device=10), param, lr=0.5)


@pytest.mark.peers
def test_torch_tensors_without_memory_are_refused():
    torch = peer("torch")
    grad = np.ones(3, "f4")
    freed = torch.ones(3)
    freed.untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="param has no memory of its own"):
        fastopt.sgd(freed, grad, lr=0.1)
    with pytest.raises(ValueError, match="grad has no memory of its own"):
        fastopt.sgd(np.ones(3, "f4"), freed, lr=0.1)
    fastopt.sgd(torch.ones(0, 3), np.ones((0, 3), "f4"), lr=0.1)


@pytest.mark.parametrize("capsule", [None, "used", 5])
def test_dlpack_without_a_tensor(capsule):
    class Empty(Exporter):
        def __dlpack__(self, **options):
            if capsule != "used":
                return capsule
            given = np.ones(3).__dlpack__()
            np.from_dlpack(Given(given))
            return given

    class Given(Exporter):
        def __dlpack__(self, **options):
            return self.wrapped

    with pytest.raises(TypeError, match="param is a Empty whose __dlpack__ gives no tensor"):
        fastopt.sgd(Empty(None), np.ones(3), lr=0.1)


def test_a_subclass_with_a_view_of_its_own():
    class Odd(np.ndarray):
        def view(self, *arguments):
            return 5

    param = np.ndarray.view(np.ones(3), Odd)
    fastopt.sgd(param, np.ones(3), lr=0.5)
    np.testing.assert_array_equal(np.asarray(param), 0.5)


def test_hyperparameters_that_change_the_arrays_do_so_before_these_are_looked_at():
    param = np.ones(4096, "f4")

    class Rate:
        def __float__(self):
            param.shape = (8, 8, 64)
            return 0.5

    with pytest.raises(ValueError, match=r"grad has shape \(4096,\); expected \(8, 8, 64\), the shape of param"):
        fastopt.sgd(param, np.ones(4096, "f4"), lr=Rate())
    np.testing.assert_array_equal(param, 1)


def test_the_reference_backend_checks_takes_scalars_and_writes_like_the_others():
    param, grad, velocity = np.ones(3, "f2"), np.full(3, 6e4, "f2"), np.ones(3, "f2")
    fastopt.momentum(param, grad, velocity, lr=np.float32(10.0), momentum=np.array(0.5), backend="reference")
    assert np.isinf(param).all()
    with pytest.raises(ValueError, match=r"lr is 1e\+300, which makes a coefficient infinite or NaN in float32"):
        fastopt.sgd(np.ones(3, "f4"), np.ones(3, "f4"), lr=1e300, backend="reference")


@pytest.mark.peers
def test_autograd_is_told_of_tensors_that_were_written():
    """As updates on a device tell it: what it has saved of them is out of date."""
    torch = peer("torch")
    from fastopt.device.streams import is_tensor
    from fastopt.engine.core.exchange import wrote

    param = torch.ones(3, requires_grad=True)
    version = param._version
    loss = (param * param).sum()
    wrote([param, np.ones(3)])
    assert param._version > version
    assert not is_tensor(np.ones(3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
