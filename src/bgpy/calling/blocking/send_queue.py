"""Requests on their way out: each leaves whole, one after the other.

A request that a thread waits for leaves at once. One that nobody waits for yet, while
others are under way, is gathered, and leaves with all that were gathered meanwhile. Nothing
here waits: what the socket doesn't take stays. The client's lock stands around all of it.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from bgpy.calling.conversation import Call
from bgpy.memory import Piece
from bgpy.system.sockets import MOST_PIECES, WRITABLE, poll
from bgpy.system.strikes import is_strike

if TYPE_CHECKING:
    from bgpy.calling.blocking.waiting import Stream

GATHERED = 2**15
"""Bytes of requests that are gathered at most before they leave."""

OVERFULL = 2**20
"""Bytes in the queue from which on a submit waits for room."""


Outgoing = tuple[Call, Piece, bool]
"""A piece of a call, and whether it is the last one."""


class SendQueue:
    """The sending side of a connection."""

    def __init__(self, sock: Stream) -> None:
        self._sock = sock
        self._send: Callable[..., int] = sock.send
        # What TLS sends never waits, and Windows has no such flag: there the socket's own
        # time-out lets a full one be noticed.
        self._now = 0
        if sys.platform != "win32" and isinstance(sock, socket.socket):
            self._now = socket.MSG_DONTWAIT
        self.waiting: deque[Outgoing] = deque()
        self.torn = False
        """Whether bytes leave, and it isn't noted yet how many: found so with the lock held,
        it was interrupted there, and nobody knows what has left."""
        self._size = 0

    def is_due(self, pending: int) -> bool:
        """Whether what was gathered is to leave now, where `pending` requests are expected.

        A request leaves at once if nothing else is under way (a small one is one piece), or
        enough have gathered.
        """
        return pending <= len(self.waiting) or self._size >= GATHERED

    @property
    def is_overfull(self) -> bool:
        """Whether the next submit should wait for room."""
        return self._size >= OVERFULL and bool(self.waiting)

    def send(self, call: Call, pieces: Sequence[Piece]) -> None:
        """Send `call` behind what waits, as far as the socket takes it now.

        `left` tells whether it has left whole. Raises `OSError` if the connection is lost.
        """
        if len(pieces) == 1:
            self.send_one(call, pieces[0])
        else:
            self.gather(call, pieces)
            self.push()

    def send_one(self, call: Call, piece: Piece) -> None:
        """As `send`, of a call in one piece."""
        if self.waiting:
            self.gather_one(call, piece)
            self.push()
            return
        now = self._now
        self.torn = True
        try:
            taken = self._send(piece, now) if now else self._send(piece)
        except OSError as error:
            taken = self._refused(error)
        if taken == len(piece):
            call.begun = call.left = True
        else:
            call.begun = taken > 0
            self.gather_one(call, memoryview(piece)[taken:])
        self.torn = False

    def holds(self, call: Call) -> bool:
        """Whether `call` waits, or the rest of it; what came last is looked at first."""
        return any(each is call for each, _, _ in reversed(self.waiting))

    def gather(self, call: Call, pieces: Sequence[Piece]) -> None:
        """Add `call` to what waits, whole or not at all."""
        last, size = len(pieces) - 1, sum(map(len, pieces))
        self.waiting.extend([(call, piece, at == last) for at, piece in enumerate(pieces)])
        self._size += size

    def gather_one(self, call: Call, piece: Piece) -> None:
        """As `gather`, of a call in one piece."""
        self.waiting.append((call, piece, True))
        self._size += len(piece)

    def push(self) -> None:
        """Send what the socket takes now; raises `OSError` if the connection is lost."""
        while self.waiting and not self.torn:
            pieces, size = self._next()
            self.torn = True
            try:
                taken = self._take(pieces)
            except OSError as error:
                taken = self._refused(error)
            self._note(taken)
            self.torn = False
            if taken < size:
                return

    def take_back(self, call: Call) -> None:
        """Forget a call of which nothing has left."""
        kept = [outgoing for outgoing in self.waiting if outgoing[0] is not call]
        self.waiting = deque(kept)
        self._size = sum(len(piece) for _, piece, _ in kept)

    def clear(self) -> None:
        """Forget all."""
        self.waiting.clear()
        self._size = 0

    def _next(self) -> tuple[list[Piece], int]:
        """What leaves in one system call: small requests together, and their size."""
        together: list[Piece] = []
        size = 0
        for _, piece, _ in islice(self.waiting, MOST_PIECES):
            together.append(piece)
            size += len(piece)
            if size >= 2 * GATHERED:
                break
        if len(together) > 1 and size <= 2 * GATHERED:
            return [b"".join(together)], size
        return together, size

    def _take(self, pieces: list[Piece]) -> int:
        """Bytes that the socket takes now."""
        if not self._now and not poll(self._sock, 0.0, WRITABLE):
            return 0  # it would wait
        if sys.platform == "win32" or len(pieces) == 1:
            return self._send(pieces[0], self._now) if self._now else self._send(pieces[0])
        if self._now and isinstance(self._sock, socket.socket):
            return self._sock.sendmsg(pieces, (), self._now)
        return self._sock.sendmsg(pieces)

    def _refused(self, error: OSError) -> int:
        """Bytes that a socket took which raised `error`: none, if it only has no room now."""
        if is_strike(error):
            raise error  # a signal handler's: nobody knows what has left
        if isinstance(error, (BlockingIOError, TimeoutError)):
            return 0
        self.torn = False  # it took nothing
        raise error

    def _note(self, taken: int) -> None:
        """Take `taken` bytes off what waits first."""
        waiting = self.waiting
        self._size -= taken
        while taken:
            call, piece, last = waiting[0]
            call.begun = True
            if taken < len(piece):
                waiting[0] = call, memoryview(piece)[taken:], last
                return
            taken -= len(piece)
            waiting.popleft()
            call.left = last
        if not waiting:
            self._size = 0  # whoever was interrupted while it gathered may not have counted
