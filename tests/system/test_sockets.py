"""What client and server both need to know of sockets."""

from __future__ import annotations

import socket

from bgpy.system.sockets import READABLE, WRITABLE, poll


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
