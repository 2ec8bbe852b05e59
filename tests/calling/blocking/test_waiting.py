"""Waiting for a socket, with a deadline."""

from __future__ import annotations

import socket
from threading import TIMEOUT_MAX
from time import monotonic

from bgpy.calling.blocking.waiting import READABLE, WRITABLE, patience, poll


def test_time_is_what_is_left_of_it() -> None:
    """Never below nothing, and without end where there is no deadline."""
    assert 0 < patience(monotonic() + 30) <= 30
    assert patience(None) == -1
    assert patience(monotonic() - 1) == 0.0
    assert patience(float("inf")) == TIMEOUT_MAX


def test_socket_is_polled_for_what_it_can_do() -> None:
    """A closed one can be used: that tells."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert poll(ours, 0.0, WRITABLE)
        assert not poll(ours, 0.0, READABLE)
        theirs.send(b"x")
        assert poll(ours, 30.0, READABLE)
    assert poll(ours, 0.0, READABLE)
