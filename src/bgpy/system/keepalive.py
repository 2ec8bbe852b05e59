"""How a connection to another machine learns that the other side is gone without a word."""

from __future__ import annotations

import socket
import sys
from typing import Protocol

IDLE = 30
"""Seconds of silence after which the other machine's kernel is asked whether it is there."""

INTERVAL, COUNT = 10, 3
"""Seconds from one question to the next, and how many go unanswered before it is gone."""

GONE = IDLE + INTERVAL * COUNT
"""Seconds after which a wait for a machine that lost its power or its cable ends."""


class Configurable(Protocol):
    """A TCP socket, or what speaks TLS over one."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """As `socket.socket.setsockopt`."""


def keep_alive(sock: Configurable) -> None:
    """Have a wait on the TCP socket `sock` end within `GONE` seconds of the other's loss.

    Keepalive notices a silent peer; `TCP_USER_TIMEOUT`, where there is one, a peer that
    acknowledges nothing of what was sent (tcp(7)). What a system lacks is left out.
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
        (getattr(socket, "TCP_USER_TIMEOUT", None), GONE * 1000),
    ):
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
