"""One live connection, shared by all threads of a client: what is sent over it, and waited for.

::

    Channel        calls, futures' calls, goodbye: what this side says, and what it waits for
      ├─ Shortcut  the same in few steps, for small calls
      ├─ Sent      what becomes of a call that was sent
      ├─ Reader    whose turn it is to read, and what came
      │    ├─ Turns, Standby
      │    └─► Link
      └─► Link     what leaves, which calls are under way, the end
           ├─ SendQueue      requests leave whole, one after another
           └─ Conversation   decides

What is below keeps nothing above it alive: a connection whose channel is gone, since nobody has the
client any more, is read by the standby until all that is under way is answered.

**The lock.** One lock of the client stands around everything but receiving: ids, what is
under way, the send queue, whose turn it is. Under it a request is sent as far as the socket
takes it *now*, so it is held for microseconds, and no wait is ever longer than its own
deadline. What the socket does not take stays in the queue; its caller waits outside for
room and pushes, whatever request is first in line. One that waits no longer, since its time
is over or it was interrupted, leaves the rest to the client's sender.

**Interrupts.** Two marks tell that the connection is of no use any more: the queue is `torn`
while bytes leave and it isn't noted how many, and the reader has its own (`reading`).
The next that takes the lock, or the turn, and finds such a mark knows that its owner was
struck down there, and ends the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic

from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.link import Link
from bgpy.calling.blocking.reading import LOOK_AFTER, Reader
from bgpy.calling.blocking.sent import Sent
from bgpy.calling.blocking.shared import NoReader, Shared, Unusable
from bgpy.calling.blocking.shortcut import Shortcut
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Answer, Call
from bgpy.memory import Payload, Piece
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.latch import Latch
from bgpy.system.strikes import is_strike
from bgpy.tasks import current
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.messages import Goodbye, Message


class Channel:
    """An authenticated connection and the calls under way on it."""

    def __init__(self, connected: Connected, shared: Shared, generation: int = 0) -> None:
        self.generation = generation
        """How many restarts the client had met when it was made."""
        self.link = link = Link(connected, shared)
        self.reader = Reader(link)
        self.connection = link.connection
        self.conversation = link.conversation
        self._here = shared.here
        self._lock = link.lock
        self._numbers = shared.numbers
        self._sends = link.sends
        self._turns = self.reader.turns
        self._sent = sent = Sent(link, self.reader)
        self.lost = sent.lost
        self.shortcut = Shortcut(link, self.reader, sent)

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended: then so has every call on it."""
        return self.link.has_ended

    def usable(self) -> bool:
        """Whether a request may be sent; a connection long idle is looked at first."""
        link, now = self.link, monotonic()
        idle = now - link.last_used
        link.last_used = now
        if idle > LOOK_AFTER and not link.has_ended:
            self.reader.look()
        return not link.has_ended and not link.closing

    # A call that somebody waits for

    def call(
        self,
        payload: Payload,
        chain: bytes,
        timeout: float | None,
        deadline: float | None,
    ) -> Answer:
        """As `request` of an `Execute`, which the calls of `chain` wait for."""
        request = (payload, True, chain_block(chain)) if chain else (payload, True)
        return self._ask(self.connection.execute, request, chain, timeout, deadline)

    def request(
        self,
        make: Callable[[int], Message],
        timeout: float | None,
        deadline: float | None,
    ) -> Answer:
        """Send the message that `make` makes of an id, and wait for its answer until `deadline`.

        The answer may be the `CallTimeout` or `ServerGone` that it ended in. Raises
        `Unusable` or `NoReader` if nothing was sent, and `MessageTooLarge`.
        """
        return self._ask(self._pieces, (make,), current.chain(), timeout, deadline)

    def _pieces(self, number: int, make: Callable[[int], Message]) -> list[Piece]:
        return self.connection.send(make(number))

    def _ask(
        self,
        pieces_of: Callable[..., list[Piece]],
        request: tuple[object, ...],
        chain: bytes,
        timeout: float | None,
        deadline: float | None,
    ) -> Answer:
        """Send what `pieces_of` makes of a new id and `request`, and wait for its answer."""
        call = Call()
        call.timeout = timeout
        if chain:
            call.chain = chain
        try:
            with self._lock:
                self._numbers.last = number = self._numbers.last + 1
                reads = self._begin(call, number, pieces_of(number, *request))
            return self._sent.answer_of(call, reads, deadline)
        except (Unusable, NoReader):
            raise
        except BaseException as error:
            return self._sent.failed(call, error)

    def _begin(self, call: Call, number: int, pieces: list[Piece]) -> bool:
        """With the lock held: send what the socket takes; whether the caller is to read."""
        self.link.check()
        reads = self._turns.enter(self._here.turn)
        if self.reader.torn and self.reader.is_struck(reads):
            raise Unusable
        if not reads:
            call.waker = Latch()
            self.reader.ask_standby()
        self.conversation.begin(call, number)
        self._sends.send(call, pieces)
        return reads

    # Chains of calls

    def waited_for(self, future: CallFuture) -> None:
        """In a task that waits for a future: the same for its call, once that is on its way."""
        if self.conversation.pending.get(future.request) is not future:
            return
        try:
            self.link.tell_chain(future)
        except OSError as error:
            if is_strike(error):
                raise
            self._sent.lost(error)

    # Futures

    def has_admitted(self, call: Call) -> bool:
        """With the lock held: whether `call` is in the send queue, or has left."""
        return call.left or self._sends.holds(call)

    def admit(self, call: Call, payload: Payload) -> None:
        """With the lock held: put a call that nobody waits for into the send queue.

        Raises `Unusable`, `NoReader` and `MessageTooLarge`.
        """
        self.link.check()
        self.reader.ask_standby()
        number = call.request or self._numbers.draw()
        pieces = self.connection.execute(number, payload, True)
        self.conversation.begin(call, number)
        self._sends.gather(call, pieces)

    def push_admitted(self) -> bool:
        """With the lock held: let leave what should leave now; whether something stays."""
        self.link.check()
        if self._sends.is_due(len(self.conversation.pending)):
            self._sends.push()
        return bool(self._sends.waiting)

    @property
    def is_full(self) -> bool:
        """Whether so much waits in the send queue that the next submit should wait."""
        return self._sends.is_overfull

    # The end

    def wait_closed(self, deadline: float | None) -> bool:
        """Read until the server closes the connection, or `deadline`; whether it has."""
        return self._sent.wait_end(deadline)

    def say_goodbye(self, reason: str, deadline: float) -> bool:
        """Send what was gathered and a goodbye, then nothing more; whether to `wait_closed`.

        What is unread when a socket is closed resets it, and the server's system then throws
        away what the server has not read: so read until the server closes.
        """
        try:
            with self._lock:
                if not self.link.can_send:
                    return False
                self.link.closing = reason
                goodbye = Call()
                self._sends.send(goodbye, self.connection.send(Goodbye(reason)))
            if self.conversation.is_quiet and goodbye.left:
                return False  # the server has read all that was sent: it has answered it
            while not goodbye.left and self.conversation.ended is None and not is_over(deadline):
                self.link.wait_writable(min(seconds_left(deadline, 0.0), TICK))
                self.link.push()
            self.link.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if is_strike(error):
                raise
            # What came before is read to the end.
        return True

    def close(self, reason: str) -> None:
        """End the connection; what is under way fails."""
        self.link.end(reason)
        if self._turns.reader is None:
            self.link.sock.close()

    def forget_in_child(self, answer: Answer) -> None:
        """In a forked child: give the descriptor back; the parent's connection stays.

        Futures end there in `answer`.
        """
        self.link.sock.close()
        self._sends.clear()
        for call in self.conversation.forget():
            if isinstance(call, CallFuture):
                call.settle_in_child(answer)


def chain_block(chain: bytes) -> bytes:
    """The extension block of a call that the calls of `chain` wait for."""
    return encode_extensions({Extension.CHAIN: chain}) if chain else b""
