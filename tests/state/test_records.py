"""Tests of claiming an address and finding who has it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bgpy.address import Address
from bgpy.errors import StartupError
from bgpy.state import folders, records
from bgpy.state.records import Record
from bgpy.system import processes

fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
ADDRESS = Address("127.0.0.1", 54321)


def own_record(pid: int | None = None) -> Record:
    """The record of a server that this process, or `pid`, would be."""
    pid = pid or os.getpid()
    start = processes.start_time(pid)
    assert start is not None
    return Record(*ADDRESS, pid, start, processes.boot_id().hex(), "3.11", "1.0", "ab", "/log")


@pytest.fixture
def claim() -> Iterator[records.Claim]:
    """Give a claim of this process, whose record is written."""
    claim = records.claim(ADDRESS)
    claim.write(own_record(), "secret")
    yield claim
    claim.release()


SERVER = """
import os, sys
from bgpy.state import folders
from bgpy.system import processes
from bgpy.state import records
pid = os.getpid()
claim = records.claim({address})
start = processes.start_time(pid)
record = records.Record(*{address}, pid, start, processes.boot_id().hex(), "3", "1", "00")
claim.write(record, "of another process")
print("claimed", flush=True)
{then}
sys.stdin.read()
"""


@contextmanager
def server(then: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run another process that claims the address, and does `then`."""
    text = SERVER.format(address=tuple(ADDRESS), then=then)
    with subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"claimed\n"
        yield process
        process.kill()


def test_find_gives_record_when_server_lives(claim: records.Claim) -> None:
    """What the server wrote is found by its address."""
    assert records.find(ADDRESS) == own_record()
    assert records.token_for(ADDRESS) == "secret"
    assert records.is_alive(own_record())


def test_find_gives_nothing_when_nothing_was_there() -> None:
    """Looking makes no folders."""
    assert records.find(ADDRESS) is None
    assert records.token_for(ADDRESS) is None
    records.forget(ADDRESS)
    assert not os.path.exists(folders.home())


def test_find_gives_nothing_when_server_released(claim: records.Claim) -> None:
    """A server that ended leaves its log only, and its address free; twice is harmless."""
    Path(claim.folder.log).write_text("printed")
    claim.release()
    claim.release()
    assert records.find(ADDRESS) is None
    assert not records.is_alive(own_record())
    assert {"record.json", "token"}.isdisjoint(os.listdir(claim.folder.path))
    again = records.claim(ADDRESS)
    again.release()
    assert Path(claim.folder.log).read_text() == "printed"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_files_are_private_when_umask_is_open(claim: records.Claim) -> None:
    """Record, token and lock are the owner's alone, whatever the umask."""
    before = os.umask(0)
    try:
        claim.write(own_record(), "secret")
    finally:
        os.umask(before)
    for path in (claim.folder.record, claim.folder.token, claim.folder.lock, claim.folder.guard):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert sorted(os.listdir(claim.folder.path)) == ["guard", "lock", "record.json", "token"]


@pytest.mark.parametrize(
    "change", [{"start_time": "0"}, {"boot_id": "00" * 16}, {"pid": 2**22 + 5}, {"pid": 0}]
)
def test_find_gives_nothing_when_process_is_another(
    claim: records.Claim, change: dict[str, object]
) -> None:
    """A lock that is held isn't enough: the process must be the one that wrote the record."""
    claim.write(replace(own_record(), **change), "secret")
    assert records.find(ADDRESS) is None
    assert records.token_for(ADDRESS) is None


def test_find_gives_nothing_when_lock_is_free(claim: records.Claim) -> None:
    """A process that exists isn't enough: it must hold the lock."""
    claim.close_in_child()
    assert os.path.exists(claim.folder.record)
    assert records.find(ADDRESS) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "\xff", '{"host": "x"}'])
def test_find_gives_nothing_when_record_is_damaged(claim: records.Claim, content: str) -> None:
    """A record that can't be understood is none."""
    Path(claim.folder.record).write_bytes(content.encode("latin-1"))
    assert records.find(ADDRESS) is None


def test_find_gives_record_when_later_version_wrote_more(claim: records.Claim) -> None:
    """Fields that this version doesn't know are passed over."""
    path = Path(claim.folder.record)
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert records.find(ADDRESS) == own_record()


