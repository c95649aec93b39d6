"""Writes files.md, the list of the package's files, from the first sentence of each: `python docs/list_files.py`."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "fastopt"
HEADING = """\
# Every file of the package

Each file begins with a sentence that says what it is for; a .c or .pxd file has that of the .h or .pyx file of its
name. `python docs/list_files.py` collects these sentences. [architecture.md](architecture.md) says how the parts work
together.
"""

#: Where a file's first paragraph is. Of files of one name, the first kind in this order speaks for the others.
TEXT = {
    ".py": r'"""(.+?)(?:\n\n|""")',
    ".pyx": r'(?:#[^\n]*\n)*"""(.+?)(?:\n\n|""")',
    ".h": r"/\* (.+?)(?:\n \*\n| ?\*/)",
    ".c": r"/\* (.+?)(?:\n \*\n| ?\*/)",
    ".pxd": r'"""(.+?)(?:\n\n|""")',
}

#: What the build writes.
WRITTEN = {"fastopt_rules.h", "typed.pxd"}


def sources() -> list[list[Path]]:
    """Return the files, those of one name in one folder together."""
    found = [path for path in PACKAGE.rglob("*") if path.suffix in TEXT and path.name not in WRITTEN]
    kinds = list(TEXT)
    found.sort(key=lambda path: (path.parent.relative_to(PACKAGE).parts, path.stem, kinds.index(path.suffix)))
    return [list(files) for _, files in groupby(found, key=lambda path: path.with_suffix(""))]


def subject(files: list[Path]) -> str:
    """Return the first sentence of the file that has one."""
    for path in files:
        if match := re.match(TEXT[path.suffix], path.read_text(), re.DOTALL):
            text = " ".join(re.sub(r"(?m)^ *[*#] ", " ", match[1]).split())
            first = re.split(r"(?<=[.]) (?=[A-Z`\"])", text)[0]
            return first.rstrip(".").replace("|", "\\|").replace("``", "`")
    raise ValueError(f"{files[0]} begins with no sentence; expected one that says what it is for")


def listing() -> str:
    """Return the page."""
    page = [HEADING]
    for folder, rows in groupby(sources(), key=lambda files: files[0].parent):
        name = "/".join(("fastopt", *folder.relative_to(PACKAGE).parts))
        page.append(f"\n## {name}\n\n| file | subject |\n|---|---|\n")
        for files in rows:
            links = [
                f"[{path.name}](../{path.relative_to(PACKAGE.parent)})".replace("[__", "[\\_\\_") for path in files
            ]
            page.append(f"| {', '.join(links)} | {subject(files)} |\n")
    return "".join(page)


if __name__ == "__main__":
    (DOCS / "files.md").write_text(listing())
