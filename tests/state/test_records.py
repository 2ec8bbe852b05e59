"""Records: who is found at an address, and when a server counts as alive."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bgpy.errors import StartupError
from bgpy.state import claims, folders, records, tokens
from bgpy.system import machine, processes
from tests.support.claimed import ADDRESS, own_record, server
from tests.support.tokens import token_for

fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_find_gives_record_when_server_lives(claim: claims.Claim) -> None:
    """What the server wrote is found by its address."""
    assert records.find(ADDRESS) == own_record()
    assert token_for(ADDRESS) == "secret"
    assert records.find(ADDRESS) == own_record()


def test_record_says_for_people_where_its_server_comes_from() -> None:
    """As far as that is known; a record of an earlier version says nothing."""
    assert own_record().origin() == ""
    record = records.Record.of_this_process(ADDRESS, b"", "1", script="/me/run.py")
    assert re.fullmatch(
        rf"/me/run.py, in {re.escape(os.getcwd())}, at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d",
        record.origin(),
    )
    assert replace(record, script="", init_file="tasks.py").origin().startswith("tasks.py, in ")


def test_fate_is_told_as_far_as_it_is_known() -> None:
    """A process of another boot or another container isn't said to have crashed."""
    record = records.Record.of_this_process(ADDRESS, b"", "1")
    assert record.fate() == f"its process {os.getpid()} was killed or crashed"
    assert "before this machine was last started" in replace(record, boot_id="11" * 16).fate()
    if record.pid_namespace:
        assert "or its container has ended" in replace(record, pid_namespace=1).fate()


def test_put_away_says_in_the_record_of_that_process_alone_how_it_ended(
    claim: claims.Claim,
) -> None:
    """Whatever its address was; twice is harmless, and what is said first stays."""
    put_away = lambda process, why: records.put_away(process, "was killed", why)  # noqa: E731
    put_away(processes.ProcessId.of(os.getpid()), "lives")  # it keeps its own
    assert records.find(ADDRESS) == own_record()
    gone = replace(own_record(), pid=2**22 + 5)
    claim.write(gone, "secret")
    claim.close_in_child()
    put_away(processes.ProcessId(gone.pid, "another"), "not this one")
    assert os.path.exists(claim.folder.record)
    for why in ("by hand", "once more"):
        put_away(processes.ProcessId(gone.pid, gone.start_time), why)
        assert not os.path.exists(claim.folder.record)
        assert not os.path.exists(claim.folder.token)
        left = records.find_ended(ADDRESS)
        assert left is not None
        assert re.fullmatch(r"it was killed at 20.*:\d\d: by hand", left.fate())
        assert records.find_dead(ADDRESS) is None


def test_find_gives_nothing_when_nothing_was_there() -> None:
    """Looking makes no folders."""
    assert records.find(ADDRESS) is None
    assert token_for(ADDRESS) is None
    records.prune()
    assert not os.path.exists(folders.home())


def test_find_gives_nothing_when_server_released(claim: claims.Claim) -> None:
    """A server that ended leaves its log only, and its address free; twice is harmless."""
    Path(claim.folder.log).write_text("printed")
    claim.release()
    claim.release()
    assert records.find(ADDRESS) is None
    assert records.find(ADDRESS) is None
    assert {"record.json", "token"}.isdisjoint(os.listdir(claim.folder.path))
    again = claims.claim(ADDRESS)
    again.release()
    assert Path(claim.folder.log).read_text() == "printed"


@pytest.mark.parametrize(
    "change", [{"start_time": "0"}, {"boot_id": "11" * 16}, {"pid": 2**22 + 5}, {"pid": 0}]
)
def test_find_gives_nothing_when_process_is_another(
    claim: claims.Claim, change: dict[str, object]
) -> None:
    """A lock that is held isn't enough: the process must be the one that wrote the record."""
    claim.write(replace(own_record(), **change), "secret")
    assert records.find(ADDRESS) is None
    assert token_for(ADDRESS) is None


