"""One live connection, shared by all threads of a client: what is sent over it, and waited for.

::

    Channel   calls, futures' calls, time-outs, goodbye: what this side says
      └─ Reading   whose turn it is to read, what came, the end
           ├─ SendQueue   requests leave whole, one after another
           ├─ Turns, Standby
           └─ Conversation   decides

**The lock.** One lock of the client stands around everything but receiving: ids, what is
under way, the send queue, whose turn it is. Under it a request is sent as far as the socket
takes it *now*, so it is held for microseconds, and no wait is ever longer than its own
deadline. What the socket does not take stays in the queue; its caller waits outside for
room and pushes, whatever request is first in line. One that waits no longer, since its time
is over or it was interrupted, leaves the rest to the client's sender.

**Interrupts.** Two marks tell that the connection is of no use any more: the queue is `torn`
while bytes leave and it isn't noted how many, and the receiving side has its own (`reading`).
The next that takes the lock, or the turn, and finds such a mark knows that its owner was
struck down there, and ends the connection.
"""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.reading import LOOK_AFTER, STRUCK_READING, STRUCK_SENDING, Reading
from bgpy.calling.blocking.send_queue import SendQueue
from bgpy.calling.blocking.shared import NoReader, Shared, Unusable
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Answer, Call, Expiry
from bgpy.memory import Payload, Piece
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.latch import Latch
from bgpy.system.sockets import WRITABLE, poll
from bgpy.system.strikes import is_strike
from bgpy.tasks import current
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.messages import Cancel, Goodbye, Message, Status, stage_question
from bgpy.wire.small import EXECUTE, pack_start

if TYPE_CHECKING:
    from bgpy.calling.blocking.waiting import Stream

ASK = 0.17
"""Seconds that a server has, after a call's time is over, to say how far it came."""


