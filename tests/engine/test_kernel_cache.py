"""Promise 16: machine code on disk is loaded only if nobody but this user can have written it."""

from __future__ import annotations

import os
import pwd
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastopt.backends import disk_cache as cache
from fastopt.config import config
from tests.support import run_python

CODE = b"machine code" * 100


class Kernels:
    """Asks the cache for kernels, by a text, and knows how often one was compiled."""

    #: What code is refused with that is none: by llvmlite, say.
    refusal: Exception = RuntimeError("no machine code")

    def __init__(self) -> None:
        self.compiled = 0

    def __call__(self, text: str = "text") -> bytes:
        """Return a kernel's machine code."""
        return cache.kept("kind", [text], lambda: self.make(text), self.load)

    def make(self, text: str) -> bytes:
        """Compile it."""
        self.compiled += 1
        return CODE + text.encode()

    def load(self, code: bytes) -> bytes:
        """Refuse other code."""
        if not code.startswith(CODE):
            raise self.refusal
        return code


@pytest.fixture
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: Kernels) -> Path:
    """The cache's folder, with one kernel in it."""
    folder = tmp_path / "above" / "cache"
    monkeypatch.setenv("FASTOPT_CACHE_DIR", str(folder))
    assert kernels() == CODE + b"text"
    assert kernels() == CODE + b"text"
    assert kernels.compiled == 1
    return folder


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def assert_compiled_anew(kernels: Kernels, kept_again: bool = True) -> None:
    """The file was not loaded; the next one is, where it could be written."""
    compiled = kernels.compiled
    for more in (1, 1 if kept_again else 2):
        assert kernels() == CODE + b"text"
        assert kernels.compiled == compiled + more


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make another user the owner; without the right to, let the system say so."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        return
    number, fstat = path.stat().st_ino, os.fstat

    def of_another_user(descriptor: int) -> os.stat_result:
        found = fstat(descriptor)
        return os.stat_result((*found[:4], 12345, *found[5:])) if found.st_ino == number else found

    monkeypatch.setattr(os, "fstat", of_another_user)


# ---- Files that others can have written


def test_only_this_user_can_read_and_write(folder: Path) -> None:
    assert [path.stat().st_mode & 0o777 for path in (folder, only_file(folder))] == [0o700, 0o600]


