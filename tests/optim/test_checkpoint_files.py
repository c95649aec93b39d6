"""Promise 17: a file is checked before it is unpacked, and a flipped bit is detected; files left by a save."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import ExitStack, suppress

import numpy as np
import pytest

from fastopt import optim
from fastopt.optim import atomic, checkpoint, file_npz, file_safetensors
from tests.optim.test_checkpoints import changed, every_ending, everything, left, trained
from tests.support import ROOT

DAMAGED = "is not a checkpoint of this NAdam, or damaged: "


def write(path, metadata, arrays):
    with open(path, "wb") as file:
        checkpoint.KINDS[path.suffix].write(file, metadata, arrays)


def assert_refused(optimizer, path, message):
    """With nothing changed, and without much memory."""
    before = everything(optimizer)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"^{path} {DAMAGED}.*{message}"):
            optimizer.load(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert everything(optimizer) == before


@every_ending
@pytest.mark.parametrize("version", [-1, 0, 1, 3, "2", None])
def test_other_versions_are_refused(tmp_path, ending, version):
    """Also of a file that has all else."""
    optimizer, path = trained(steps=1), tmp_path / f"state.{ending}"
    metadata, arrays = checkpoint._apart(trained().state_dict())
    write(path, json.dumps({**json.loads(metadata), "version": version}), arrays)
    assert_refused(optimizer, path, f"its version is {version}; expected 2$")
    write(path, metadata, arrays)
    optimizer.load(path)
    assert optimizer.step_count == 2


@every_ending
def test_a_lack_of_memory_is_no_damage(tmp_path, monkeypatch, ending):
    optimizer, path = trained(), tmp_path / f"state.{ending}"
    optimizer.save(path)

    def fail(*given):
        raise MemoryError("no memory")

    for module in (file_npz, file_safetensors):
        monkeypatch.setattr(module, "read_bytes", fail)
    with pytest.raises(MemoryError, match=r"^no memory$"):
        optimizer.load(path)


@every_ending
def test_every_flipped_bit_is_found(tmp_path, ending):
    """Of npz, some bits carry nothing, times for instance; of safetensors, none."""
    optimizer, path = trained(steps=1), tmp_path / f"state.{ending}"
    other = trained()
    other.save(path)
    whole, wanted, before, same = path.read_bytes(), everything(other), optimizer.state_dict(), 0

    def load():
        with suppress(ValueError):
            optimizer.load(path)
            return True
        return False

    for place in np.random.default_rng(0).choice(8 * len(whole), 1500, replace=False).tolist():
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        if load():
            same += 1
            assert everything(optimizer) == wanted
            optimizer.load_state_dict(before)
    assert same == 0 if ending == "safetensors" else same < 300
    path.write_bytes(whole)
    assert load()
    assert everything(optimizer) == wanted


# ---- npz


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {member.filename: archive.read(member) for member in archive.infolist()}


def write_members(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def npy(shape, descr="<f4", fortran=False, data=b""):
    """A member, of which nothing has to be true."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


#: 20 MB, which become 20 kB when they are deflated.
MANY = bytes(20_000_000)
HOSTILE_MEMBERS = {
    "one that was not asked for": ({"more.npy": npy((5_000_000,), data=MANY)}, "it has 'more'; expected only "),
    "one that is missing": ({"a.m.npy": None}, r"it lacks 'a\.m'"),
    "more than its header says": ({"a.m.npy": npy((2, 3), data=MANY)}, r"a\.m\.npy has 20000128 bytes; expected at"),
    "a header of 4 TiB": ({"a.m.npy": npy((1 << 40,))}, r"a\.m has shape \(1099511627776,\); expected \(2, 3\)"),
    "a metadata of 1 GiB": (
        {"metadata.npy": npy((), f"<U{1 << 28}")},
        r"metadata\.npy has 128 bytes; expected 1073741",
    ),
    "a metadata that is too long": ({"metadata.npy": npy((), "<U5000000", data=MANY)}, r"metadata\.npy has 2000012"),
    "a metadata of numbers": (
        {"metadata.npy": npy((3,), data=bytes(12))},
        r"metadata has dtype float32 and shape \(3,\)",
    ),
    "several metadata": (
        {"metadata.npy": npy((2,), "<U1", data=bytes(8))},
        r"metadata has dtype <U1 and shape \(2,\); expected a str",
    ),
    "too little": ({"a.m.npy": npy((2, 3), data=bytes(20))}, r"a\.m\.npy has 148 bytes; expected 152"),
    "a little more": ({"a.m.npy": npy((2, 3), data=bytes(28))}, r"a\.m\.npy has 156 bytes; expected 152"),
    "another dtype": ({"a.m.npy": npy((2, 3), "<i4", data=bytes(24))}, r"a\.m has dtype int32; expected float32"),
    "another byte order": ({"a.m.npy": npy((2, 3), ">f4", data=bytes(24))}, r"a\.m has dtype >f4; expected float32"),
    "objects": ({"a.m.npy": npy((2, 3), "|O", data=bytes(24))}, r"a\.m has dtype object; expected float32"),
    "another format": ({"a.m.npy": b"\x93NUMPY\x03\x00" + bytes(200)}, r"it has an array of format \(3, 0\)"),
    "no array": ({"a.m.npy": b"x" * 152}, "the magic string is not correct"),
    "a folder": ({"a.m/": b""}, r"it has 'a\.m/'; expected only 'metadata', "),
}


