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
        self.send_now: Callable[..., int] = sock.send
        """The socket's own, to be called with the `flags`, if there are any."""
        self.flags = 0
        """Of sending, so that it doesn't wait. What TLS sends never does, and Windows has no such
        flag: there the socket's own time-out lets a full one be noticed."""
        if sys.platform != "win32" and isinstance(sock, socket.socket):
            self.flags = socket.MSG_DONTWAIT
        self.waiting: deque[Outgoing] = deque()
        self.torn = False
        """Whether bytes leave, and it isn't noted yet how many: found so with the lock held,
        it was interrupted there, and nobody knows what has left."""
        self.size = 0
        """Bytes that wait."""

    def is_due(self, pending: int) -> bool:
        """Whether what was gathered is to leave now, where `pending` requests are expected.

        A request leaves at once if nothing else is under way (a small one is one piece), or
        enough have gathered.
        """
        return pending <= len(self.waiting) or self.size >= GATHERED

    @property
    def is_overfull(self) -> bool:
        """Whether the next submit should wait for room."""
        return self.size >= OVERFULL and bool(self.waiting)

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
        self.torn = True
        try:
            taken = self.send_now(piece, self.flags) if self.flags else self.send_now(piece)
        except OSError as error:
            taken = self.refused(error)
        if taken == len(piece):
            call.left = True
        else:
            self.gather_rest(call, piece, taken)
        self.torn = False

    def gather_rest(self, call: Call, piece: Piece, taken: int) -> None:
        """Add what is left of `call` in one piece, of which `taken` bytes have left."""
        call.begun = taken > 0
        self.gather_one(call, memoryview(piece)[taken:])

    def holds(self, call: Call) -> bool:
        """Whether `call` waits, or the rest of it; what came last is looked at first."""
        return any(each is call for each, _, _ in reversed(self.waiting))

    def gather(self, call: Call, pieces: Sequence[Piece]) -> None:
        """Add `call` to what waits, whole or not at all."""
        last, size = len(pieces) - 1, sum(map(len, pieces))
        self.waiting.extend([(call, piece, at == last) for at, piece in enumerate(pieces)])
        self.size += size

    def gather_one(self, call: Call, piece: Piece) -> None:
        """As `gather`, of a call in one piece."""
        self.waiting.append((call, piece, True))
        self.size += len(piece)

    def push(self) -> None:
        """Send what the socket takes now; raises `OSError` if the connection is lost."""
        while self.waiting and not self.torn:
            pieces, size, count = self._next()
            self.torn = True
            try:
                taken = self._take(pieces)
            except OSError as error:
                taken = self.refused(error)
            if taken == size and count == len(self.waiting):
                self._note_all()
            else:
                self._note(taken)
            self.torn = False
            if taken < size:
                return

    def take_back(self, call: Call) -> None:
        """Forget a call of which nothing has left."""
        kept = [outgoing for outgoing in self.waiting if outgoing[0] is not call]
        self.waiting = deque(kept)
        self.size = sum(len(piece) for _, piece, _ in kept)

    def clear(self) -> None:
        """Forget all."""
        self.waiting.clear()
        self.size = 0

    def _next(self) -> tuple[list[Piece], int, int]:
        """What leaves in one system call, its size, and how much of what waits it is.

        Small requests are put together.
        """
        if self.size <= 2 * GATHERED:
            together = [piece for _, piece, _ in self.waiting]
            size = sum(map(len, together))  # who was interrupted may not have counted some
            if len(together) > 1 and size <= 2 * GATHERED:
                return [b"".join(together)], size, len(together)
        return self._next_few()

    def _next_few(self) -> tuple[list[Piece], int, int]:
        """As `_next`, where not all that waits is small."""
        together: list[Piece] = []
        size = 0
        for _, piece, _ in islice(self.waiting, MOST_PIECES):
            together.append(piece)
            size += len(piece)
            if size >= 2 * GATHERED:
                break
        if len(together) > 1 and size <= 2 * GATHERED:
            return [b"".join(together)], size, len(together)
        return together, size, len(together)

    def _take(self, pieces: list[Piece]) -> int:
        """Bytes that the socket takes now."""
        if not self.flags and not poll(self._sock, 0.0, WRITABLE):
            return 0  # it would wait
        if sys.platform == "win32" or len(pieces) == 1:
            return self.send_now(pieces[0], self.flags) if self.flags else self.send_now(pieces[0])
        if self.flags and isinstance(self._sock, socket.socket):
            return self._sock.sendmsg(pieces, (), self.flags)
        return self._sock.sendmsg(pieces)

    def refused(self, error: OSError) -> int:
        """Bytes that a socket took which raised `error`: none, if it only has no room now."""
        if is_strike(error):
            raise error  # a signal handler's: nobody knows what has left
        if isinstance(error, (BlockingIOError, TimeoutError)):
            return 0
        self.torn = False  # it took nothing
        raise error

    def _note_all(self) -> None:
        """Take off all that waits."""
        for call, _, _ in self.waiting:
            call.left = True
        self.clear()

    def _note(self, taken: int) -> None:
        """Take `taken` bytes off what waits first."""
        waiting = self.waiting
        self.size -= taken
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
            self.size = 0  # whoever was interrupted while it gathered may not have counted
