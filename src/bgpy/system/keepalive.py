"""How a connection notices that the other machine is gone, though it sent nothing to say so.

A machine that loses its power or its cable says nothing. While nothing is under way, the
kernel asks it now and then (`keep_alive`); while bytes are, it repeats them, for a quarter
of an hour on Linux, so a wait looks itself whether anything is acknowledged (`is_silent`).

``TCP_USER_TIMEOUT`` would have the kernel do that, and is not used: it also ends a
connection whose other side is well and takes nothing for a while (tcp(7): "buffered data
may remain untransmitted (due to zero window size)"), as a server does whose queue is full.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Protocol

IDLE = 30
"""Seconds of silence after which the other machine's kernel is asked whether it is there."""

INTERVAL, COUNT = 10, 3
"""Seconds from one question to the next, and how many go unanswered before it is gone."""

GONE = IDLE + INTERVAL * COUNT
"""Seconds after which a wait for a machine that lost its power or its cable ends."""

_PROBES = struct.Struct("2xBB52xI")
"""Of ``struct tcp_info`` (linux/tcp.h): repetitions and probes without an answer, then
the milliseconds since the last acknowledgement."""


class Configurable(Protocol):
    """A TCP socket, or what speaks TLS over one."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """As `socket.socket.setsockopt`."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As `socket.socket.getsockopt`."""


def keep_alive(sock: Configurable) -> None:
    """Have a silent peer of the TCP socket `sock` noticed within `GONE` seconds.

    What a system lacks is left out.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "darwin":
        idle: int | None = socket.TCP_KEEPALIVE
    else:
        idle = getattr(socket, "TCP_KEEPIDLE", None)
    for option, value in (
        (idle, IDLE),
        (getattr(socket, "TCP_KEEPINTVL", None), INTERVAL),
        (getattr(socket, "TCP_KEEPCNT", None), COUNT),
    ):
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def is_silent(sock: Configurable) -> bool:
    """Whether the peer of the TCP socket `sock` has acknowledged nothing for `GONE` seconds.

    Known on Linux, of a connection that waits for an acknowledgement; False elsewhere and
    of a Unix socket. A peer that is well acknowledges also what it can't take now.
    """
    if sys.platform != "linux":
        return False
    try:
        information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _PROBES.size)
    except OSError:
        return False
    if len(information) < _PROBES.size:
        return False
    repeated, probed, since = _PROBES.unpack(information)
    # One alone may just be on its way: kernels answer no more than two a second.
    return bool(repeated + probed > 1 and since > GONE * 1000)