def test_find_gives_nothing_when_lock_is_free(claim: claims.Claim) -> None:
    """A process that exists isn't enough: it must hold the lock."""
    claim.close_in_child()
    assert os.path.exists(claim.folder.record)
    assert records.find(ADDRESS) is None


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "\xff", '{"host": "x"}'])
def test_find_gives_nothing_when_record_is_damaged(claim: claims.Claim, content: str) -> None:
    """A record that can't be understood is none."""
    Path(claim.folder.record).write_bytes(content.encode("latin-1"))
    assert records.find(ADDRESS) is None


def test_find_gives_record_when_later_version_wrote_more(claim: claims.Claim) -> None:
    """Fields that this version doesn't know are passed over."""
    path = Path(claim.folder.record)
    path.write_text(json.dumps({**json.loads(path.read_text()), "later": 1}))
    assert records.find(ADDRESS) == own_record()


def test_token_is_none_when_server_keeps_none() -> None:
    """A server may keep its token to itself."""
    claim = claims.claim(ADDRESS)
    claim.write(own_record(), None)
    assert records.find(ADDRESS) is not None
    assert token_for(ADDRESS) is None
    claim.release()


def test_forget_removes_record_when_server_died() -> None:
    """Record and token of a dead server go; forgetting again is harmless."""
    with server() as first:
        first.kill()
        first.wait()
    records.prune()
    records.prune()
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
            with pytest.raises(StartupError, match="still holds its lock"):
                claims.claim(ADDRESS)
        finally:
            os.kill(child, signal.SIGKILL)
            assert processes.ProcessId(child, start).wait(60)
    claims.claim(ADDRESS).release()


