"""The seam between a session and its socket: plain here, TLS as one more class.

Nothing here blocks, but for `wait_writable`.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

Piece = bytes | bytearray | memoryview

Receive = Callable[[memoryview], int | None]
Send = Callable[[Piece], int]

MOST_PIECES = 512
"""Pieces in one system call; below every platform's IOV_MAX."""


class Transport(Protocol):
    """A connection as a session sees it."""

    sock: socket.socket

    def direct(self) -> tuple[Receive, Send]:
        """What a session calls for each small message: `receive_into`, and `send` for one piece.

        Both may raise `BlockingIOError` where the methods give None or 0, so that they can
        be the socket's own.
        """

    def receive_into(self, memory: memoryview) -> int | None:
        """Bytes received into `memory`; 0 at the end of the stream, None if nothing is there."""

    def send(self, pieces: Sequence[Piece]) -> int:
        """Bytes taken of `pieces`, in their order; 0 if it takes none now."""

    def wait_writable(self, seconds: float) -> bool:
        """Whether it takes more, within `seconds`."""

    def shut_down(self) -> None:
        """Tell the peer that it is over; the descriptor stays."""

    def close(self) -> None:
        """Give the descriptor back."""


class PlainTransport:
    """Bytes as they are, over TCP or a Unix socket."""

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock

    def direct(self) -> tuple[Receive, Send]:
        return self.sock.recv_into, self.sock.send

    def receive_into(self, memory: memoryview) -> int | None:
        try:
            return self.sock.recv_into(memory)
        except (BlockingIOError, InterruptedError):
            return None

    def send(self, pieces: Sequence[Piece]) -> int:
        try:
            if len(pieces) == 1 or sys.platform == "win32":
                return self.sock.send(pieces[0])
            return self.sock.sendmsg(pieces[:MOST_PIECES])
        except (BlockingIOError, InterruptedError):
            return 0

    def wait_writable(self, seconds: float) -> bool:
        if sys.platform == "win32":
            return bool(select.select([], [self.sock], [], seconds)[1])
        poll = select.poll()
        poll.register(self.sock, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def shut_down(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was first

    def close(self) -> None:
        self.sock.close()
