"""The namespace of `fastopt`: submodules without explicit imports, `dir`, and error messages."""

from __future__ import annotations

import inspect
import pickle
import sys
from importlib import import_module

import pytest

import fastopt
from fastopt.errors import BackendUnavailable
from fastopt.namespace import HEAVY, MODULES, public_names
from tests.peers import peer
from tests.support import ROOT, run_python

every_module = pytest.mark.parametrize(
    "module", [pytest.param(module, marks=[pytest.mark.peers] if module in HEAVY else []) for module in MODULES]
)

#: Prints which heavy packages a program has imported.
IMPORTED = "\nimport sys; print([name for name in ('numba', 'torch', 'llvmlite') if sys.modules.get(name)])"


def test_modules_are_all_packages_with_public_names():
    packages = [path.parent.name for path in (ROOT / "fastopt").glob("*/__init__.py") if "__all__" in path.read_text()]
    assert sorted(packages) == sorted(MODULES)


@every_module
def test_modules_are_loaded_when_asked_for(module):
    if module in HEAVY:
        peer(module)
    assert run_python(f"import fastopt; print(fastopt.{module}.__name__)") == f"fastopt.{module}\n"
    assert run_python(f"from fastopt import {module}; print({module}.__name__)") == f"fastopt.{module}\n"


def test_dir_is_the_public_names():
    program = f"import fastopt; print(*dir(fastopt)){IMPORTED}"
    listed, imported = run_python(program).splitlines()
    assert listed.split() == sorted(fastopt.__all__ + [name for name in MODULES if name not in HEAVY])
    assert imported == "[]"


@pytest.mark.peers
@pytest.mark.parametrize("module", HEAVY)
def test_dir_has_heavy_modules_once_they_are_imported(module):
    peer(module)
    import_module(f"fastopt.{module}")
    assert module in dir(fastopt)


@every_module
def test_dir_of_modules_is_their_public_names(module):
    if module in HEAVY:
        peer(module)
    imported = import_module(f"fastopt.{module}")
    assert dir(imported) == sorted(imported.__all__) == sorted(public_names(module))
    assert all(hasattr(imported, name) for name in imported.__all__)


@pytest.mark.parametrize(
    "tool",
    [
        "import inspect; assert len(inspect.getmembers(fastopt)) == len(dir(fastopt))",
        "import pydoc; assert 'adamw' in pydoc.render_doc(fastopt)",
        "import doctest; assert doctest.DocTestFinder().find(fastopt)",
        "import pickle; assert pickle.loads(pickle.dumps(fastopt.adam)) is fastopt.adam",
        "assert not hasattr(fastopt, 'AdamW') and not hasattr(fastopt, 'nonsense')",
    ],
)
@pytest.mark.parametrize("without", ["", "import sys; sys.modules['torch'] = None; "])
def test_tools_import_nothing_heavy(tool, without):
    assert run_python(f"{without}import fastopt; {tool}{IMPORTED}") == "[]\n"


@pytest.mark.parametrize(
    ("package", "command"), [("torch", "`pip install torch` installs it"), ("numba", r"pip install 'fastopt\[numba\]'")]
)
def test_a_module_whose_package_is_missing(package, command, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    for loaded in [name for name in sys.modules if name.startswith(f"fastopt.{package}")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.delattr(fastopt, package, raising=False)
    assert not hasattr(fastopt, package)
    with pytest.raises(AttributeError, match=f"fastopt.{package} can't be imported: .*{command}"):
        getattr(fastopt, package)
    with pytest.raises(BackendUnavailable, match=command):
        import_module(f"fastopt.{package}")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("AdamW", "fastopt.optim.AdamW (or fastopt.torch.AdamW for PyTorch parameters)"),
        ("Adamw", "fastopt.optim.AdamW (or fastopt.torch.AdamW for PyTorch parameters)"),
        ("LAMB", "fastopt.optim.LAMB"),
        ("StepResult", "fastopt.optim.StepResult"),
        ("BatchNorm", "fastopt.norm.BatchNorm"),
        ("batchnorm", "fastopt.norm.BatchNorm"),
        (
            "StandardScaler",
            "fastopt.scaling.StandardScaler (or fastopt.sklearn.StandardScaler for scikit-learn pipelines)",
        ),
        ("NotFittedError", "fastopt.scaling.NotFittedError"),
        ("cosine", "fastopt.schedules.cosine"),
        ("ReduceOnPlateau", "fastopt.schedules.ReduceOnPlateau"),
        ("he_normal_", "fastopt.init.he_normal_"),
        ("he_normal", "fastopt.init.he_normal_"),
    ],
)
def test_errors_say_where_a_name_is(name, where):
    with pytest.raises(AttributeError) as caught:
        getattr(fastopt, name)
    assert str(caught.value) == f"fastopt has no attribute {name!r}; it is {where}"
    assert caught.value.name == name
    assert caught.value.obj is fastopt


@pytest.mark.parametrize("module", [module for module in MODULES if module not in HEAVY])
def test_errors_say_where_each_public_name_is(module):
    for name in set(public_names(module)) - set(fastopt.__all__):
        with pytest.raises(AttributeError, match=f"it is fastopt[.]{module}[.]{name}\\b"):
            getattr(fastopt, name)


@pytest.mark.parametrize("name", ["nonsense", "__wrapped__", "_private"])
def test_errors_of_names_that_are_nowhere(name):
    with pytest.raises(AttributeError) as caught:
        getattr(fastopt, name)
    assert str(caught.value) == f"fastopt has no attribute {name!r}"


def test_functions_are_those_of_their_modules():
    """What is loaded when it is asked for has a signature and can be pickled."""
    for name in fastopt.__all__:
        found = getattr(fastopt, name)
        assert pickle.loads(pickle.dumps(found)) is found
        assert inspect.isclass(found) or inspect.signature(found)