def test_addresses_are_apart_when_both_have_servers(claim: claims.Claim) -> None:
    """Servers on two ports don't know of each other."""
    other = claims.claim(("127.0.0.1", 54322))
    assert records.find(("127.0.0.1", 54322)) is None
    other.release()
    assert records.find(ADDRESS) == own_record()


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits that bite, and /proc")
def test_find_claims_nothing_when_there_is_no_descriptor_left(claim: claims.Claim) -> None:
    """Neither a dead server nor a raw error: what is lacking, and what to do."""
    code = (
        "import resource, json\n"
        "from bgpy.errors import StartupError; from bgpy.state import records\n"
        f"assert records.find({tuple(ADDRESS)}).pid == {os.getpid()}\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        f"try: print(records.find({tuple(ADDRESS)}))\n"
        "except StartupError as error: print(error.advice)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("close files"), done.stdout + done.stderr


@pytest.mark.parametrize("start_time", ["", "hidden"])
def test_lock_decides_when_the_process_cannot_be_seen(
    claim: claims.Claim, start_time: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that holds its lock is found; one that doesn't is dead, seen or not."""

    def unseen(pid: int) -> str:
        raise processes.Unseen(pid)

    claim.write(replace(own_record(), start_time=start_time), "secret")
    monkeypatch.setattr(processes, "start_time", unseen)
    assert records.find(ADDRESS) is not None
    records.prune()
    assert token_for(ADDRESS) == "secret"
    claim.close_in_child()
    assert records.find(ADDRESS) is None


def test_pid_means_nothing_in_another_namespace(claim: claims.Claim) -> None:
    """A container's server isn't taken for dead by its host, which counts otherwise."""
    if not processes.pid_namespace():
        pytest.skip("this system has no pid namespaces")
    elsewhere = replace(own_record(), pid=2**22 + 5, pid_namespace=1)
    claim.write(elsewhere, "secret")
    assert records.find(ADDRESS) == elsewhere


def test_find_dead_gives_the_record_of_a_server_that_was_killed() -> None:
    """Not that of one which lives, nor of one that ended in order."""
    with server() as first:
        assert records.find_dead(ADDRESS) is None
        first.kill()
        first.wait()
        dead = records.find_dead(ADDRESS)
        assert dead is not None
        assert dead.pid == first.pid
    again = claims.claim(ADDRESS)
    assert records.find_dead(ADDRESS) is None
    again.release()
    assert records.find_dead(ADDRESS) == dead  # that one never was ready
    again = claims.claim(ADDRESS)
    again.write(own_record(), None)
    again.release("ended in order")
    assert records.find_dead(ADDRESS) is None


def test_dead_server_is_put_away_by_whoever_looks() -> None:
    """Its token goes; its record says how it ended, until the next server is there."""
    with server() as first:
        first.kill()
        first.wait()
    place = folders.folder(*ADDRESS)
    assert os.path.exists(place.token)
    assert records.find(ADDRESS) is None
    left = set(os.listdir(place.path))
    assert {"record.json", "token"}.isdisjoint(left)
    assert "ended.json" in left
    dead = records.find_dead(ADDRESS)
    assert dead is not None
    assert dead.pid == first.pid
    assert records.last(place) == dead
    assert records.written_by(bytes.fromhex(dead.incarnation), ADDRESS) == dead
    claim = claims.claim(ADDRESS)
    assert records.find_dead(ADDRESS) is None
    claim.write(own_record(), None)
    claim.release()
    assert "ended.json" not in os.listdir(place.path)


def test_prune_puts_away_dead_servers_at_any_address(claim: claims.Claim) -> None:
    """And no living one, nor one that is just starting; an unreadable record stays."""
    starting = claims.claim(("127.0.0.1", 2))
    dead = claims.claim(("127.0.0.1", 3))
    record = replace(own_record(), port=3)
    dead.write(record, "secret")
    dead.close_in_child()
    torn = claims.claim(("127.0.0.1", 4))
    torn.write(record, "secret")
    torn.close_in_child()
    Path(torn.folder.record).write_text("{")
    assert records.prune() == [record]
    assert records.prune() == []
    assert records.find(ADDRESS) == own_record()
    assert token_for(ADDRESS) == "secret"
    for place in (dead.folder, torn.folder):
        assert {"record.json", "token"}.isdisjoint(os.listdir(place.path))
    starting.release()


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read all")
def test_prune_passes_over_what_it_can_not_read(claim: claims.Claim) -> None:
    """A server starts nevertheless, and a client finds what it looks for."""
    dead = claims.claim(("127.0.0.1", 3))
    dead.write(replace(own_record(), port=3), "secret")
    dead.close_in_child()
    os.chmod(dead.folder.record, 0)
    assert records.prune() == []


def test_server_of_before_is_found_in_the_folder_of_its_host_name(
    claim: claims.Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines were told apart by their host names once; kept tokens were as well."""
    tokens.keep_token(("192.0.2.1", 5), "kept")
    once = os.path.join(folders.home(), "once")
    os.rename(folders.below_machine(), once)
    assert records.find(ADDRESS) is None
    monkeypatch.setattr(socket, "gethostname", lambda: "once")
    assert records.find(ADDRESS) == own_record()
    assert token_for(ADDRESS) == "secret"
    assert [place.path for place in folders.server_folders()] == [
        os.path.join(once, "servers", "127.0.0.1-54321")
    ]
    assert tokens.kept_token(("192.0.2.1", 5)) == "kept"
    os.rename(once, folders.below_machine())


def test_server_is_found_when_the_host_name_has_changed(
    claim: claims.Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record and token are kept by what stays of the machine."""
    monkeypatch.setattr(machine, "_identifier", lambda: "0123456789abcdef" * 2)
    monkeypatch.setattr(machine, "_name", "")
    again = claims.claim(ADDRESS)
    again.write(own_record(), "secret")
    monkeypatch.setattr(socket, "gethostname", lambda: "another.example.org")
    monkeypatch.setattr(machine, "_name", "")  # as in another process
    assert token_for(ADDRESS) == "secret"
    again.release()
