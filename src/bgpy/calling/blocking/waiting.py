"""Waiting for a socket, with a deadline."""

from __future__ import annotations

import select
import socket
import struct
import sys
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING

from bgpy.system.deadlines import seconds_left

if TYPE_CHECKING:
    from bgpy.tls.stream import TlsSocket

    Stream = socket.socket | TlsSocket

TICK = 0.5
"""Seconds after which a waiting thread looks whether the server's process is gone."""

READABLE, WRITABLE = 1, 2


def set_tick(sock: Stream) -> None:
    """Let receiving give up after `TICK` seconds.

    Python's own timeout costs a system call before each; the kernel's costs none.
    """
    if sys.platform == "win32":
        sock.settimeout(TICK)
        return
    sock.settimeout(None)
    timeval = struct.pack("@ll", 0, int(TICK * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def patience(deadline: float | None) -> float:
    """Seconds until `deadline` as a latch takes them: -1 where there is none."""
    return -1 if deadline is None else min(seconds_left(deadline, 0.0), TIMEOUT_MAX)


def poll(sock: Stream, seconds: float, events: int) -> bool:
    """Whether `sock` is `READABLE` or `WRITABLE` within `seconds`."""
    try:
        if sys.platform == "win32":
            watched = ([sock], []) if events is READABLE else ([], [sock])
            return any(select.select(*watched, [], seconds))
        poller = select.poll()
        poller.register(sock, select.POLLIN if events is READABLE else select.POLLOUT)
        return bool(poller.poll(seconds * 1000))
    except ValueError:
        return True  # closed by another thread: using it tells