def test_file_of_another_user(folder: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    give_away(only_file(folder), monkeypatch)
    assert_compiled_anew(kernels)


def test_folder_of_another_user(folder: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    content = only_file(folder).read_bytes()
    give_away(folder, monkeypatch)
    assert_compiled_anew(kernels, kept_again=False)
    assert only_file(folder).read_bytes() == content
    assert config()["fastopt"]["kernel cache"] == (
        f"not used: {folder} is owned by user 12345; expected {os.geteuid()}, this user"
    )


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_file_that_others_may_write(folder: Path, kernels: Kernels, mode: int) -> None:
    only_file(folder).chmod(mode)
    assert_compiled_anew(kernels)
    assert only_file(folder).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_folder_that_others_may_write(folder: Path, kernels: Kernels, mode: int) -> None:
    folder.chmod(mode)
    assert_compiled_anew(kernels, kept_again=False)
    kernels("another")
    only_file(folder)
    expected = f"{folder} has mode {mode:04o}; expected one in which only the owner can write"
    assert config()["fastopt"]["kernel cache"] == f"not used: {expected}"


def test_a_folder_is_checked_where_it_is_opened(folder: Path, kernels: Kernels) -> None:
    """Whoever owns the folder above may put another one there: that one is checked."""
    moved = folder.rename(folder.with_name("moved"))
    shutil.copytree(moved, folder)
    folder.chmod(0o777)
    assert_compiled_anew(kernels, kept_again=False)


def test_a_folder_may_be_a_link_to_a_private_one(folder: Path, kernels: Kernels) -> None:
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("moved")
    kernels()
    assert kernels.compiled == 1
    folder.with_name("moved").chmod(0o777)
    assert_compiled_anew(kernels, kept_again=False)


def test_link_to_a_file_elsewhere(folder: Path, kernels: Kernels, tmp_path: Path) -> None:
    path = only_file(folder)
    elsewhere = path.rename(tmp_path / "elsewhere")
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert_compiled_anew(kernels)
    assert not only_file(folder).is_symlink()
    assert elsewhere.read_bytes() == before


@pytest.mark.timeout(20)
def test_fifo(folder: Path, kernels: Kernels) -> None:
    path = only_file(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert_compiled_anew(kernels)
    assert only_file(folder).is_file()


@pytest.mark.timeout(20)
def test_fifo_in_the_place_of_the_folder(folder: Path, kernels: Kernels) -> None:
    shutil.rmtree(folder)
    os.mkfifo(folder, 0o700)
    assert_compiled_anew(kernels, kept_again=False)
    assert "Not a directory" in config()["fastopt"]["kernel cache"]


def test_folder_in_the_place_of_a_file(folder: Path, kernels: Kernels) -> None:
    path = only_file(folder)
    path.unlink()
    path.mkdir()
    assert_compiled_anew(kernels, kept_again=False)
    assert only_file(folder) == path


def test_a_huge_file_is_not_read(folder: Path, kernels: Kernels) -> None:
    os.truncate(only_file(folder), 2**40)
    assert_compiled_anew(kernels)


# ---- What is in them


def test_damaged_files(folder: Path, kernels: Kernels) -> None:
    path = only_file(folder)
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        assert_compiled_anew(kernels)
    for damaged in (b"", good[:4], good[:8], good[:40], good[:-1], good + b"\0", b"fastopt2" + good[8:]):
        path.write_bytes(damaged)
        assert_compiled_anew(kernels)
        assert path.read_bytes() == good


def test_file_of_another_kernel(folder: Path, kernels: Kernels) -> None:
    path = only_file(folder)
    kernels("another")
    (other,) = set(folder.iterdir()) - {path}
    shutil.copy(other, path)
    assert_compiled_anew(kernels)


@pytest.mark.parametrize("refusal", [RuntimeError, ValueError, OSError])
def test_good_digest_over_code_that_does_not_load(folder: Path, kernels: Kernels, refusal: type[Exception]) -> None:
    kernels.refusal = refusal("no machine code")
    only_file(folder).unlink()
    cache.kept("kind", ["text"], lambda: b"not an object file", lambda code: code)
    assert_compiled_anew(kernels)


def test_what_a_name_covers(folder: Path) -> None:
    """Texts that are one when they are joined are two, and what the environment holds may be no UTF-8."""
    covered = [
        ("kind", ["a", "b"]),
        ("kind", ["a\0b"]),
        ("kin", ["d", "ab"]),
        ("kind", ["\udcff"]),
        ("other", ["text"]),
    ]
    for kind, texts in covered:
        cache.kept(kind, texts, lambda: CODE, lambda code: code)
    assert len({path.name.rpartition("_")[2] for path in folder.iterdir()}) == 1 + len(covered)


STEP = """
import sys, numpy as np, fastopt
param, grad, average = (np.ones(4, sys.argv[1]) for _ in range(3))
fastopt.rmsprop(param, grad, average, lr=0.5, decay=0.0, eps=0.0, backend="numba")
print(param, "numba" in sys.modules)
"""


def test_kernel_of_another_type(tmp_path: Path) -> None:
    """float64's file in the place of float32's: it would read two numbers as one."""
    names = {}
    for dtype in ("f4", "f8"):
        before = set(tmp_path.iterdir())
        assert run_python(STEP, dtype, FASTOPT_CACHE_DIR=str(tmp_path)) == "[0.5 0.5 0.5 0.5] True\n"
        (names[dtype],) = set(tmp_path.iterdir()) - before
    shutil.copy(names["f8"], names["f4"])
    assert run_python(STEP, "f4", FASTOPT_CACHE_DIR=str(tmp_path)) == "[0.5 0.5 0.5 0.5] True\n"
    assert run_python(STEP, "f4", FASTOPT_CACHE_DIR=str(tmp_path)) == "[0.5 0.5 0.5 0.5] False\n"


BAD_OBJECT = """
from fastopt.backends import numba
numba.emit = lambda *_: b"no object file" * 50
numba.load = lambda code: 0
numba.kernel("update", "rmsprop", "float32")
"""


def test_object_file_that_llvm_refuses(tmp_path: Path) -> None:
    """Its digest is right. Numba compiles the kernel anew."""
    run_python(BAD_OBJECT, FASTOPT_CACHE_DIR=str(tmp_path))
    assert b"no object file" in only_file(tmp_path).read_bytes()
    for imported in (True, False):
        assert run_python(STEP, "f4", FASTOPT_CACHE_DIR=str(tmp_path)) == f"[0.5 0.5 0.5 0.5] {imported}\n"
    only_file(tmp_path)


# ---- Which folder


def test_relative_folder_of_ours(tmp_path: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FASTOPT_CACHE_DIR", "cache")
    with pytest.raises(ValueError, match=r"^FASTOPT_CACHE_DIR is 'cache'; expected an absolute path$"):
        kernels()
    assert not list(tmp_path.iterdir())
    assert config()["fastopt"]["kernel cache"].startswith("not used: FASTOPT_CACHE_DIR is 'cache'; expected")


@pytest.mark.parametrize("given", ["", "cache", "./cache"])
def test_relative_folder_of_xdg(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its specification says to ignore it."""
    monkeypatch.delenv("FASTOPT_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache.cache_folder() == tmp_path / ".cache" / "fastopt"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.cache_folder() == Path("/elsewhere/fastopt")


def test_no_home(tmp_path: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of users tells the home folder; a user who is not in it has none, and a relative one counts as none."""
    for name in ("FASTOPT_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert cache.cache_folder() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "fastopt"

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for home in (None, "home"):
        if home:
            monkeypatch.setenv("HOME", home)
        assert_compiled_anew(kernels, kept_again=False)
        assert not list(tmp_path.iterdir())
        assert config()["fastopt"]["kernel cache"].endswith("expected an absolute path: the home folder is unknown")


def test_a_system_without_owners(folder: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "geteuid")
    assert_compiled_anew(kernels, kept_again=False)
    assert config()["fastopt"]["kernel cache"] == "not used: this system does not tell the owner of a file"


def test_where_it_is(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config()["fastopt"]["kernel cache"] == str(folder)
    monkeypatch.setenv("FASTOPT_CACHE_DIR", str(tmp_path / "not yet"))
    assert config()["fastopt"]["kernel cache"] == str(tmp_path / "not yet")
    assert not (tmp_path / "not yet").exists()


# ---- Writing


def test_folder_that_is_only_read(folder: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel in the folder is loaded; any other is compiled at each call. (Root may write to any folder.)"""

    def refused(*_: object) -> None:
        raise PermissionError

    folder.chmod(0o500)
    monkeypatch.setattr(cache, "_write", refused)
    kernels()
    assert kernels.compiled == 1
    for compiled in (2, 3):
        kernels("another")
        assert kernels.compiled == compiled


def test_an_interrupted_write_leaves_nothing(folder: Path, kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        kernels("another")
    only_file(folder)


def test_what_killed_processes_left_is_removed(folder: Path, kernels: Kernels) -> None:
    old, new = folder / "old.tmp", folder / "new.tmp"
    for path in (old, new):
        path.touch()
    day_before = time.time() - 86400
    os.utime(old, (day_before, day_before))
    kernels("another")
    assert not old.exists()
    assert new.exists()


def test_processes_that_write_at_once(tmp_path: Path) -> None:
    program = """
import sys
from fastopt.backends.disk_cache import kept
made = []
for round in range(200):
    for number in range(3):
        covered, code = [str(round), str(number)], b"%d %d " % (round, number) * 1000
        assert kept("kind", covered, lambda: made.append(0) or code, bytes) == code
print(len(made))
"""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: run_python(program, FASTOPT_CACHE_DIR=str(tmp_path / "cache")), range(4)))
    assert sum(map(int, made)) >= 600
    assert len(list((tmp_path / "cache").iterdir())) == 600
    assert run_python(program, FASTOPT_CACHE_DIR=str(tmp_path / "cache")) == "0\n"
