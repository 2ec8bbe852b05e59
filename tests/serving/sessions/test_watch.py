"""What a session's socket is watched for, wherever an exception strikes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import cast

import pytest

from bgpy.serving.io.poller import READ, WRITE, OnReady
from bgpy.serving.io.reactor import Reactor
from bgpy.serving.sessions.watch import Pause, Watch
from tests.support.strikes import Struck


class Recorder:
    """A reactor that knows what it watches for; raises where it is told to, before or after."""

    def __init__(self) -> None:
        self.watched: int | None = None
        self.strikes: list[str] = []

    def register(self, sock: socket.socket, events: int, handler: OnReady) -> None:
        assert self.watched is None, "it is watched already"
        self._do(events)

    def modify(self, sock: socket.socket, events: int, handler: OnReady) -> None:
        assert self.watched is not None, "it isn't watched"
        self._do(events)

    def unregister(self, sock: socket.socket) -> None:
        self._do(None)

    def _do(self, events: int | None) -> None:
        strike = self.strikes.pop(0) if self.strikes else ""
        if strike == "before":
            raise Struck
        self.watched = events
        if strike == "after":
            raise Struck


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


def _watch(sock: socket.socket) -> tuple[Watch, Recorder]:
    recorder = Recorder()
    watch = Watch(cast(Reactor, recorder), sock)
    watch.ready = lambda events: None
    return watch, recorder


def test_socket_is_read_unless_there_is_a_reason_not_to(sock: socket.socket) -> None:
    """And written to where something waits."""
    watch, recorder = _watch(sock)
    for paused, writes, events in [
        (0, False, READ),
        (0, True, READ | WRITE),
        (Pause.LINE_FULL, True, WRITE),
        (Pause.LINE_FULL | Pause.CLOGGED, False, None),
        (Pause.CLOGGED, False, None),
        (0, False, READ),
    ]:
        watch.paused = paused
        watch.attend(writes)
        assert recorder.watched == events
        assert watch.events == events or (watch.events, events) == (0, None)


@pytest.mark.parametrize("before", [0, READ, READ | WRITE])
@pytest.mark.parametrize("after", [0, READ, READ | WRITE])
@pytest.mark.parametrize("strike", ["before", "after"])
def test_watch_is_right_in_the_end_when_a_change_was_struck(
    sock: socket.socket, before: int, after: int, strike: str
) -> None:
    """The change is made again, whether it was made before or not."""
    watch, recorder = _watch(sock)
    watch.set(before)
    if before != after:
        recorder.strikes = [strike]
        with pytest.raises(Struck):
            watch.set(after)
    watch.set(after)
    assert recorder.watched == (after or None)
    watch.close()
    assert recorder.watched is None


def test_closed_socket_is_left_alone(sock: socket.socket) -> None:
    """Its number may be another's by now."""
    watch, recorder = _watch(sock)
    watch.set(READ)
    sock.close()
    watch.close()
    assert recorder.watched == READ
