"""One live connection, shared by all threads of a client.

::

    a lone call            sends, reads its own answer: no hand-over
    several at once        each sends for itself and sleeps; one reads for all, see `turns`
    futures                the standby reads; see `futures`

**The lock.** One lock of the client stands around everything but receiving: ids, what is
under way, the outbox, whose turn it is. Under it a request is sent as far as the socket
takes it *now*, so it is held for microseconds, and no wait is ever longer than its own
deadline. What the socket does not take stays in the outbox; its caller waits outside for
room and pushes on, whoever's request is first in line.

**Interrupts.** Two marks tell that the connection is of no use any more: the outbox is
`torn` while bytes leave and it isn't noted how many, `_torn` while some are received and not yet
handed out. Whoever comes next and finds one, with the lock or the turn that its owner had,
knows that the owner was struck down there, and ends the connection. Ending may be repeated;
what an interrupted thread leaves of it is done by the standby, which was asked before
anybody slept.
"""

from __future__ import annotations

import logging
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING

from bgpy.calling.blocking import threads
from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.outbox import Outbox
from bgpy.calling.blocking.turns import Turns
from bgpy.calling.blocking.waiting import (
    READABLE,
    TICK,
    WRITABLE,
    is_over,
    patience,
    poll,
    seconds_left,
    set_tick,
)
from bgpy.calling.conversation import Answer, Call, Conversation, Expiry, Farewell
from bgpy.calling.liveness import server_process
from bgpy.errors import BgpyError
from bgpy.memory import Payload, Piece
from bgpy.system.keepalive import GONE, is_silent
from bgpy.system.latch import Latch
from bgpy.tasks import current
from bgpy.wire.extensions import Extension, encode_extensions
from bgpy.wire.messages import Cancel, Goodbye, Message, Status

if TYPE_CHECKING:
    from bgpy.calling.blocking.futures import Callbacks
    from bgpy.calling.blocking.waiting import Stream

log = logging.getLogger("bgpy.client")

RECEIVE_BUFFER = 2**18
"""Bytes received at once."""

ASK = 0.17
"""Seconds that a server has, after a call's time is over, to say how far it came."""

IDLE = 0.01
"""Seconds of silence after which a connection is looked at before it is used again.

Shorter than any restart of a server takes, longer than the pauses in a row of calls.
"""

_clock = monotonic

Asked = SimpleQueue["Channel | weakref.ref[Channel]"]
"""How the standby is asked by its channel, and told of the channel's end."""


class Unusable(Exception):
    """The connection has ended before anything of a request was sent on it."""


class Alone(Exception):
    """Another thread reads, and none can be started to stand by: nothing was sent."""


class Numbers:
    """The ids of a client's requests, drawn with its lock held."""

    def __init__(self) -> None:
        self.last = 0


def _nothing() -> None:
    """A reference to nothing."""


class Shared:
    """What a client's connections, one after another, have in common."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = Numbers()
        self.here = threads.Presence()
        self.push_on: Callable[[], Callable[[], object] | None] = _nothing
        """A weak reference to what has the client's sender send what stays in the outbox."""
        self.callbacks: Callbacks | None = None
        """There is one as soon as there are futures."""


