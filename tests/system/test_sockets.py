"""What client and server both need to know of sockets."""

from __future__ import annotations

import socket
from contextlib import suppress

from bgpy.system.sockets import READABLE, WRITABLE, poll, writable


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
