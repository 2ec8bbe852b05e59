"""What client and server both need to know of sockets."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

import pytest

from bgpy.system.sockets import READABLE, WRITABLE, end_is_under_way, poll, send_at_once, writable
from tests.support.peers import wait_until


def test_poll_tells_what_a_socket_is_ready_for() -> None:
    """And gives up when the time is over."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert poll(ours, 60, WRITABLE)
        assert not poll(ours, 0, READABLE)
        theirs.send(b"x")
        assert poll(ours, 60, READABLE)


def test_poll_says_ready_when_the_socket_is_closed() -> None:
    """Another thread may have closed it: what is done with it next tells."""
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    assert poll(ours, 60, READABLE)


def test_writable_gives_those_that_are() -> None:
    """One whose other end reads nothing isn't, and one that can't be connected is over."""
    full, far = socket.socketpair()
    with full, far, socket.socket() as refused, socket.create_server(("127.0.0.1", 0)) as probe:
        place = probe.getsockname()
        probe.close()
        refused.setblocking(False)
        with suppress(BlockingIOError, ConnectionRefusedError):
            refused.connect(place)
        full.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                full.send(bytes(2**16))
        assert writable([full, refused], 30.0) == [refused]
        assert writable([full], 0.0) == []
        assert writable([far], 30.0) == [far]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't tell")
@pytest.mark.skipif(sys.platform != "linux", reason="others have no such choice")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "10.0.0.7", "::12"])
def test_messages_leave_at_once_and_without_pacing_within_the_machine(host: str) -> None:
    """Between machines the system's own control of congestion stays."""
    with socket.socket() as sock:
        before = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        send_at_once(sock, host)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        after = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert after.rstrip(b"\0") == (
        b"reno" if host in ("127.0.0.1", "::1") else before.rstrip(b"\0")
    )


def test_end_is_under_way_until_the_other_system_has_all_before_it() -> None:
    """It comes behind all that was sent, which waits while the other end reads nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        near.setblocking(False)
        assert not end_is_under_way(near)
        with suppress(BlockingIOError):
            while True:
                near.send(bytes(2**20))
        near.shutdown(socket.SHUT_WR)
        assert end_is_under_way(near)
        while far.recv(2**20):
            pass
        wait_until(lambda: not end_is_under_way(near), "the end has arrived")
    assert not end_is_under_way(near)


def test_end_is_nowhere_under_way_but_over_tcp() -> None:
    """A Unix socket has it at once; whether its other end has read it is another question."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"x")
        ours.shutdown(socket.SHUT_WR)
        assert not end_is_under_way(ours)
