"""Tables of the documentation that follow from the code: updates, environment variables, what is supported."""

from __future__ import annotations

import re
import runpy
from contextlib import nullcontext

import ml_dtypes
import numpy as np
import pytest

import fastopt
from fastopt import init
from fastopt.optim import SGD
from fastopt.scaling import StandardScaler
from tests.peers import require
from tests.support import ROOT, run_python

# ---- choosing-an-optimizer.md


def test_the_table_of_updates_is_current():
    """If this fails, run `python docs/list_updates.py`."""
    page = runpy.run_path(str(ROOT / "docs" / "list_updates.py"))["page"]()
    assert (ROOT / "docs" / "choosing-an-optimizer.md").read_text() == page


@pytest.mark.peers
@pytest.mark.parametrize(("column", "module"), [(0, "torch.optim"), (1, "optax"), (2, "keras.optimizers")])
def test_names_in_other_libraries_exist(column, module):
    require(module)
    table = runpy.run_path(str(ROOT / "docs" / "list_updates.py"))["ELSEWHERE"]
    names = [row[column] for row in table.values() if row[column] != "—"]
    program = f"import operator\nimport {module} as library\nfor name in {names}: operator.attrgetter(name)(library)"
    run_python(program, KERAS_BACKEND="torch")


# ---- environment-variables.md


def test_the_page_lists_every_environment_variable_that_is_read():
    sources = [path for folder in ("fastopt", "tests") for path in (ROOT / folder).rglob("*.py*")]
    sources += [ROOT / "setup.py", *(ROOT / ".ci").iterdir()]
    read = set()
    for path in sources:
        if path.suffix not in (".pyc", ".pyi"):
            read.update(re.findall(r"""(?:environ(?:\.get\(|\[)|getenv\()["']([A-Z_]+)["']""", path.read_text()))
    assert not any("getenv(" in path.read_text() for path in (ROOT / "fastopt").rglob("*.[ch]"))
    page = (ROOT / "docs" / "environment-variables.md").read_text()
    listed = {name for cell in re.findall(r"^\| (`[A-Z].*?) \|", page, re.M) for name in re.findall("`(.+?)`", cell)}
    assert listed - read == {"CC", "CFLAGS", "LDFLAGS"}  # which setuptools reads
    assert read - listed == set()


# ---- support.md


def table_of(page, heading):
    """Return the first table under a heading, by its first column and then by the others' headings."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2]
    header, _, *rows = re.search(r"(?:^\|.*\n)+", section, re.M)[0].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[1:]}


@fastopt.rule
def plain_descent(param, grad, /, lr):
    return param - lr * grad


def feature_scaling(x, **options):
    StandardScaler(**options).fit(x).transform_(x)


#: A call of each family that the tables of support.md have a row for.
FAMILIES = {
    "updates": lambda x, **options: fastopt.sgd(x, x.copy(), lr=0.5, **options),
    "`fastopt.optim`": lambda x, **options: SGD([x], lr=0.5, **options).step([x.copy()]),
    "norms": lambda x, **options: fastopt.batch_norm_forward(x, **options),
    "feature scaling": feature_scaling,
    "initialisation and dropout": lambda x, **options: init.he_normal_(x, seed=1, **options),
    "residual connections": lambda x, **options: fastopt.residual_add(x, x.copy(), **options),
    "mini-batches": lambda x, **options: next(iter(fastopt.minibatches(x, batch_size=2, **options))),
    "users' rules (`fastopt.rule`)": lambda x, **options: plain_descent(x, x.copy(), lr=0.5, **options),
}


def test_storage_types_are_those_of_the_support_matrix():
    types = {"bfloat16": ml_dtypes.bfloat16, "integers": np.int64, "complex": np.complex64}
    for family, row in table_of("support.md", "Storage types").items():
        for name, said in row.items():
            x = np.arange(12).reshape(4, 3).astype(types.get(name, name))
            with nullcontext() if said == "yes" else pytest.raises(TypeError, match="has dtype"):
                FAMILIES[family](x)


def test_backends_are_those_of_the_support_matrix():
    for family, row in table_of("support.md", "Backends").items():
        if family != "`fastopt.torch`":  # which has no `backend=`
            for name in ("cython", "numba", "reference"):
                refused = (ValueError, TypeError) if row[name] != "yes" else ()
                with pytest.raises(refused) if refused else nullcontext():
                    FAMILIES[family](np.ones((4, 3), np.float32), backend=name)


def test_versions_of_python_are_those_of_the_support_matrix():
    supported = table_of("support.md", "Python and its packages")["CPython"]["supported"].split(", ")
    project = (ROOT / "pyproject.toml").read_text()
    assert supported == re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    tried = re.search(r"for version in (.*); do", (ROOT / ".ci" / "run").read_text())[1].split()
    assert set(tried) < set(supported)
