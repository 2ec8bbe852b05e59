"""Waiting with a deadline: for a socket, and for another thread."""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
from time import monotonic

TICK = 0.5
"""Seconds after which a waiting thread looks whether the server's process is gone."""

READABLE, WRITABLE = 1, 2


class TimeOver(Exception):
    """The deadline of a wait is over; the call is still under way."""


def closed_gate() -> threading.Lock:
    """A lock as a gate: whoever acquires it waits until another thread opens it."""
    gate = threading.Lock()
    gate.acquire()
    return gate


def open_gate(gate: threading.Lock) -> None:
    """Let one through; no matter if it is open already."""
    try:
        gate.release()
    except RuntimeError:
        pass  # open already


def set_tick(sock: socket.socket) -> None:
    """Let receiving and sending give up after `TICK` seconds.

    Python's own timeout costs a system call before each; the kernel's costs none.
    """
    if sys.platform == "win32":
        sock.settimeout(TICK)
        return
    sock.settimeout(None)
    timeval = struct.pack("@ll", 0, int(TICK * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def seconds_left(deadline: float | None, without: float) -> float:
    """Seconds until `deadline`; `without` where there is none."""
    return without if deadline is None else max(0.0, deadline - monotonic())


def poll(sock: socket.socket, seconds: float, events: int) -> bool:
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
