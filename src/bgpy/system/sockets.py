"""What client and server both need to know of sockets."""

from __future__ import annotations

import select
import sys
from typing import Protocol

from bgpy.system.strikes import is_strike

MOST_PIECES = 512
"""Pieces in one system call; below every platform's IOV_MAX."""

RECEIVE_BUFFER = 2**18
"""Bytes received at once: the size of a buffer that all small messages share."""

READABLE, WRITABLE = 1, 2


class Pollable(Protocol):
    """Anything with a socket's descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


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
