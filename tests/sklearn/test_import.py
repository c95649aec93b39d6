"""scikit-learn is an optional requirement: what imports it, and what is said where it is missing or too old."""

from __future__ import annotations

import doctest
import inspect
import re

import pytest

from tests.peers import peer
from tests.support import run_python


def test_fastopt_does_not_import_scikit_learn():
    code = "import sys, fastopt, fastopt.scaling; print(sorted(m for m in sys.modules if m.startswith('sklearn')))"
    assert run_python(code).strip() == "[]"


@pytest.mark.parametrize("stand_in", ["None", "types.ModuleType('sklearn')"], ids=["missing", "old"])
def test_missing(stand_in):
    code = f"""
import sys, types
sys.modules["sklearn"] = {stand_in}
import fastopt
assert not hasattr(fastopt, "sklearn")
try:
    import fastopt.sklearn
except fastopt.BackendUnavailable as error:
    print(error)
"""
    assert re.fullmatch(
        r"fastopt\.sklearn needs scikit-learn 1\.6 or later \(.*\); `pip install 'scikit-learn>=1.6'` installs it\n",
        run_python(code),
    )


@pytest.mark.peers
def test_names():
    ours = peer("fastopt.sklearn")
    assert dir(ours) == ["MaxAbsScaler", "MeanNormalizer", "MinMaxScaler", "StandardScaler", "Whitener"]
    text = doctest.DocTestParser().get_doctest(inspect.getdoc(ours), {}, "fastopt.sklearn", None, None)
    assert text.examples
    assert doctest.DocTestRunner().run(text).failed == 0


@pytest.mark.peers
@pytest.mark.parametrize("name", ["MaxAbsScaler", "MeanNormalizer", "MinMaxScaler", "StandardScaler", "Whitener"])
def test_docstrings(name):
    """Each class documents its parameters and fitted attributes, and has an example that gives what it says."""
    kind = getattr(peer("fastopt.sklearn"), name)
    doc = inspect.getdoc(kind)
    (test,) = doctest.DocTestFinder(recurse=False).find(kind, name, globs={})
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
    titles = re.split(r"^(\w[\w ]*)\n-{3,}\n", doc, flags=re.M)
    sections = dict(zip(titles[1::2], titles[2::2], strict=True))

    def entries(section):
        lines = re.findall(r"^(\S.*?) : ", sections[section], re.M)
        return [each for line in lines for each in line.split(", ")]

    assert entries("Parameters") == list(inspect.signature(kind).parameters)
    fitted = kind().fit([[1.0, 2.0], [2.0, 3.5], [4.0, 3.0]])
    found = {each for each in vars(fitted) if each.endswith("_") and not each.startswith("_")}
    assert found | {"feature_names_in_"} == {*entries("Attributes")}