class Channel(Reading):
    """An authenticated connection and the calls under way on it."""

    def __init__(self, connected: Connected, shared: Shared, generation: int = 0) -> None:
        super().__init__(connected, shared, generation)
        self._numbers = shared.numbers
        # Not __del__: in a cycle the socket may be collected first, which warns.
        finalizer = weakref.finalize(self, _finish, self._sock, self._sends)
        finalizer.atexit = False  # the program's end has its own, after whatever calls then

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

    def call_alone(self, head: bytes) -> Answer | None:
        """As `call` of a small plain pickle without a time limit: the short road.

        None says that nothing was done: another thread reads, or the connection needs a look
        first. Raises `Unusable` likewise.
        """
        call, turns, sends, turn = Call(), self._turns, self._sends, self._here.turn
        try:
            with self._lock:
                self._check()
                if monotonic() - self._last_used > LOOK_AFTER or not turns.enter_alone(turn):
                    return None
                self._numbers.last = number = self._numbers.last + 1
                self.conversation.begin(call, number)
                sends.send(call, (pack_start(EXECUTE, len(head), number) + head,))
            if call.left:
                with turn:
                    if turns.reader is turn:
                        answer = self._read_alone(call)
                        turns.leave()
                        return answer
            return self._await(call, True, None)
        except Unusable:
            raise
        except BaseException as error:
            return self._failed(call, error)

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
        call = Call(timeout)
        if chain:
            call.chain = chain
        try:
            with self._lock:
                self._numbers.last = number = self._numbers.last + 1
                reads = self._begin(call, number, pieces_of(number, *request))
            return self._await(call, reads, deadline)
        except (Unusable, NoReader):
            raise
        except BaseException as error:
            return self._failed(call, error)

    def _begin(self, call: Call, number: int, pieces: list[Piece]) -> bool:
        """With the lock held: send what the socket takes; whether the caller is to read."""
        self._check()
        reads = self._turns.enter(self._here.turn)
        if self._torn and self._is_struck(reads):
            raise Unusable
        if not reads:
            call.waker = Latch()
            self._ask_standby()
        self.conversation.begin(call, number)
        self._sends.send(call, pieces)
        return reads

    def _check(self) -> None:
        """With the lock held: raise `Unusable` where no request may be sent any more."""
        if self._sends.torn or self.leaving or self.conversation.ended is not None:
            raise Unusable  # behind a goodbye only what was gathered before leaves

    @property
    def _can_send(self) -> bool:
        """Whether anything may be sent, a goodbye or a question about a call too."""
        return not (self._sends.torn or self.conversation.ended is not None)

    def _await(self, call: Call, reads: bool, deadline: float | None) -> Answer:
        if not call.left:
            self._see_off(call, deadline)
        if call.answer is None:
            self._wait(call, reads, deadline)
            if call.answer is None:
                self._expire(call)
        answer = call.answer
        assert answer is not None, "a call that has expired has one"
        return answer

    def _see_off(self, call: Call, deadline: float | None) -> None:
        """Push until all of `call` has left, or its time is over."""
        while not call.left and call.answer is None:
            seconds = min(seconds_left(deadline, TICK), TICK)
            if not self.wait_writable(seconds) and self.end_if_gone():
                return
            if is_over(deadline):
                return
            self.push()

    # Its end

    def _expire(self, call: Call) -> None:
        """Ask the server how far `call` came, whose time is over; it has an answer then."""
        deadline = monotonic() + ASK
        try:
            if self._withdraw(call):
                with self._lock:
                    reads = self._reads(call)
                self._wait(call, reads, deadline)
        except NoReader:
            pass  # nobody would read the answer
        with self._lock:
            self.conversation.give_up(call)

    def _withdraw(self, call: Call) -> bool:
        """Take back a call whose time is over; whether the server was asked to, and may say.

        What is left to send of it is sent all the same, and the server asked behind that: the
        connection is not for this call alone.
        """
        with self._lock:
            torn = self._sends.torn
            what = Expiry.ENDED if torn else self.conversation.expire(call)
            if what is Expiry.WITHDRAWN:
                self._sends.take_back(call)
            elif what is Expiry.ASK:
                number = self._numbers.draw()
                question = self.conversation.ask(call, number)
                self._sends.send(question, self.connection.send(Cancel(number, call.request)))
        if torn:
            self._end(STRUCK_SENDING)
        elif what is Expiry.CUT_OFF:
            self._end("a request timed out before it was completely sent")
        self._leave_behind()
        return what is Expiry.ASK

    def _leave_behind(self) -> None:
        """Have the sender send what this thread has begun to, and waits for no longer."""
        if self._sends.waiting:
            push_on = self._shared.push_on()
            if push_on is not None:
                push_on()

    def lost(self, error: OSError) -> None:
        """Sending failed: what came before the end is still read, then all that is left ends."""
        self.look()
        self._end_lost(f"the connection was lost: {error}")

    def _failed(self, call: Call, error: BaseException) -> Answer:
        """The answer of `call`, where sending it has failed; raises `error` if it is any other."""
        if not isinstance(error, OSError) or is_strike(error):
            self._struck(call)
            raise error
        if call.answer is None:
            self.lost(error)
        assert call.answer is not None, "the end of the connection is one"
        return call.answer

    def _struck(self, call: Call) -> None:
        """Tidy up after an interrupt. If it is interrupted too, others find what is left."""
        self.conversation.abandon(call)
        if self._torn and self._turns.reader is self._here.turn:
            self._end(STRUCK_READING)
        self._leave_behind()

    # Chains of calls

    def tell_chain(self, call: Call) -> None:
        """In a task that waits for `call`: tell the server who waits, unless it knows.

        The chain of a task grows while it runs when a future begins to be waited for whose
        call it is. The server refuses the call if one of those that wait holds it.
        """
        chain = current.chain()
        if chain == call.chain or len(chain) > current.LONGEST_CHAIN:
            return
        with self._lock:
            if not self._can_send or call.answer is not None:
                return
            call.chain = chain
            question = Status(self._numbers.draw(), stage_question(call.request, chain))
            self._sends.send(Call(), self.connection.send(question))

    def waited_for(self, future: CallFuture) -> None:
        """In a task that waits for a future: the same for its call, once that is on its way."""
        if self.conversation.pending.get(future.request) is not future:
            return
        try:
            self.tell_chain(future)
        except OSError as error:
            if is_strike(error):
                raise
            self.lost(error)

    # Futures

    def submit_small(self, call: CallFuture, head: bytes) -> bool:
        """As `admit` and `push_admitted` of a small plain pickle: the short road.

        Whether it was taken. If not, nothing was done: the standby doesn't read, or the
        connection needs a look first.
        """
        conversation, sends = self.conversation, self._sends
        try:
            with self._lock:
                self._check()
                if not self._turns.asked or monotonic() - self._last_used > LOOK_AFTER:
                    return False
                self._numbers.last = number = self._numbers.last + 1
                conversation.begin(call, number)
                sends.gather_one(call, pack_start(EXECUTE, len(head), number) + head)
                if sends.leaves(len(conversation.pending)):
                    sends.push()
        except Unusable:
            return False
        except BaseException as error:
            self._failed(call, error)
        return True

    @property
    def has_unsent(self) -> bool:
        """Whether anything waits in the send queue."""
        return bool(self._sends.waiting)

    def has_admitted(self, call: Call) -> bool:
        """With the lock held: whether `call` is in the send queue, or has left."""
        return call.left or self._sends.holds(call)

    def admit(self, call: Call, payload: Payload) -> None:
        """With the lock held: put a call that nobody waits for into the send queue.

        Raises `Unusable`, `NoReader` and `MessageTooLarge`.
        """
        self._check()
        self._ask_standby()
        number = call.request or self._numbers.draw()
        pieces = self.connection.execute(number, payload, True)
        self.conversation.begin(call, number)
        self._sends.gather(call, pieces)

    def push_admitted(self) -> bool:
        """With the lock held: let leave what should leave now; whether something stays."""
        self._check()
        if self._sends.leaves(len(self.conversation.pending)):
            self._sends.push()
        return bool(self._sends.waiting)

    @property
    def is_full(self) -> bool:
        """Whether so much waits in the send queue that the next submit should wait."""
        return self._sends.is_overfull

    def wait_writable(self, seconds: float) -> bool:
        """Wait until the socket takes bytes."""
        return poll(self._sock, seconds, WRITABLE)

    def expire_future(self, call: Call) -> bool:
        """The time of a future's call is over: ask, or end it; whether an answer may come."""
        if self._withdraw(call):
            return True
        self._wake(call)
        return False

    def give_up_future(self, call: Call) -> None:
        """The server has not said in time how far a future's call came."""
        with self._lock:
            self.conversation.give_up(call)
        self._wake(call)

    # The end

    def wait_closed(self, deadline: float | None) -> bool:
        """Read until the server closes the connection, or `deadline`; whether it has."""
        call = Call()
        with self._lock:
            if self.conversation.ended is not None:
                return True
            # An id that no message answers, of its own: several threads may wait for it.
            self.conversation.begin(call, -self._numbers.draw())
            try:
                reads = self._reads(call)
            except NoReader:
                return False
        try:
            self._wait(call, reads, deadline)
        except BaseException:
            self._struck(call)
            raise
        self.conversation.abandon(call)
        return self.conversation.ended is not None

    def say_goodbye(self, reason: str, deadline: float) -> bool:
        """Send what was gathered and a goodbye, then nothing more; whether to `wait_closed`.

        What is unread when a socket is closed resets it, and the server's system then throws
        away what the server has not read: so read until the server closes.
        """
        try:
            with self._lock:
                if not self._can_send:
                    return False
                self.leaving = reason
                goodbye = Call()
                self._sends.send(goodbye, self.connection.send(Goodbye(reason)))
            if self.conversation.is_quiet and goodbye.left:
                return False  # the server has read all that was sent: it has answered it
            while not goodbye.left and self.conversation.ended is None and not is_over(deadline):
                self.wait_writable(min(seconds_left(deadline, 0.0), TICK))
                self.push()
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if is_strike(error):
                raise
            # What came before is read to the end.
        return True

    def close(self, reason: str) -> None:
        """End the connection; what is under way fails."""
        self._end(reason)
        if self._turns.reader is None:
            self._sock.close()

    def forget_in_child(self, answer: Answer) -> None:
        """In a forked child: give the descriptor back; the parent's connection stays.

        Futures end there in `answer`.
        """
        self._sock.close()
        self._sends.clear()
        for call in self.conversation.forget():
            if isinstance(call, CallFuture):
                call.settle_in_child(answer)


def chain_block(chain: bytes) -> bytes:
    """The extension block of a call that the calls of `chain` wait for."""
    return encode_extensions({Extension.CHAIN: chain}) if chain else b""


def _finish(sock: Stream, sends: SendQueue) -> None:
    """What a channel leaves behind when it is collected."""
    try:
        sends.push()
    except OSError as error:
        if is_strike(error):
            raise
        # Else it is gone already.
    finally:
        sock.close()
