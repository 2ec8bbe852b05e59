"""The receiving side of a connection, whose threads read it by turns; and its end.

::

    a lone call            sends, reads its own answer: no hand-over
    several at once        each sends for itself and sleeps; one reads for all, see `turns`
    futures                the standby reads, see `standby`

**The mark.** `_torn` is set while bytes are received and not yet handed out. Only the
thread whose turn it is reads, holding the lock of its turn; so a thread that finds the mark set,
with the turn that its owner had, knows that the owner was struck down there and that what
it had received is lost, and ends the connection. Ending may be repeated; what an
interrupted thread leaves of it is done by the standby, which was asked before anybody slept.
"""

from __future__ import annotations

import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import monotonic

from bgpy.calling.blocking import loss
from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.send_queue import SendQueue
from bgpy.calling.blocking.shared import NoReader, Shared
from bgpy.calling.blocking.standby import Standby
from bgpy.calling.blocking.turns import Turns
from bgpy.calling.blocking.waiting import TICK, patience, set_tick
from bgpy.calling.conversation import NOTHING, Answer, Call, Conversation, Farewell, Known
from bgpy.calling.liveness import server_process
from bgpy.errors import BgpyError
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.keepalive import GONE, is_silent
from bgpy.system.latch import Latch
from bgpy.system.sockets import READABLE, RECEIVE_BUFFER, poll
from bgpy.system.strikes import is_strike
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.messages import Message
from bgpy.wire.small import REPLY, unpack_start

log = logging.getLogger("bgpy.client")

LOOK_AFTER = 0.01
"""Seconds of silence after which a connection is looked at before it is used again.

Shorter than any restart of a server takes, longer than the pauses in a row of calls.
"""

STRUCK_READING = "a thread was interrupted while reading this connection's replies"
STRUCK_SENDING = "a thread was interrupted while sending a request on this connection"