class Channel:
    """An authenticated connection and the calls under way on it."""

    def __init__(self, connected: Connected, shared: Shared, generation: int = 0) -> None:
        reached, self.connection, self.welcome = connected
        self.generation = generation
        """How many restarts the client had met when it was made."""
        self.conversation = Conversation()
        self.process = server_process(self.welcome)
        assert self.connection.reader is not None, "the handshake is done"
        self._frames = self.connection.reader
        self._sock = reached.sock
        set_tick(self._sock)
        self._shared = shared
        self._lock = shared.lock
        self._numbers = shared.numbers
        self._pending = self.conversation.pending
        self._turns: Turns[threading.Lock] = Turns()
        self._outbox = Outbox(self._sock)
        self._torn = False
        self.leaving = ""
        """Why this side closes the connection, once its goodbye is being sent: whoever has the
        channel reads to its end, and nobody begins a call."""
        self._receive = self._sock.recv_into
        self._buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self._last_used = monotonic()
        self._asked: Asked = SimpleQueue()
        self._standby = False
        # Not __del__: in a cycle the socket may be collected first, which warns.
        finalizer = weakref.finalize(self, _finish, self._sock, self._outbox)
        finalizer.atexit = False  # the program's end has its own, after whatever calls then

    # A call that somebody waits for

    def call(
        self,
        payload: Payload,
        chain: bytes,
        timeout: float | None,
        deadline: float | None,
        turn: threading.Lock,
    ) -> Answer:
        """Send an `Execute` and wait for its answer; see `request`."""
        call = Call(timeout)
        connection = self.connection
        try:
            with self._lock:
                self._numbers.last = number = self._numbers.last + 1
                if chain:
                    call.chain = chain
                    pieces = connection.execute(number, payload, True, chain_block(chain))
                else:
                    pieces = connection.execute(number, payload, True)
                reads = self._begin(call, number, pieces, turn)
            if reads and call.left and deadline is None and not chain:
                # As `_await`, in fewer steps: most calls are alone and have no time limit.
                with turn:
                    turns = self._turns
                    if turns.reader is turn:
                        while call.answer is None:
                            self._read(call)
                        turns.reader = None
                if call.answer is not None:
                    return call.answer
            return self._await(call, reads, deadline, turn)
        except OSError as error:
            return self._not_sent(call, error)
        except (Unusable, Alone):
            raise
        except BaseException:
            self._struck(call, turn)
            raise

    def request(
        self,
        make: Callable[[int], Message],
        timeout: float | None,
        deadline: float | None,
        turn: threading.Lock,
    ) -> Answer:
        """Send the message that `make` makes of an id, and wait for its answer until `deadline`.

        The answer may be the `CallTimeout` or `ServerGone` that it ended in. Raises
        `Unusable` or `Alone` if nothing was sent, and `MessageTooLarge`.
        """
        call = Call(timeout)
        if chain := current.chain():
            call.chain = chain
        try:
            with self._lock:
                self._numbers.last = number = self._numbers.last + 1
                reads = self._begin(call, number, self.connection.send(make(number)), turn)
            return self._await(call, reads, deadline, turn)
        except OSError as error:
            return self._not_sent(call, error)
        except (Unusable, Alone):
            raise
        except BaseException:
            self._struck(call, turn)
            raise

    def _begin(self, call: Call, number: int, pieces: list[Piece], turn: threading.Lock) -> bool:
        """With the lock held: send what the socket takes; whether the caller is to read."""
        if self._outbox.torn or self.leaving or self.conversation.ended is not None:
            raise Unusable
        turns = self._turns
        reads = turns.enter(turn)
        if reads:
            if self._torn:
                raise Unusable  # its own turn, left from a call that was struck down
        else:
            reader = turns.reader
            if self._torn and reader is not None and not reader.locked():
                raise Unusable  # whoever read was struck down, and doesn't read any more
            call.waker = Latch()
            self._ask_standby()
        call.request = number
        self._pending[number] = call
        self._outbox.send(call, pieces)
        return reads

    def _await(
        self, call: Call, reads: bool, deadline: float | None, turn: threading.Lock
    ) -> Answer:
        if not call.left:
            self._see_off(call, deadline)
        if call.answer is None:
            self._wait(call, reads, deadline, turn)
            if call.answer is None:
                self._expire(call, turn)
        answer = call.answer
        assert answer is not None, "a call that has expired has one"
        return answer

    def _wait(self, call: Call, reads: bool, deadline: float | None, turn: threading.Lock) -> None:
        """Wait for the answer of `call` until `deadline`, reading for others meanwhile or not."""
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
                    reads = self._sleeps_or_reads(call, turn)
            elif call.chain:
                self.tell_chain(call)
                if not call.waker.wait(min(seconds_left(deadline, TICK), TICK)) and is_over(
                    deadline
                ):
                    return
            elif not call.waker.wait(patience(deadline)):
                return

    def _sleeps_or_reads(self, call: Call, turn: threading.Lock) -> bool:
        if self._turns.enter(turn):
            return True
        if call.waker is None:
            call.waker = Latch()
        self._ask_standby()
        return False

    def _see_off(self, call: Call, deadline: float | None) -> None:
        """Push on until all of `call` has left, or its time is over."""
        while not call.left and call.answer is None:
            seconds = min(seconds_left(deadline, TICK), TICK)
            if not self.wait_writable(seconds) and self.end_if_gone():
                return
            if is_over(deadline):
                return
            self.push()

    def push(self) -> bool:
        """Send of the outbox what the socket takes now; whether something is left.

        Raises `OSError` if the connection is lost.
        """
        with self._lock:
            half = self._outbox.torn
            if not half and self.conversation.ended is None:
                self._outbox.push()
                return bool(self._outbox.waiting)
        if half:
            self._end("a call was interrupted while it was sent")
        return False

    # Its end

    def _expire(self, call: Call, turn: threading.Lock) -> None:
        """Ask the server how far `call` came, whose time is over; it has an answer then."""
        deadline = monotonic() + ASK
        try:
            if self._withdraw(call):
                with self._lock:
                    reads = self._sleeps_or_reads(call, turn)
                self._wait(call, reads, deadline, turn)
        except Alone:
            pass  # nobody would read the answer
        with self._lock:
            self.conversation.give_up(call)

    def _withdraw(self, call: Call) -> bool:
        """Take back a call whose time is over; whether the server was asked to, and may say.

        What is left to send of it is sent on, and the server asked behind that: the connection
        is not for this call alone.
        """
        with self._lock:
            torn = self._outbox.torn
            what = Expiry.ENDED if torn else self.conversation.expire(call)
            if what is Expiry.WITHDRAWN:
                self._outbox.take_back(call)
            elif what is Expiry.ASK:
                self._numbers.last = number = self._numbers.last + 1
                question = self.conversation.ask(call, number)
                self._outbox.send(question, self.connection.send(Cancel(number, call.request)))
        if torn:
            self._end("a call was interrupted while it was sent")
        elif what is Expiry.CUT_OFF:
            self._end("a request timed out before it was completely sent")
        self._leave_behind()
        return what is Expiry.ASK

    def _leave_behind(self) -> None:
        """See that the sender sends on what this thread, which waits no longer, has begun to."""
        if self._outbox.waiting:
            push_on = self._shared.push_on()
            if push_on is not None:
                push_on()

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

    def lost(self, error: OSError) -> None:
        """Sending failed: what came before the end is still read, then all that is left ends."""
        self.look()
        self._end(f"the connection was lost: {error}")

    def _not_sent(self, call: Call, error: OSError) -> Answer:
        if call.answer is None:
            self.lost(error)
        assert call.answer is not None, "the end of the connection is one"
        return call.answer

    def _struck(self, call: Call, turn: threading.Lock) -> None:
        """Tidy up after an interrupt. If it is interrupted too, others find what is left."""
        self.conversation.abandon(call)
        if self._torn and self._turns.reader is turn:
            self._end("a call was interrupted while it read for all")
        self._leave_behind()

    # Chains of calls

    def tell_chain(self, call: Call) -> None:
        """In a task that waits for `call`: tell the server who waits, unless it knows.

        The chain of a task grows while it runs when a future begins to be waited for whose
        call it is. The server refuses the call if one of those that wait holds it.
        """
        chain = current.chain()
        if chain == call.chain or len(chain) > current.LONGEST:
            return
        with self._lock:
            if self._outbox.torn or self.conversation.ended is not None or call.answer is not None:
                return
            call.chain = chain
            self._numbers.last = number = self._numbers.last + 1
            text = f'{{"call": {call.request}, "chain": "{chain.hex()}"}}'
            self._outbox.send(Call(), self.connection.send(Status(number, text)))

    def waited_for(self, waker: object) -> None:
        """In a task that waits for a future: the same for its call, once that is on its way."""
        with self._lock:
            found = [call for call in self._pending.values() if call.waker is waker]
        try:
            for call in found:
                self.tell_chain(call)
        except OSError as error:
            self.lost(error)

    # Futures

    def has_admitted(self, call: Call) -> bool:
        """With the lock held: whether `call` is in the outbox, or has left."""
        return call.left or self._outbox.holds(call)

    def admit(self, call: Call, payload: Payload) -> None:
        """With the lock held: put a call that nobody waits for into the outbox.

        Raises `Unusable`, and `MessageTooLarge`.
        """
        if self._outbox.torn or self.leaving or self.conversation.ended is not None:
            raise Unusable
        self._ask_standby()
        if not call.request:
            self._numbers.last = number = self._numbers.last + 1
            call.request = number
        pieces = self.connection.execute(call.request, payload, True)
        self._pending[call.request] = call
        self._outbox.gather(call, pieces)

    def push_admitted(self) -> bool:
        """With the lock held: let leave what should leave now; whether something stays.

        A request leaves at once if nothing else is under way, or enough have gathered.
        """
        if self._outbox.torn or self.conversation.ended is not None:
            raise Unusable
        if len(self._pending) <= self._outbox.count or self._outbox.is_full:
            self._outbox.push()
        return bool(self._outbox.waiting)

    @property
    def is_full(self) -> bool:
        """Whether so much waits in the outbox that whoever submits more should wait."""
        return self._outbox.is_overfull

    def wait_writable(self, seconds: float) -> bool:
        """Wait until the socket takes bytes."""
        return poll(self._sock, seconds, WRITABLE)

    # Reading

    def usable(self) -> bool:
        """Whether a request may be sent; a connection long idle is looked at first."""
        now = _clock()
        idle = now - self._last_used
        self._last_used = now
        if idle > IDLE and self.conversation.ended is None:
            self.look()
        return self.conversation.ended is None and not self.leaving

    def look(self) -> None:
        """Read what came while nobody waited, to find a connection that has ended."""
        turn = self._shared.here.turn
        with self._lock:
            reads = not self._turns.asked and self._turns.enter(turn)
        if not reads:
            return
        with turn:
            if self._turns.reader is turn:
                if self._torn:
                    self._end("a call was interrupted while it read for all")
                while self.conversation.ended is None and poll(self._sock, 0.0, READABLE):
                    self._read(None)
                self._turns.leave()

    def end_if_gone(self) -> bool:
        """End the connection if its server is known to be gone, or its machine silent."""
        if self.process is not None and self.process.is_gone():
            self._end("the server's process is gone")
        elif is_silent(self._sock):
            self._end(f"the server's machine has acknowledged nothing for {GONE} seconds")
        else:
            return False
        return True

    def _read_own(self, call: Call, deadline: float | None) -> None:
        while call.answer is None:
            if call.chain:
                self.tell_chain(call)
            if deadline is None or self._readable(deadline):
                self._read(call)
            elif is_over(deadline):
                return
            else:
                self.end_if_gone()

    def _readable(self, deadline: float) -> bool:
        """Whether there is something to read, after a tick at most."""
        # What comes for others must not keep this thread beyond its time.
        left = seconds_left(deadline, 0.0)
        return bool(left) and poll(self._sock, min(left, TICK), READABLE)

    def _read(self, own: Call | None) -> bool:
        """Receive once and hand out what came; whether anything did."""
        frames = self._frames
        target = frames.target
        messages: Sequence[Message]
        self._torn = True
        try:
            if target is None:
                count = self._receive(self._buffer)
                message = frames.lone(self._buffer, count)
                if message is None:
                    messages = frames.feed(self._buffer[:count])
                elif own is not None and message.request == own.request and not own.asked:
                    own.answer = message
                    # Not there any more if another thread has just closed the channel.
                    self._pending.pop(own.request, None)
                    self._torn = False
                    return True
                else:
                    messages = (message,)
            else:
                count = self._receive(target)
                messages = frames.filled(count)
        except (TimeoutError, BlockingIOError):
            self._torn = False
            self.end_if_gone()
            return False
        except BgpyError as error:
            self._end(f"the server broke the protocol: {error}")
            return True
        except OSError as error:
            self._end(f"the connection was lost: {error}")
            return True
        if not count:
            self._end("the server closed the connection without giving a reason")
        for message in messages:
            self._hand_out(message)
        self._torn = False
        return True

    def _hand_out(self, message: Message) -> None:
        ended = self.conversation.received(message)
        if ended is None:
            return
        if isinstance(ended, Farewell):
            self._end(f"the server closed the connection: {ended.text}")
            return
        self._wake(ended)
        if ended.answer is not None:
            # Only now: whoever is interrupted before leaves it to be found by the next reader.
            self._pending.pop(ended.request, None)

    def _wake(self, call: Call) -> None:
        """Wake whoever waits for `call`; may be repeated where it was interrupted."""
        waker = call.waker
        if waker is None:
            return
        if waker.__class__ is Latch:
            waker.open()
        elif call.answer is not None:
            callbacks = self._shared.callbacks
            assert callbacks is not None, "futures have come with them"
            waker.arrived(call.answer, callbacks)

    def _end(self, reason: str) -> None:
        """End the connection and all that is under way on it; may be repeated."""
        with self._lock:
            conversation = self.conversation
            if conversation.ended is None:
                conversation.ended = self.leaving or reason
                if self._standby:
                    self._asked.put(self)  # it does what may be left of this, and ends
            try:
                self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
            except OSError:
                pass  # the server was first, or it is done
            for call in conversation.end(self.leaving or reason, doubtful=self._outbox.torn):
                self._wake(call)
                conversation.done(call)
            self._outbox.clear()

    # The standby

    def _ask_standby(self) -> None:
        """With the lock held: see that the standby reads next, and goes on while it must."""
        if self._turns.asked:
            return
        if not self._standby:
            # When the channel is collected the standby is told by C code alone, which no
            # signal handler can keep from it.
            if not threads.start(_stand_by, self._asked, weakref.ref(self, self._asked.put)):
                raise Alone
            self._standby = True
        self._asked.put(self)
        self._turns.note_asked()

    def serve(self, turn: threading.Lock) -> None:
        """In the standby, with the lock of its `turn` held: read while anything is under way."""
        with self._shared.here.inside:
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
        if self._torn:
            self._end("a call was interrupted while it read for all")
        self._push_on()

    def _read_for_all(self) -> None:
        came = False
        while self.conversation.ended is None:
            if not self._pending:
                with self._lock:
                    if self._turns.rest(bool(self._pending), at_once=not came):
                        return
            came = self._read(None)
            if not came:
                self._push_on()

    def _push_on(self) -> None:
        """Send what gathered behind a thread that was struck down while it sent, or closed.

        Whoever submitted that has gone on, and may not come again.
        """
        try:
            self.push()
        except OSError as error:
            self._end(f"the connection was lost: {error}")

    # The end

    def wait_closed(self, deadline: float | None) -> bool:
        """Read until the server closes the connection, or `deadline`; whether it has."""
        call = Call()
        turn = self._shared.here.turn
        with self._lock:
            if self.conversation.ended is not None:
                return True
            # An id that no message answers, of its own: several threads may wait for it.
            self._numbers.last += 1
            self.conversation.begin(call, -self._numbers.last)
            try:
                reads = self._sleeps_or_reads(call, turn)
            except Alone:
                return False
        try:
            self._wait(call, reads, deadline, turn)
        except BaseException:
            self._struck(call, turn)
            raise
        self.conversation.abandon(call)
        return self.conversation.ended is not None

    def say_goodbye(self, reason: str, deadline: float) -> bool:
        """Send what was gathered and a goodbye, then nothing more; whether to `drain`."""
        try:
            with self._lock:
                if self._outbox.torn or self.conversation.ended is not None:
                    return False
                self.leaving = reason
                goodbye = Call()
                self._outbox.send(goodbye, self.connection.send(Goodbye(reason)))
            if self.conversation.is_quiet and goodbye.left:
                return False  # the server has read all that was sent: it has answered it
            while not goodbye.left and self.conversation.ended is None and not is_over(deadline):
                self.wait_writable(min(seconds_left(deadline, 0.0), TICK))
                self.push()
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return True  # what came before is read to the end
        return True

    def drain(self, deadline: float) -> None:
        """Read until the server closes: what is unread when a socket is closed resets it, and
        the server's system then throws away what the server has not read."""
        self.wait_closed(deadline)

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
        self._outbox.clear()
        calls = list(self._pending.values())
        self._pending.clear()
        self.conversation.ended = "the process has forked"
        for call in calls:
            if call.waker is not None and call.waker.__class__ is not Latch:
                call.waker.settle_in_child(answer)


def chain_block(chain: bytes) -> bytes:
    """The extension block of a call that the calls of `chain` wait for."""
    return encode_extensions({Extension.CHAIN: chain}) if chain else b""


def _stand_by(asked: Asked, ended: weakref.ref[Channel]) -> None:
    """The standby of a channel, which it doesn't keep alive while nothing is under way."""
    turn = threading.Lock()
    while True:
        channel = asked.get()
        if isinstance(channel, weakref.ref):
            return  # `ended`: the channel was collected
        try:
            with turn:
                channel.serve(turn)
        except BaseException as error:  # out of memory even for the end: the next one finds it
            log.debug("the thread that reads failed: %r", error)
        if channel.conversation.ended is not None:
            while not asked.empty():
                asked.get_nowait()  # a channel that its own queue holds would not be collected
            return
        del channel


def _finish(sock: Stream, outbox: Outbox) -> None:
    """What a channel leaves behind when it is collected."""
    try:
        outbox.push()
    except OSError:
        pass  # it is gone already
    sock.close()
