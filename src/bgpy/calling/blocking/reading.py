"""The receiving side of a connection, whose threads read it by turns.

::

    a lone call            sends, reads its own answer: no hand-over
    several at once        each sends for itself and sleeps; one reads for all, see `turns`
    futures                the standby reads, see `standby`

**The mark.** `torn` is set while bytes are received and not yet handed out. Only the
thread whose turn it is reads, holding the lock of its turn; so a thread that finds the mark set,
with the turn that its owner had, knows that the owner was struck down there and that what
it had received is lost, and ends the connection. Ending may be repeated; what an
interrupted thread leaves of it is done by the standby, which was asked before anybody slept.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic

from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.link import Link
from bgpy.calling.blocking.shared import NoReader
from bgpy.calling.blocking.standby import Standby
from bgpy.calling.blocking.turns import Turns
from bgpy.calling.blocking.waiting import TICK, patience
from bgpy.calling.conversation import Answer, Call, Farewell
from bgpy.errors import BgpyError
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.latch import Latch
from bgpy.system.sockets import READABLE, RECEIVE_BUFFER, poll
from bgpy.system.strikes import is_strike
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.messages import Message
from bgpy.wire.small import REPLY, unpack_start

log = logging.getLogger("bgpy.client")

LOOK_AFTER = 0.02
"""Seconds of silence after which a connection is looked at before it is used again.

