"""The way to a server ends when its time is over."""

from __future__ import annotations

import socket
from time import monotonic

import pytest

from bgpy.calling.blocking.dialling import limit


def test_limit_gives_a_socket_the_time_that_is_left() -> None:
    """It waits no longer than to the deadline."""
    with socket.socket() as sock:
        limit(sock, monotonic() + 30.0)
        assert 0 < (sock.gettimeout() or 0) <= 30.0


def test_limit_raises_when_the_time_is_over() -> None:
    """Also where there is always something to receive: nobody would look at the time else."""
    with socket.socket() as sock, pytest.raises(TimeoutError):
        limit(sock, monotonic())