@pytest.mark.parametrize("hostile", HOSTILE_MEMBERS)
def test_members_are_checked_before_they_are_unpacked(tmp_path, hostile):
    change, message = HOSTILE_MEMBERS[hostile]
    optimizer, path = trained(), tmp_path / "state.npz"
    optimizer.save(path)
    write_members(path, members_of(path) | change)
    assert_refused(optimizer, path, message)


def test_a_member_given_twice_is_refused(tmp_path):
    optimizer, path = trained(), tmp_path / "state.npz"
    optimizer.save(path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.m.npy", npy((2, 3), data=bytes(24)))
    assert_refused(optimizer, path, r"it has a\.m\.npy twice$")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_whose_memory_a_file_chooses_are_refused(tmp_path, method):
    optimizer, path = trained(), tmp_path / "state.npz"
    optimizer.save(path)
    members = members_of(path)
    write_members(path, members, method)
    assert_refused(optimizer, path, rf"metadata\.npy is compressed by method {method}; expected 0 or 8")
    write_members(path, members, zipfile.ZIP_DEFLATED)
    optimizer.load(path)


def test_a_deflated_member_may_hold_more_than_it_declares(tmp_path):
    """The list of members has the size of the array; what is deflated is 20 MB."""
    optimizer, path = trained(), tmp_path / "state.npz"
    optimizer.save(path)
    write_members(path, members_of(path) | {"a.m.npy": npy((2, 3), data=MANY)})
    size, content = (128 + len(MANY)).to_bytes(4, "little"), path.read_bytes()
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (152).to_bytes(4, "little")))
    assert_refused(optimizer, path, r"Bad CRC-32 for file 'a\.m\.npy'")


def test_a_list_of_very_many_members_is_not_read(tmp_path):
    path = tmp_path / "state.npz"
    write_members(path, {f"{number}.npy": b"" for number in range(20_000)})
    assert_refused(trained(), path, r"it has \d+ bytes; expected at most \d+$")


def test_fortran_order_is_only_an_order(tmp_path):
    optimizer, path = trained(), tmp_path / "state.npz"
    wanted = np.arange(6, dtype=np.float32).reshape(2, 3)
    optimizer.save(path)
    write_members(path, members_of(path) | {"a.m.npy": npy((2, 3), fortran=True, data=wanted.tobytes("F"))})
    optimizer.load(path)
    assert np.array_equal(optimizer.state["a"]["m"], wanted)


# ---- safetensors


def with_header(content, place, value):
    """A file with one value of its header another."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(changed(json.loads(content[8 : 8 + length]), place, value)).encode()
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


FAR = [1 << 42, (1 << 42) + 24]
HOSTILE_HEADERS = {
    "a length of 4 TiB": (lambda c: (1 << 42).to_bytes(8, "little") + c[8:], "its header has 4398046511104 bytes"),
    "a length beyond the file": (lambda c: len(c).to_bytes(8, "little") + c[8:], "it ends 8 bytes early"),
    "an array of 4 TiB": (
        lambda c: with_header(c, ("a.m", "shape"), [1 << 40]),
        r"a\.m is stored as .*1099511627776.*;",
    ),
    "another dtype": (lambda c: with_header(c, ("a.m", "dtype"), "I32"), r"a\.m is stored as .*I32.*; expected .*F32"),
    "offsets beyond the file": (lambda c: with_header(c, ("a.m", "data_offsets"), FAR), r"a\.m is stored as "),
    "one that was not asked for": (lambda c: with_header(c, ("more",), {}), "its header has 'more'; expected only "),
    "one that is missing": (lambda c: with_header(c, ("a.m",), None), r"its header lacks 'a\.m'"),
    "one name twice": (lambda c: c.replace(b'"a.v"', b'"a.m"'), "its header has a name twice"),
    "no digest": (lambda c: with_header(c, ("__metadata__", "sha256"), None), "its metadata lacks 'sha256'"),
    "another digest": (lambda c: with_header(c, ("__metadata__", "sha256"), "0" * 64), "its digest does not match its"),
    "more bytes": (lambda c: c + b"x", r"it has \d+ bytes; expected \d+"),
    "fewer bytes": (lambda c: c[:-1], r"it has \d+ bytes; expected \d+"),
}


@pytest.mark.parametrize("hostile", HOSTILE_HEADERS)
def test_a_header_of_safetensors_is_checked_before_arrays_are_read(tmp_path, hostile):
    change, message = HOSTILE_HEADERS[hostile]
    optimizer, path = trained(), tmp_path / "state.safetensors"
    optimizer.save(path)
    path.write_bytes(change(path.read_bytes()))
    assert_refused(optimizer, path, message)


def test_a_name_may_look_like_the_place_of_the_digest(tmp_path):
    optimizer, path = trained(params={"0" * 64: np.ones(3, np.float32)}), tmp_path / "state.safetensors"
    optimizer.save(path)
    optimizer.load(path)


def test_arrays_of_safetensors_are_aligned_and_may_be_empty(tmp_path):
    """Whatever their order, and whatever the metadata's length."""
    for length in range(1, 9):
        params = {"p" * length: np.ones(3, np.float32), "empty": np.ones((0, 3)), "wide": np.ones(2)}
        optimizer, path = optim.Adam(params, state_dtype=np.float16), tmp_path / "state.safetensors"
        optimizer.save(path)
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        assert end % 8 == 0
        assert all(header[name]["data_offsets"][0] % 2 == 0 for name in header if name != "__metadata__")
        assert header["steps"]["data_offsets"][0] == 0
        optimizer.load(path)