Shorter than any restart of a server takes, longer than the pauses in a row of calls, and than what
one of a hundred clients waits for its turn.
"""

NO_READER = 0.02
"""Seconds until a thread looks again that can neither read nor have the standby started."""

STRUCK_READING = "a thread was interrupted while reading this connection's replies"


class Reader:
    """Of one connection. No thread has it but by turns; the standby is one of them."""

    def __init__(self, link: Link) -> None:
        assert link.connection.reader is not None, "the handshake is done"
        self._link = link
        self._lock = link.lock
        self._sock = link.sock
        self._here = link.shared.here
        self._conversation = link.conversation
        self._frames = link.connection.reader
        self._receive = link.sock.recv_into
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._view = memoryview(self._buffer)  # gives parts without a copy
        self.turns: Turns[threading.Lock] = Turns()
        self.torn = False
        self._standby = Standby(self)
        link.tell_end = self._standby.tell_end

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended: then so has every call on it."""
        return self._link.has_ended

    def look(self) -> None:
        """Read what came while nobody waited, to find a connection that has ended."""
        turn = self._here.turn
        with self._lock:
            reads = not self.turns.asked and self.turns.enter(turn)
        if not reads:
            return
        with turn:
            if self.turns.reader is turn:
                self._end_if_torn()
                self._read_what_came()
                self.turns.leave()

    def _read_what_came(self) -> None:
        # Not in the block that holds the turn: tests/test_covered.py says why.
        while self._conversation.ended is None and poll(self._sock, 0.0, READABLE):
            self._read()

    # Whose turn it is

    def reads(self, call: Call) -> bool:
        """With the lock held: whether the thread of `call` reads; if not it is to be woken.

        Raises `NoReader`.
        """
        if self.turns.enter(self._here.turn):
            return True
        if call.waker is None:
            call.waker = Latch()
        self.ask_standby()
        return False

    def is_struck(self, reads: bool) -> bool:
        """With the lock held: whether the mark was left by a thread that reads no longer."""
        if not self.torn:
            return False
        reader = self.turns.reader  # one's own turn, if `reads`: left from a call before
        return reads or (reader is not None and not reader.locked())

    def _end_if_torn(self) -> None:
        """With the turn held: what is left of a read was left by a thread that was struck down."""
        if self.torn:
            self._link.end(STRUCK_READING)

    def wait(self, call: Call, reads: bool, deadline: float | None) -> None:
        """Wait for the answer of `call` until `deadline`, reading for others meanwhile or not."""
        turn = self._here.turn
        while call.answer is None:
            if reads:
                with turn:
                    if self.turns.reader is turn:
                        self._read_own(call, deadline)
                        self.turns.leave()
                        if call.answer is not None or is_over(deadline):
                            return
                # The standby took it for struck down, before it had its lock.
                reads = self._reads_again(call, deadline)
            elif not self._sleep(call, deadline):
                return

    def _reads_again(self, call: Call, deadline: float | None) -> bool:
        """As `reads`, of a call that has been sent: nothing may send it once more.

        So where another thread reads, and none can be started to stand by, it looks again and
        again whether that one has left.
        """
        while True:
            try:
                with self._lock:
                    return self.reads(call)
            except NoReader:
                call.waker.wait(NO_READER)
                if call.answer is not None or is_over(deadline):
                    return False

    def _sleep(self, call: Call, deadline: float | None) -> bool:
        """Wait to be woken; whether the time is not over. In a task, only for a tick."""
        if not call.chain:
            woken: bool = call.waker.wait(patience(deadline))
            return woken
        self._link.tell_chain(call)
        return call.waker.wait(min(seconds_left(deadline, TICK), TICK)) or not is_over(deadline)

    def _read_own(self, call: Call, deadline: float | None) -> None:
        while call.answer is None:
            if call.chain:
                self._link.tell_chain(call)
            if deadline is None or self._readable(deadline):
                self._read()
            elif is_over(deadline):
                return
            else:
                self._link.end_if_gone()

    def _readable(self, deadline: float) -> bool:
        """Whether there is something to read, after a tick at most."""
        # What comes for others must not keep this thread beyond its time.
        left = seconds_left(deadline, 0.0)
        return bool(left) and poll(self._sock, min(left, TICK), READABLE)

    # Reading

    def read_lone(self, call: Call, number: int) -> Answer | None:
        """With the turn held: receive once, and leave if the answer of `call` has come.

        The short road (docs/design/0026): what comes most is that answer, small, whole and alone.
        """
        if not self._frames.idle:
            return None
        buffer, receive = self._buffer, self._receive
        self.torn = True
        try:
            count = receive(self._view)
        except OSError as error:
            self._not_received(error)
        else:
            if count > HEADER_SIZE:
                start, length, request = unpack_start(buffer)
                if start == REPLY and request == number and length == count - HEADER_SIZE:
                    head = buffer[HEADER_SIZE:count]
                    self._conversation.pending.pop(number, None)  # the end may have been faster
                    self.torn = False
                    self.turns.reader = None
                    return head
            self._came(count, None)
        if call.answer is not None:
            self.turns.leave()
        return call.answer

    def _read(self) -> bool:
        """Receive once and hand out what came; whether anything did."""
        target = self._frames.target
        self.torn = True
        try:
            count = self._receive(self._view if target is None else target)
        except OSError as error:
            return self._not_received(error)
        return self._came(count, target)

    def _not_received(self, error: OSError) -> bool:
        """As `_read`, of what receiving has raised; a signal handler's exception passes."""
        if is_strike(error):
            raise error
        if isinstance(error, (TimeoutError, BlockingIOError)):
            self.torn = False
            self._link.end_if_gone()
            return False
        self._link.end_lost(f"the connection was lost: {error}")
        return True

    def _came(self, count: int, target: memoryview | None) -> bool:
        """Hand out what came: `count` bytes in the buffer, or in `target`."""
        frames = self._frames
        messages: Sequence[Message] = ()
        try:
            if target is not None:
                messages = frames.filled(count)
            elif (used := self._settle_small(count)) < count or not count:
                messages = frames.feed(self._view[used:count])
        except BgpyError as error:
            if is_strike(error):
                raise
            self._link.end(f"the server broke the protocol: {error}")
            return True
        if not count:
            self._link.end_lost("the server closed the connection without giving a reason")
        for message in messages:
            self._hand_out(message)
        self.torn = False
        self._link.last_used = monotonic()
        return True

    def _settle_small(self, count: int) -> int:
        """Settle the futures whose small responses lie whole at the front of what came.

        The short road of many that come together; gives their bytes, and stops at all else.
        """
        buffer, pending, at = self._buffer, self._conversation.pending, 0
        whole, small = count if self._frames.idle else 0, self._link.connection.small_head
        while whole - at > HEADER_SIZE:
            start, length, request = unpack_start(buffer, at)
            end = at + HEADER_SIZE + length
            call = pending.get(request)
            if (
                start != REPLY
                or length > small
                or end > whole
                or call.__class__ is not CallFuture
                or call.answer is not None
            ):
                break
            if call.settle(buffer[at + HEADER_SIZE : end]):
                self._link.shared.finishers.post(call)
            pending.pop(request, None)  # last, as in `_hand_out`
            at = end
        return at

    def _hand_out(self, message: Message) -> None:
        ended = self._conversation.received(message)
        if ended is None:
            return
        if isinstance(ended, Farewell):
            self._link.end(f"the server closed the connection: {ended.text}")
            return
        self._link.wake(ended)
        if ended.answer is not None:
            # Only now: if this is interrupted before, the next reader finds and wakes it.
            self._conversation.done(ended)

    # In the standby

    def ask_standby(self) -> None:
        """With the lock held: see that the standby reads next, and for as long as it must.

        Raises `NoReader`.
        """
        if self.turns.asked:
            return
        if not self._standby.ring(self):
            raise NoReader
        self.turns.note_asked()

    def serve(self, turn: threading.Lock) -> None:
        """In the standby, with the lock of its `turn` held: read while anything is under way."""
        with self._here.inside:
            try:
                self._take_over(turn)
                self._read_for_all()
            except BaseException as error:
                # Nobody reads on from here, and no future may wait for what doesn't come.
                self._link.end(f"reading failed: {type(error).__name__}: {error}")
                log.debug("the thread that reads failed: %r", error)
            if self._conversation.ended is not None:
                self._link.end(self._conversation.ended)  # what an interrupted thread left of it
                with self._lock:
                    self.turns.rest(under_way=False, at_once=True)
                if self._link.closing:
                    self._link.sock.close()  # as `Channel.close`, which found this thread reading

    def _take_over(self, turn: threading.Lock) -> None:
        while True:
            with self._lock:
                before = self.turns.look(turn)
            if before is None:
                break
            with before, self._lock:
                # It has left, or was struck down: while it reads it holds that lock.
                self.turns.succeed(before, turn)
        self._end_if_torn()
        self._push_on()

    def _read_for_all(self) -> None:
        pending = self._conversation.pending
        came = False
        while self._conversation.ended is None:
            if not pending:
                with self._lock:
                    if self.turns.rest(bool(pending), at_once=not came):
                        return
            came = self._read()
            if not came:
                self._push_on()

    def _push_on(self) -> None:
        """Send what gathered behind a thread that was struck down while it sent, or closed.

        The thread that submitted it may not come again.
        """
        try:
            self._link.push()
        except OSError as error:  # no handler's: those run in the main thread
            self._read_what_came()  # the server may have said why
            self._link.end_lost(f"the connection was lost: {error}")