class Reading(ABC):
    """An authenticated connection, as far as what comes over it is concerned."""

    def __init__(self, connected: Connected, shared: Shared, generation: int) -> None:
        reached, self.connection, self.welcome = connected
        self.generation = generation
        """How many restarts the client had met when it was made."""
        self.process = server_process(self.welcome)
        server = Known(
            address=None if shared.address is None else str(shared.address),
            pid=None if self.process is None else self.process.pid,
        )
        self.conversation = Conversation(server=server, pid=self.welcome.pid)
        assert self.connection.reader is not None, "the handshake is done"
        self.leaving = ""
        """Why this side closes the connection, once its goodbye is being sent: that thread
        reads to the end, and nobody begins a call."""
        self._frames = self.connection.reader
        self._sock = reached.sock
        set_tick(self._sock)
        self._shared = shared
        self._lock = shared.lock
        self._here = shared.here
        self._turns: Turns[threading.Lock] = Turns()
        self._sends = SendQueue(self._sock)
        self._torn = False
        self._receive = self._sock.recv_into
        self._buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self._last_used = monotonic()
        self._standby = Standby(self)

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended: then so has every call on it."""
        return self.conversation.ended is not None

    def usable(self) -> bool:
        """Whether a request may be sent; a connection long idle is looked at first."""
        now = monotonic()
        idle = now - self._last_used
        self._last_used = now
        if idle > LOOK_AFTER and self.conversation.ended is None:
            self.look()
        return self.conversation.ended is None and not self.leaving

    def look(self) -> None:
        """Read what came while nobody waited, to find a connection that has ended."""
        turn = self._here.turn
        with self._lock:
            reads = not self._turns.asked and self._turns.enter(turn)
        if not reads:
            return
        with turn:
            if self._turns.reader is turn:
                self._end_if_torn()
                while self.conversation.ended is None and poll(self._sock, 0.0, READABLE):
                    self._read()
                self._turns.leave()

    def end_if_gone(self) -> bool:
        """End the connection if its server is known to be gone, or its machine silent."""
        if self.process is not None and self.process.is_gone():
            self._end_lost("the server's process is gone")
        elif is_silent(self._sock):
            self._end_lost(f"the server's machine has acknowledged nothing for {GONE} seconds")
        else:
            return False
        return True

    # Whose turn it is

    def _reads(self, call: Call) -> bool:
        """With the lock held: whether the thread of `call` reads; if not it is to be woken.

        Raises `NoReader`.
        """
        if self._turns.enter(self._here.turn):
            return True
        if call.waker is None:
            call.waker = Latch()
        self._ask_standby()
        return False

    def _is_struck(self, reads: bool) -> bool:
        """With the lock held: whether the mark was left by a thread that reads no longer."""
        if not self._torn:
            return False
        reader = self._turns.reader  # one's own turn, if `reads`: left from a call before
        return reads or (reader is not None and not reader.locked())

    def _end_if_torn(self) -> None:
        """With the turn held: what is left of a read was left by a thread that was struck down."""
        if self._torn:
            self._end(STRUCK_READING)

    def _wait(self, call: Call, reads: bool, deadline: float | None) -> None:
        """Wait for the answer of `call` until `deadline`, reading for others meanwhile or not."""
        turn = self._here.turn
        while call.answer is None:
            if reads:
                with turn:
                    if self._turns.reader is turn:
                        self._read_own(call, deadline)
                        self._turns.leave()
                        if call.answer is not None or is_over(deadline):
                            return
                # The standby took it for struck down, before it had its lock.
                with self._lock:
                    reads = self._reads(call)
            elif not self._sleep(call, deadline):
                return

    def _sleep(self, call: Call, deadline: float | None) -> bool:
        """Wait to be woken; whether the time is not over. In a task, only for a tick."""
        if not call.chain:
            woken: bool = call.waker.wait(patience(deadline))
            return woken
        self.tell_chain(call)
        return call.waker.wait(min(seconds_left(deadline, TICK), TICK)) or not is_over(deadline)

    @abstractmethod
    def tell_chain(self, call: Call) -> None:
        """In a task: tell the server who waits for `call`, where it doesn't know."""

    def _read_own(self, call: Call, deadline: float | None) -> None:
        while call.answer is None:
            if call.chain:
                self.tell_chain(call)
            if deadline is None or self._readable(deadline):
                self._read()
            elif is_over(deadline):
                return
            else:
                self.end_if_gone()

    def _readable(self, deadline: float) -> bool:
        """Whether there is something to read, after a tick at most."""
        # What comes for others must not keep this thread beyond its time.
        left = seconds_left(deadline, 0.0)
        return bool(left) and poll(self._sock, min(left, TICK), READABLE)

    # Reading

    def _read_alone(self, call: Call) -> Answer:
        """Read until `call` has its answer: the short road (docs/design/0026)."""
        buffer, number = self._buffer, call.request
        if self._frames.idle:
            self._torn = True
            try:
                count = self._receive(buffer)
            except OSError as error:
                self._not_received(error)
            else:
                if count > HEADER_SIZE:
                    start, length, request = unpack_start(buffer)
                    if start == REPLY and request == number and length == count - HEADER_SIZE:
                        head = buffer[HEADER_SIZE:count].tobytes()
                        self.conversation.done(call)
                        self._torn = False
                        self._last_used = monotonic()
                        return head
                self._came(count, None)
        while call.answer is None:
            self._read()
        return call.answer

    def _read(self) -> bool:
        """Receive once and hand out what came; whether anything did."""
        target = self._frames.target
        self._torn = True
        try:
            count = self._receive(self._buffer if target is None else target)
        except OSError as error:
            return self._not_received(error)
        return self._came(count, target)

    def _not_received(self, error: OSError) -> bool:
        """As `_read`, of what receiving has raised; a signal handler's exception passes."""
        if is_strike(error):
            raise error
        if isinstance(error, (TimeoutError, BlockingIOError)):
            self._torn = False
            self.end_if_gone()
            return False
        self._end_lost(f"the connection was lost: {error}")
        return True

    def _came(self, count: int, target: memoryview | None) -> bool:
        """Hand out what came: `count` bytes in the buffer, or in `target`."""
        frames = self._frames
        messages: Sequence[Message] = ()
        try:
            if target is not None:
                messages = frames.filled(count)
            elif (used := self._settle_small(count)) < count or not count:
                messages = frames.feed(self._buffer[used:count])
        except BgpyError as error:
            if is_strike(error):
                raise
            self._end(f"the server broke the protocol: {error}")
            return True
        if not count:
            self._end_lost("the server closed the connection without giving a reason")
        for message in messages:
            self._hand_out(message)
        self._torn = False
        self._last_used = monotonic()
        return True

    def _settle_small(self, count: int) -> int:
        """Settle the futures whose small responses lie whole at the front of what came.

        The short road of many that come together; gives their bytes, and stops at all else.
        """
        buffer, pending, at = self._buffer, self.conversation.pending, 0
        whole, small = count if self._frames.idle else 0, self.connection.small_head
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
            if call.settle(buffer[at + HEADER_SIZE : end].tobytes()):
                self._shared.finishers.post(call)
            self.conversation.done(call)  # last, as in `_hand_out`
            at = end
        return at

    def _hand_out(self, message: Message) -> None:
        ended = self.conversation.received(message)
        if ended is None:
            return
        if isinstance(ended, Farewell):
            self._end(f"the server closed the connection: {ended.text}")
            return
        self._wake(ended)
        if ended.answer is not None:
            # Only now: if this is interrupted before, the next reader finds and wakes it.
            self.conversation.done(ended)

    def _wake(self, call: Call) -> None:
        """Wake who waits for `call`; may be repeated where it was interrupted."""
        if call.waker is not None:
            call.waker.open()
        elif isinstance(call, CallFuture) and call.answer is not None:
            self._shared.finishers.settle(call, call.answer)

    def _end_lost(self, reason: str) -> None:
        """End a connection that the server or the network has ended, without a goodbye.

        With no lock held, since the server's process is waited for, for a moment.
        """
        if self.leaving or self.conversation.ended is not None:
            self._end(reason)
        else:
            found = loss.learn(reason, self.process, self._shared.address, self.welcome.incarnation)
            self._end(*found)

    def _end(self, reason: str, known: Known = NOTHING) -> None:
        """End the connection and all that is under way on it; may be repeated."""
        if self.leaving:  # the server's closing is the client's doing then
            reason, known = self.leaving, loss.OWN
        with self._lock:
            conversation = self.conversation
            if conversation.note_end(reason, known):
                self._standby.tell_end(self)
            try:
                self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
            except OSError as error:
                if is_strike(error):
                    raise
                # The server was first, or it is done.
            for call in conversation.end(reason, doubtful=self._sends.torn):
                self._wake(call)
                conversation.done(call)
            self._sends.clear()

    def push(self) -> bool:
        """Send of what waits as much as the socket takes now; whether something is left.

        Raises `OSError` if the connection is lost.
        """
        with self._lock:
            torn = self._sends.torn
            if not torn and self.conversation.ended is None:
                self._sends.push()
                return bool(self._sends.waiting)
        if torn:
            self._end(STRUCK_SENDING)
        return False

    # In the standby

    def _ask_standby(self) -> None:
        """With the lock held: see that the standby reads next, and for as long as it must.

        Raises `NoReader`.
        """
        if self._turns.asked:
            return
        if not self._standby.ring(self):
            raise NoReader
        self._turns.note_asked()

    def serve(self, turn: threading.Lock) -> None:
        """In the standby, with the lock of its `turn` held: read while anything is under way."""
        with self._here.inside:
            try:
                self._take_over(turn)
                self._read_for_all()
            except BaseException as error:
                # Nobody reads on from here, and no future may wait for what doesn't come.
                self._end(f"reading failed: {type(error).__name__}: {error}")
                log.debug("the thread that reads failed: %r", error)
            if self.conversation.ended is not None:
                self._end(self.conversation.ended)  # what an interrupted thread left of it
                with self._lock:
                    self._turns.rest(under_way=False, at_once=True)

    def _take_over(self, turn: threading.Lock) -> None:
        while True:
            with self._lock:
                before = self._turns.look(turn)
            if before is None:
                break
            with before, self._lock:
                # It has left, or was struck down: while it reads it holds that lock.
                self._turns.succeed(before, turn)
        self._end_if_torn()
        self._push_on()

    def _read_for_all(self) -> None:
        pending = self.conversation.pending
        came = False
        while self.conversation.ended is None:
            if not pending:
                with self._lock:
                    if self._turns.rest(bool(pending), at_once=not came):
                        return
            came = self._read()
            if not came:
                self._push_on()

    def _push_on(self) -> None:
        """Send what gathered behind a thread that was struck down while it sent, or closed.

        The thread that submitted it may not come again.
        """
        try:
            self.push()
        except OSError as error:  # no handler's: those run in the main thread
            self._end_lost(f"the connection was lost: {error}")
