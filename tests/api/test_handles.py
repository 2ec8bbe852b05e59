"""Tests of the handle, on processes that are no children of this one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client
from bgpy.api.handles import Handle
from bgpy.config import Options
from bgpy.errors import BgpyError, NotBgpy, ServerGone
from bgpy.process.launch import launch
from bgpy.state import claims, folders, records
from bgpy.system import processes
from bgpy.system.processes import ProcessId
from tests.support.meeting import Meeting
from tests.support.tasks.counting import TASKS
from tests.support.tokens import token_for

Start = Callable[..., tuple[Handle, Client]]


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meeting]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support" / "on_path"))
    meeting = Meeting()
    yield meeting
    meeting.close()


class Stop:
    """What the handle calls to terminate the server: ends the fake server's connection."""

    def __init__(self, meeting: Any) -> None:
        self.meeting = meeting
        self.calls = 0
        self.connection: Any = None

    def __call__(self, timeout: float | None) -> None:
        self.calls += 1
        self.connection.sendall(b".")


@pytest.fixture
def stop(meeting: Any) -> Stop:
    return Stop(meeting)


@pytest.fixture
def handle(meeting: Any, stop: Stop) -> Iterator[Handle]:
    options = Options(port=meeting.port, init_file="answer")
    handle = Handle(launch(options, "t" * 64, "fake_server"), terminate=stop)
    stop.connection, _ = meeting.accept()
    yield handle
    handle.kill()


def test_stop_terminates_and_waits_when_server_lives(handle: Handle, stop: Stop) -> None:
    """Stopping calls what terminates, and waits for the process."""
    assert handle.stop(60)
    assert stop.calls == 1
    assert not handle.is_alive()


def test_stop_does_nothing_when_server_is_gone(handle: Handle, stop: Stop) -> None:
    """A server that is gone already needs no terminating."""
    handle.kill()
    assert handle.stop(0)
    assert stop.calls == 0


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("kind", [NotBgpy, ServerGone])
def test_stop_of_a_server_that_ends_by_itself_meanwhile(
    handle: Handle, stop: Stop, ends: bool, kind: type[BgpyError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took no more calls, and its process is about to exit; one that stays is told of."""

    def turned_away(timeout: float | None) -> None:
        if ends:
            stop(timeout)
        raise kind("it let nobody in", progress="not started")

    monkeypatch.setattr(handle, "_terminate", turned_away)
    if ends:
        assert handle.stop(60)
        return
    monkeypatch.setattr("bgpy.api.handles.ENDING", 0.01)
    with pytest.raises(kind, match="nobody"):
        handle.stop(60)


def test_stop_tells_that_a_server_crashed_on_the_way(
    handle: Handle, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had taken the request: exit_task may not have run to its end."""

    def crashed(timeout: float | None) -> None:
        stop(timeout)
        raise ServerGone("it crashed", progress="unknown")

    monkeypatch.setattr(handle, "_terminate", crashed)
    with pytest.raises(ServerGone, match="crashed"):
        handle.stop(60)


def test_wait_gives_false_when_time_is_over(handle: Handle) -> None:
    """Waiting for a living server ends with its time."""
    assert not handle.wait(0)
    assert not handle.wait(-1)
    assert not handle.wait(0.01)


def test_kill_ends_process_when_it_is_no_child(handle: Handle) -> None:
    """After a kill the process is gone, and killing again is harmless."""
    handle.kill()
    assert not handle.is_alive()
    assert handle.wait(0)
    handle.kill()


def test_kill_removes_record_when_server_left_it(handle: Handle) -> None:
    """The record and token of a killed server go with it."""
    address = (handle.host, handle.port)
    start_time = processes.start_time(handle.pid)
    assert start_time is not None
    claim = claims.claim(address)
    boot = processes.boot_id().hex()
    record = records.Record(*address, handle.pid, start_time, boot, "3", "1", "00")
    claim.write(record, "secret")
    assert token_for(address) == "secret"
    claim.close_in_child()
    handle.kill()
    place = folders.folder(*address)
    assert not os.path.exists(place.record)
    assert not os.path.exists(place.token)


def test_kill_spares_process_when_start_time_differs(handle: Handle) -> None:
    """A process that has the pid now, but is another one, is left alone."""
    ProcessId(handle.pid, "0").kill()
    assert handle.is_alive()


def test_handle_says_which_time_limit_is_none(handle: Handle) -> None:
    """At once, before anything is waited for."""
    for call in (handle.wait, handle.stop):
        with pytest.raises(TypeError, match="timeout must be a number of seconds, not str"):
            call("5")  # type: ignore[arg-type]


def test_handle_claims_nothing_of_a_process_that_is_hidden(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alive as far as is known, and no other is killed in its place."""

    def unseen(pid: int) -> str:
        raise processes.Unseen(pid)

    with monkeypatch.context() as patch:
        patch.setattr(processes, "start_time", unseen)
        assert handle.is_alive()
        assert not handle.wait(0)
        with pytest.raises(BgpyError, match="can't see") as caught:
            handle.kill()
    assert caught.value.pid == handle.pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows that a process is ending")
def test_handle_is_not_alive_as_soon_as_its_process_is_taken_down(
    handle: Handle, stop: Stop
) -> None:
    """The end of a connection is told before the process is gone, and is its last sign of life."""
    os.kill(handle.pid, signal.SIGKILL)
    while stop.connection.recv(2**16):
        pass
    assert not handle.is_alive()
    assert handle.wait(0)


def test_handle_stops_its_server_at_the_end_of_a_with_block(start: Start) -> None:
    """Also if the block raises; exit_task runs."""
    started, client = start()
    client.initialize(*TASKS)

    def fail() -> None:
        with started as handle:
            assert handle is started
            assert handle.is_alive()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not started.is_alive()