def test_token_is_none_when_server_keeps_none() -> None:
    """A server may keep its token to itself."""
    claim = records.claim(ADDRESS)
    claim.write(own_record(), None)
    assert records.find(ADDRESS) is not None
    assert records.token_for(ADDRESS) is None
    claim.release()


def test_claim_names_the_server_when_one_lives() -> None:
    """A second server is refused, naming the first, which stays as it was."""
    with server() as first:
        with pytest.raises(StartupError, match=rf"runs at 127\.0\.0\.1:54321 .*pid {first.pid}"):
            records.claim(ADDRESS)
        assert records.token_for(ADDRESS) == "of another process"
        records.forget(ADDRESS)
        assert records.token_for(ADDRESS) == "of another process"


def test_claim_is_refused_when_record_is_not_written_yet() -> None:
    """Of two that start at the same time one gets the address."""
    claim = records.claim(ADDRESS)
    with pytest.raises(StartupError, match="starting or ending"):
        records.claim(ADDRESS)
    claim.release()


def test_claim_takes_over_when_server_died() -> None:
    """What a killed server left is removed, and its address free."""
    with server() as first:
        first.kill()
        first.wait()
    place = folders.folder(*ADDRESS)
    assert os.path.exists(place.token)
    assert records.find(ADDRESS) is None
    claim = records.claim(ADDRESS)
    assert not os.path.exists(place.token)
    assert not os.path.exists(place.record)
    claim.release()


def test_forget_removes_record_when_server_died() -> None:
    """Record and token of a dead server go; forgetting again is harmless."""
    with server() as first:
        first.kill()
        first.wait()
    records.forget(ADDRESS)
    records.forget(ADDRESS)
    assert {"record.json", "token"}.isdisjoint(os.listdir(folders.folder(*ADDRESS).path))


@fork_only
def test_record_is_dead_when_only_a_forked_child_has_the_lock() -> None:
    """A child that keeps the dead server's lock is no server; who claims is told about it."""
    fork = "child = os.fork()\nif child: print(child, flush=True)"
    with server(fork) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        start = processes.start_time(child)
        assert start is not None
        first.kill()
        first.wait()
        try:
            assert records.find(ADDRESS) is None
            with pytest.raises(StartupError, match="still holds its place"):
                records.claim(ADDRESS)
        finally:
            os.kill(child, signal.SIGKILL)
            assert processes.wait_gone(child, start, 60)
    records.claim(ADDRESS).release()


@fork_only
def test_lock_is_free_when_forked_child_closed_its_copy() -> None:
    """A child that closes its copy of the lock leaves the address to the next server."""
    fork = (
        "child = os.fork()\n"
        "if not child: claim.close_in_child()\n"
        "if not child: print(os.getpid(), flush=True)"
    )
    with server(fork) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        start = processes.start_time(child)
        assert start is not None
        assert records.token_for(ADDRESS) == "of another process"
        first.kill()
        first.wait()
        try:
            records.claim(ADDRESS).release()
        finally:
            os.kill(child, signal.SIGKILL)
            assert processes.wait_gone(child, start, 60)


@fork_only
def test_release_leaves_server_alone_when_called_in_forked_child() -> None:
    """A forked child that cleans up doesn't take its parent off the map."""
    fork = (
        "child = os.fork()\n"
        "if not child:\n    claim.release()\n    os._exit(0)\n"
        "os.waitpid(child, 0)\nprint('released', flush=True)"
    )
    with server(fork) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"released\n"
        assert records.token_for(ADDRESS) == "of another process"


def test_addresses_are_apart_when_both_have_servers(claim: records.Claim) -> None:
    """Servers on two ports don't know of each other."""
    other = records.claim(("127.0.0.1", 54322))
    assert records.find(("127.0.0.1", 54322)) is None
    other.release()
    assert records.find(ADDRESS) == own_record()


def test_claim_removes_unfinished_files_when_their_writer_was_killed() -> None:
    """A token that was being written does not lie about when its server is dead."""
    place = records.claim(ADDRESS)
    place.release()
    unfinished = [f"{path}.0123abcd.new" for path in (place.folder.token, place.folder.record)]
    for path in unfinished:
        with open(path, "x", encoding="utf-8") as file:
            file.write("half of it")
    records.claim(ADDRESS).release()
    assert not any(map(os.path.exists, unfinished))
