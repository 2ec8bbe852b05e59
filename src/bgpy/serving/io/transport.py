"""The seam between a session and its socket, which may be one that speaks TLS.

Nothing here blocks, but for `wait_writable`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol

from bgpy.memory import Piece
from bgpy.system.sockets import MOST_PIECES, WRITABLE, end_is_under_way, poll
from bgpy.system.strikes import is_strike

JOINED = 2**16
"""Bytes up to which pieces are joined where they can't be sent together."""


class Stream(Protocol):
    """What is used of a connected socket; `bgpy.tls.stream` has those that speak TLS."""

    def recv_into(self, memory: memoryview, /) -> int:
        """Bytes received into `memory` (at least 16 KiB); 0 at the end of the stream."""

    def send(self, data: Piece, /) -> int:
        """Bytes taken of `data`. What was not is offered again, first, with the next call."""

    if sys.platform != "win32":

        def sendmsg(self, pieces: Sequence[Piece], /) -> int:
            """Bytes taken of `pieces`, in their order; likewise."""

    def setblocking(self, flag: bool, /) -> None:
        """Whether the others wait, or raise `BlockingIOError`."""

    def fileno(self) -> int:
        """The descriptor to be polled."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """As `socket.socket.getsockopt`."""

    def shutdown(self, how: int, /) -> None:
        """Tell the peer that it is over."""

    def close(self) -> None:
        """Give the descriptor back."""


class Transport(Protocol):
    """A connection as a session sees it."""

    sock: Stream
    """For each small message its own methods are called, which raise `BlockingIOError`."""

    def receive_into(self, memory: memoryview) -> int | None:
        """Bytes received into `memory`; 0 at the end of the stream, None if nothing is there."""

    def sending(self, pieces: Sequence[Piece]) -> Iterator[int]:
        """What sends `pieces` when its one item is asked for: the bytes taken, in their order.

        Asked from C, by ``list.extend`` say, it is one step for a signal's handler: what the
        socket took is noted, or nothing was taken. May raise `BlockingIOError`.
        """

    def wait_writable(self, seconds: float) -> bool:
        """Whether it takes more, within `seconds`."""

    def end(self) -> None:
        """Half-close: tell the peer that this side sends no more; receiving still works."""

    def is_ending(self) -> bool:
        """Whether the peer's system is known not to have all yet that was sent up to the `end`."""

    def shut_down(self) -> None:
        """Tell the peer that it is over; the descriptor stays."""

    def close(self) -> None:
        """Give the descriptor back."""


class StreamTransport:
    """A connection over a socket that doesn't block."""

    __slots__ = ("sock",)

    def __init__(self, sock: Stream) -> None:
        sock.setblocking(False)
        self.sock = sock

    def receive_into(self, memory: memoryview) -> int | None:
        try:
            return self.sock.recv_into(memory)
        except (BlockingIOError, InterruptedError) as error:
            if is_strike(error):
                raise
            return None

    def sending(self, pieces: Sequence[Piece]) -> Iterator[int]:
        if len(pieces) == 1:
            return map(self.sock.send, pieces)
        if sys.platform == "win32":
            return map(self.sock.send, (_joined(pieces),))
        return map(self.sock.sendmsg, (pieces[:MOST_PIECES],))

    def wait_writable(self, seconds: float) -> bool:
        return poll(self.sock, seconds, WRITABLE)

    def end(self) -> None:
        self._shut_down(socket.SHUT_WR)

    def is_ending(self) -> bool:
        return end_is_under_way(self.sock)

    def shut_down(self) -> None:
        self._shut_down(socket.SHUT_RDWR)

    def _shut_down(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError as error:
            if is_strike(error):
                raise
            # Else the peer was first.

    def close(self) -> None:
        self.sock.close()


def _joined(pieces: Sequence[Piece]) -> Piece:
    """What is sent at once of `pieces` where a system call takes but one: small ones together."""
    count, size = 0, 0
    for piece in pieces:
        size += len(piece)
        if size > JOINED:
            break
        count += 1
    return pieces[0] if count < 2 else b"".join(pieces[:count])