# ---- Permissions


@every_ending
def test_a_new_file_has_the_permissions_of_new_files(tmp_path, ending):
    path = tmp_path / f"state.{ending}"
    umask = os.umask(0o027)
    try:
        trained().save(path)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@every_ending
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o660, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, monkeypatch, ending, mode):
    """And at no time may someone read the new one who could not read the old one."""
    path, seen = tmp_path / f"state.{ending}", []
    trained().save(path)
    path.chmod(mode)
    before, sync, kind = path.stat(), os.fsync, checkpoint.KINDS[path.suffix]
    real_write = kind.write

    def noted_sync(descriptor):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        sync(descriptor)

    def noted_write(file, *given):
        seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        real_write(file, *given)

    monkeypatch.setattr(kind, "write", noted_write)
    monkeypatch.setattr(os, "fsync", noted_sync)
    trained().save(path)
    after = path.stat()
    assert seen[:2] == [0o600, mode]
    assert stat.S_IMODE(after.st_mode) == mode
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_owner_and_group_are_kept_where_that_is_allowed(tmp_path, monkeypatch):
    """Else what the file's group was allowed to do is not for another group."""
    path, asked = tmp_path / "state.npz", []
    trained().save(path)
    path.chmod(0o664)
    real, before = os.stat, path.stat()
    other = os.stat_result((*before[:4], before.st_uid + 1, before.st_gid + 1, *before[6:]))
    owner = (other.st_uid, other.st_gid)

    def refuse(descriptor, *given):
        asked.append(given)
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda name, **options: other if name == str(path) else real(name, **options))
        patched.setattr(os, "fchown", lambda descriptor, *given: asked.append(given))
        trained().save(path)
        assert asked == [owner]
        patched.setattr(os, "fchown", refuse)
        trained().save(path)
        assert asked[1:] == [owner, (-1, owner[1])]
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"'{tmp_path}/nowhere'$"):
        trained().save(tmp_path / "nowhere" / "state.npz")


# ---- Unfinished files


HANGING = """
import os, sys, numpy as np
from fastopt.optim import Adam
optimizer, sync = Adam([np.ones(3, np.float32)]), os.fsync
def wait(descriptor):
    print("unfinished", flush=True)
    sys.stdin.readline()
    sync(descriptor)
os.fsync = wait
optimizer.save(sys.argv[1])
"""


@every_ending
def test_what_a_killed_process_leaves_is_removed_by_the_next_save(tmp_path, ending):
    """But not what another process is about to finish."""
    killed, alive, after = (tmp_path / f"{name}.{ending}" for name in ("killed", "alive", "next"))
    os.mkfifo(tmp_path / ".fastopt-pipe.tmp")
    with ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT, "text": True}
        children = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", HANGING, str(path)], **pipes))
            for path in (killed, alive)
        ]
        for child in children:
            assert child.stdout.readline() == "unfinished\n"
        children[0].kill()
        children[0].wait()
        assert len(left(tmp_path)) == 3
        trained().save(after)
        assert len(left(tmp_path)) == 3
        assert left(tmp_path)[2] == after.name
        children[1].communicate("\n\n")
        assert children[1].returncode == 0
    assert left(tmp_path) == [".fastopt-pipe.tmp", alive.name, after.name]
    optim.Adam([np.ones(3, np.float32)]).load(alive)


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, removed = atomic.fcntl.flock, []

    def late(descriptor, how):
        if not removed:
            removed.extend(left(tmp_path))
            os.unlink(tmp_path / removed[0])
        lock(descriptor, how)

    monkeypatch.setattr(atomic.fcntl, "flock", late)
    trained().save(tmp_path / "state.npz")
    assert len(removed) == 1
    assert left(tmp_path) == ["state.npz"]
    trained(steps=0).load(tmp_path / "state.npz")


def test_file_systems_without_locks(tmp_path, monkeypatch):
    """Nothing is taken for abandoned there."""

    def fail(*given):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(atomic.fcntl, "flock", fail)
    (tmp_path / ".fastopt-0.tmp").write_bytes(b"")
    trained().save(tmp_path / "state.npz")
    assert left(tmp_path) == [".fastopt-0.tmp", "state.npz"]
