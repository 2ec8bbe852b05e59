"""Requests on their way out: each leaves whole, one after the other.

A request that a thread waits for leaves at once. One that nobody waits for yet, while
others are under way, is gathered, and leaves with all that were gathered meanwhile:
when there is `GATHERED`, when the next request leaves, or when the thread that
gathers them has let another one run (milliseconds, at most).
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from bgpy.calling.blocking.waiting import TICK, WRITABLE, TimeOver, poll, seconds_left
from bgpy.calling.liveness import ServerWatch
from bgpy.memory import Piece
from bgpy.system.latch import Latch

if TYPE_CHECKING:
    from bgpy.calling.blocking.waiting import Stream

MOST_PIECES = 512
"""Pieces in one system call; below every platform's IOV_MAX."""

GATHERED = 2**15
"""Bytes of requests that are gathered at most before they leave."""


class CutOff(TimeOver):
    """The deadline was over when a request had left in part: the connection is of no use."""


class Sender:
    """The sending side of a connection; used by many threads, one at a time."""

    def __init__(self, sock: Stream, server: ServerWatch) -> None:
        self._sock = sock
        self._server = server
        self._turn = threading.Lock()
        self._gathering = threading.Lock()
        self._gathered: list[tuple[int, Piece]] = []
        self._size = 0
        self._forgotten = False
        self.bell = Latch()
        """Opened when something has been gathered: whoever waits here calls `flush`."""

    def send(self, pieces: list[Piece], deadline: float | None) -> None:
        """Send what was gathered, then all of `pieces`.

        Raises `TimeOver` if nothing had left by `deadline`, `CutOff` if a part had, and
        `OSError` if the connection or the server is gone.
        """
        if not self._turn.acquire(False):
            self._wait_for_turn(deadline)
        try:
            begun = False
            if self._gathered:
                if deadline is not None:
                    self._wait_writable(deadline, begun)
                # Taken out they must leave: nobody else knows of them any more.
                begun = True
                pieces = [*self._take(), *pieces]
            elif deadline is None and len(pieces) == 1:
                (piece,) = pieces
                try:
                    taken = self._sock.send(piece)
                except (TimeoutError, BlockingIOError):
                    taken = 0  # the server takes nothing now, or is gone: looked at below
                if taken == len(piece):
                    return
                pieces = [memoryview(piece)[taken:]]
            self._send_all(pieces, deadline, begun)
        except BaseException as error:
            if isinstance(error, CutOff) or not isinstance(error, TimeOver):
                self._end()
            raise
        finally:
            self._turn.release()

    def gather(self, request: int, piece: Piece) -> None:
        """Keep the small `request` until others join it; sends all when they are enough."""
        self._gathering.acquire()  # in half the time of `with`
        try:
            ring = not self._gathered
            self._gathered.append((request, piece))
            self._size += len(piece)
            full = self._size >= GATHERED
        finally:
            self._gathering.release()
        if full:
            self.flush(None)
        elif ring:
            self.bell.open()

    def flush(self, deadline: float | None) -> None:
        """Send what was gathered; raises as `send`."""
        if self._gathered:
            self.send([], deadline)

    def forget_in_child(self) -> None:
        """In a forked child: the parent sends what was gathered, and may hold the locks."""
        self._gathered = []
        self._turn = threading.Lock()
        self._gathering = threading.Lock()

    def forget(self) -> list[int]:
        """Forget what was gathered and never sent; gives the request ids."""
        self._forgotten = True
        with self._gathering:
            requests = [request for request, _ in self._gathered]
            self._gathered.clear()
            return requests

    def _wait_for_turn(self, deadline: float | None) -> None:
        """Wait until no other thread sends; one that was interrupted may never let go."""
        while not self._forgotten:
            if self._turn.acquire(timeout=min(TICK, seconds_left(deadline, TICK))):
                return
            if deadline is not None and monotonic() >= deadline:
                raise TimeOver
        raise ConnectionResetError("the connection has ended")

    def _end(self) -> None:
        """See that nothing more leaves: it would be taken for the rest of what left in part."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone already

    def _take(self) -> list[Piece]:
        with self._gathering:
            together = b"".join([piece for _, piece in self._gathered])
            self._gathered.clear()
            self._size = 0
            return [together] if together else []

    def _send_all(self, pieces: Sequence[Piece], deadline: float | None, begun: bool) -> None:
        left = list(pieces)
        while left:
            if deadline is not None:
                self._wait_writable(deadline, begun)
            rest = self._send_some(left)
            begun = begun or rest > 0
            while left and rest >= len(left[0]):
                rest -= len(left.pop(0))
            if rest:
                left[0] = memoryview(left[0])[rest:]

    def _send_some(self, pieces: Sequence[Piece]) -> int:
        """Bytes that the socket takes within a tick; `OSError` if the server is gone."""
        try:
            if sys.platform == "win32" or len(pieces) == 1:
                return self._sock.send(pieces[0])
            return self._sock.sendmsg(pieces[:MOST_PIECES])
        except (TimeoutError, BlockingIOError):
            if self._server.is_gone():
                raise ConnectionResetError("the server's process is gone") from None
            return 0

    def _wait_writable(self, deadline: float, begun: bool) -> None:
        """Wait until the socket takes bytes; a request cut off in the middle is the end."""
        while not (ready := poll(self._sock, min(seconds_left(deadline, 0.0), TICK), WRITABLE)):
            if monotonic() >= deadline:
                break
            if self._server.is_gone():
                raise ConnectionResetError("the server's process is gone")
        if begun and monotonic() >= deadline:
            raise CutOff
        if not ready:
            raise TimeOver
