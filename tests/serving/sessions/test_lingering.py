"""A session that lingers: what is left leaves, then what comes is dropped."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from bgpy.serving.io.poller import READ, WRITE
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.sessions.life import TRANSITIONS, SessionEvent, SessionState
from bgpy.serving.sessions.lingering import drop, send_last

LEAVING = SessionState.LEAVING


class Ends:
    """Transport, outflow and watch of a session at once."""

    def __init__(self, waiting: bool = False, lost: BaseException | None = None) -> None:
        self.waiting = waiting
        self.lost = lost
        self.events = 0
        self.ended = 0
        self.coming: list[int | None] = []

    def set(self, events: int) -> None:
        self.events = events

    def end(self) -> None:
        self.ended += 1

    def receive_into(self, memory: memoryview) -> int | None:
        return self.coming.pop(0)


def _send_last(state: SessionState, ends: Any) -> SessionEvent | None:
    return send_last(state, ends, ends, ends)


def test_side_is_ended_once_when_everything_has_left() -> None:
    """Until then it waits to send; what comes is read all the while."""
    ends = Ends(waiting=True)
    assert _send_last(LEAVING, ends) is None
    assert (ends.events, ends.ended) == (READ | WRITE, 0)
    ends.waiting = False
    event = _send_last(LEAVING, ends)
    assert event is SessionEvent.SENT
    assert _send_last(TRANSITIONS[LEAVING, event], ends) is None
    assert (ends.events, ends.ended) == (READ, 1)


@pytest.mark.parametrize("waiting", [True, False])
def test_session_is_over_when_nothing_can_be_sent(waiting: bool) -> None:
    """There is nobody to wait for."""
    ends = Ends(waiting, OSError("reset"))
    assert _send_last(LEAVING, ends) is SessionEvent.OVER
    assert (ends.events, ends.ended) == (0, 0)


def test_what_comes_is_dropped_until_the_client_ends_its_side() -> None:
    """That nothing is there is no end."""
    ends: Any = Ends()
    ends.coming = [100, None, 0]
    assert [drop(ends, memoryview(bytearray(8))) for _ in range(3)] == [False, False, True]


def test_client_that_has_reset_the_connection_has_ended_its_side() -> None:
    """It is gone, and nothing more comes: no failure of the session's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = StreamTransport(ours)
        ours.send(b"x")
        theirs.close()  # over unread bytes
        assert drop(transport, memoryview(bytearray(8)))
    assert drop(transport, memoryview(bytearray(8)))
