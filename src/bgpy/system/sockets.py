"""What client and server both need to know of sockets."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Collection
from typing import Protocol, TypeVar

from bgpy.system.strikes import is_strike

MOST_PIECES = 512
"""Pieces in one system call; below every platform's IOV_MAX."""

RECEIVE_BUFFER = 2**18
"""Bytes received at once: the size of a buffer that all small messages share."""

READABLE, WRITABLE = 1, 2

_ENDING = (b"\x04", b"\x0b")
"""FIN_WAIT1 and CLOSING: the first byte of ``struct tcp_info`` (linux/tcp.h, net/tcp_states.h)."""


class Pollable(Protocol):
    """Anything with a socket's descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


class HasOptions(Protocol):
    """A socket, or what speaks TLS over one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As `socket.socket.getsockopt`."""


Socket = TypeVar("Socket", bound=Pollable)


def poll(sock: Pollable, seconds: float, events: int) -> bool:
    """Whether `sock` is `READABLE` or `WRITABLE` within `seconds`."""
    try:
        if sys.platform == "win32":
            watched = ([sock], []) if events is READABLE else ([], [sock])
            return any(select.select(*watched, [], seconds))
        poller = select.poll()
        poller.register(sock, select.POLLIN if events is READABLE else select.POLLOUT)
        return bool(poller.poll(seconds * 1000))
    except ValueError as error:
        if is_strike(error):
            raise
        return True  # closed by another thread: using it tells


def send_at_once(sock: socket.socket, host: str) -> None:
    """Have a TCP socket, whose other side is at the numeric `host`, send each message at once.

    Nothing is congested within a machine. So Linux is asked for its simplest control of that:
    others pace what is sent (BBR), or reckon at each acknowledgement.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if sys.platform == "linux" and (host == "::1" or host.startswith("127.")):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        except OSError as error:  # it isn't there, or not for everybody
            if is_strike(error):
                raise


def end_is_under_way(sock: HasOptions) -> bool:
    """Whether the peer's system has not acknowledged yet that this side of `sock` has ended.

    All that was sent before has arrived then. Known on Linux, of TCP; False elsewhere: what is sent
    through a Unix socket has arrived at once.
    """
    if sys.platform != "linux":
        return False
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except OSError as error:
        if is_strike(error):
            raise
        return False
    return state in _ENDING


def writable(socks: Collection[Socket], seconds: float) -> list[Socket]:
    """Those that are writable within `seconds`, or are not being connected any more."""
    if sys.platform == "win32":
        _, able, failed = select.select([], socks, socks, seconds)
        return list({*able, *failed})
    poller, of = select.poll(), {each.fileno(): each for each in socks}
    for descriptor in of:
        poller.register(descriptor, select.POLLOUT)
    return [of[descriptor] for descriptor, _ in poller.poll(seconds * 1000)]
