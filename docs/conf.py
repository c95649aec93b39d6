"""The documentation's site: ``pip install -e '.[docs]'``, then ``python -m sphinx -W --keep-going docs site``."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import fastopt
from fastopt.namespace import MODULES

ROOT = Path(__file__).parents[1]

#: The address of the repository's files at its newest state, such as ".../blob/main/", once there is one.
ADDRESS = ""

project = "fastopt"
author = "the fastopt developers"
copyright = author
version = release = fastopt.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx_copybutton"]
exclude_patterns = ["examples"]
default_role = "py:obj"
html_theme = "furo"
html_title = "fastopt"
myst_heading_anchors = 3
templates_path = ["templates"]
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
copybutton_prompt_text = ">>> "

#: A link to a file, but for those between pages.
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>(?!https?:|#)[^)\s]*)\)")


def write_api_pages() -> None:
    """Write a page for each public module, with a page for each of its public names behind it."""
    folder = ROOT / "docs" / "api"
    folder.mkdir(exist_ok=True)
    for name in ("fastopt", *(f"fastopt.{module}" for module in MODULES)):
        module = import_module(name)
        names = "\n".join(f"   {each}" for each in sorted(module.__all__))
        listed = f"\n.. currentmodule:: {name}\n\n.. autosummary::\n   :toctree: {name}\n\n{names}\n" if names else ""
        text = f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :no-members:\n{listed}"
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def readme() -> str:
    """Return the README, which begins the site's home page, with links as from within docs/."""
    text = (ROOT / "README.md").read_text()
    return re.sub(r"\]\((?!https?:|#)(docs/)?", lambda link: "](" if link[1] else "](../", text)


def link_out(app: Sphinx, docname: str, source: list[str]) -> None:
    """Lead links to files that are no pages to the repository, or leave their texts where it has no address."""
    if docname == "index":
        source[0] = f"{readme()}\n{source[0]}"

    def linked(link: re.Match[str]) -> str:
        path = link["target"].partition("#")[0]
        file = ((ROOT / "docs" / docname).parent / path).resolve()
        if not file.exists() or (file.suffix == ".md" and file.parent == ROOT / "docs"):
            return link[0]
        return f"[{link['text']}]({ADDRESS}{file.relative_to(ROOT)})" if ADDRESS else link["text"]

    source[0] = LINK.sub(linked, source[0])


def mark_formulas(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Put ``::`` before indented lines that no directive begins: they are formulas or code, not quotations."""
    marked: list[str] = []
    for number, line in enumerate(lines):
        before = marked[-1] if marked else ""
        starts = line.startswith("    ") and not before and not _is_indented(lines[:number])
        if starts and not re.search(r"::$|^\.\. ", _last(lines[:number])):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def _last(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")


def _is_indented(lines: list[str]) -> bool:
    return _last(lines).startswith(" ")


def setup(app: Sphinx) -> None:
    """Connect what changes pages and docstrings."""
    write_api_pages()
    app.connect("source-read", link_out)
    app.connect("autodoc-process-docstring", mark_formulas, priority=100)
