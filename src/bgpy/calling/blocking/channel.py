"""One live connection, shared by all threads of a client.

Of the threads that wait for an answer one reads for all; when it has its own, it
wakes another to go on reading. So a call that is alone costs no hand-over. For
answers that no thread waits for (futures), one daemon thread reads, made at the
first of them.

`reading` is held by whoever reads. Who lets go of it looks for sleepers afterwards, and
who goes to sleep says so first and then tries to take it once more: one of them sees
the other.
"""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING

from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.sender import CutOff, Sender
from bgpy.calling.blocking.waiting import READABLE, TICK, TimeOver, poll, seconds_left, set_tick
from bgpy.calling.conversation import Answer, Calls, Done, Pending
from bgpy.calling.liveness import ServerWatch
from bgpy.errors import BgpyError, ServerGone
from bgpy.memory import Piece
from bgpy.system.latch import Latch
from bgpy.wire.messages import Failure, Goodbye, Message

if TYPE_CHECKING:
    from bgpy.calling.blocking.waiting import Stream

RECEIVE_BUFFER = 2**18
"""Bytes received at once."""

FAREWELL = 1.0
"""Seconds for what was submitted, and the goodbye, to leave when a client is closed."""

IDLE = 0.01
"""Seconds of silence after which a connection is looked at before it is used again.

Shorter than any restart of a server takes, longer than the pauses in a row of calls.
"""

_END = -1
"""Stands for the end of the connection, which no message answers."""


_awaited: set[Channel] = set()
"""Channels with futures under way: they live until those are done, whoever forgets the client."""


class Channel:
    """An authenticated connection and the calls under way on it."""

    def __init__(self, connected: Connected) -> None:
        reached, self.connection, self.welcome = connected
        self._sock = reached.sock
        assert self.connection.reader is not None, "the handshake is done"
        self._frames = self.connection.reader
        set_tick(self._sock)
        self._server = ServerWatch(self.welcome)
        self._sender = Sender(self._sock, self._server)
        self._calls = Calls()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._reader = 0  # the thread that reads
        self._futures = Latch()
        self._futures_served = False
        self._broken: ServerGone | None = None
        self._receive = self._sock.recv_into
        self._buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self._last_used = monotonic()
        # Not __del__: in a cycle the socket may be collected first, which warns.
        weakref.finalize(self, _finish, self._sock, self._sender, self._futures)

    def usable(self) -> bool:
        """Whether a request may be sent; a connection long idle is looked at first."""
        now = monotonic()
        idle = now - self._last_used
        self._last_used = now
        if idle > IDLE and self._broken is None:
            self._look()
        return self._broken is None

    def send(
        self, request: int, pieces: list[Piece], deadline: float | None, done: Done | None = None
    ) -> Pending:
        """Send `request`, which `connection` made; its answer goes to whoever calls `wait`.

        Raises `ServerGone` (*not started*) if it could not leave whole, and `TimeOver` if
        it did not by `deadline`; it is no longer under way then.
        """
        self._calls.pending[request] = pending = Pending(request, done)
        try:
            # Asked when the call is under way: whatever breaks the channel later finds it.
            if self._broken is not None:
                raise ServerGone.at("not started", str(self._broken))
            self._sender.send(pieces, deadline)
        except (BgpyError, TimeOver) as error:
            self.abandon(pending)
            if isinstance(error, CutOff):
                self._break("the time of a request was over before it had left whole")
            raise
        except OSError as error:
            self.abandon(pending)
            self._lost(error)
            raise ServerGone.at("not started", f"the request could not be sent: {error}") from error
        except BaseException:
            self.abandon(pending)
            self._break("a request was interrupted in the middle")
            raise
        return pending

    def submit(self, request: int, pieces: list[Piece], done: Done) -> None:
        """Send a request whose answer goes to `done`, in the thread that reads it.

        It may leave a moment later, with others. Raises as `send`.
        """
        if not self._futures_served:
            self._serve_futures_too()
        if self._calls.pending and len(pieces) == 1 and self._broken is None:
            pending = self._calls.begin(request, done)
            self._gather(pending, pieces[0])
        else:
            pending = self.send(request, pieces, None, done)
        with self._lock:
            if self._calls.pending:
                _awaited.add(self)
        if not self._reading.locked():
            self._futures.open()
        if self._broken is not None:
            if pending is self._calls.take(request):
                done(self._broken)  # it broke before it knew of this call
            _awaited.discard(self)

    def wait(self, pending: Pending, deadline: float | None) -> Message:
        """Wait for the answer of `pending`, reading for others meanwhile.

        Raises `TimeOver` at `deadline` (the call stays under way) and `ServerGone`
        (*unknown*) if the connection or the server's process is gone.
        """
        while pending.answer is None:
            if self._begin_to_read():
                try:
                    self._read_for_all(pending, deadline)
                finally:
                    try:
                        self._leave()
                    except BaseException:
                        # A signal handler's, perhaps before another thread was woken to read.
                        self._break("a call was interrupted")
                        raise
            elif self._reader == get_ident():
                self._read_for_all(pending, deadline)  # in a future's callback, which it runs
            else:
                self._sleep(pending, deadline)
        answer = pending.answer
        if isinstance(answer, ServerGone):
            raise ServerGone.at(answer.progress, str(answer))
        return answer

    def abandon(self, pending: Pending) -> None:
        """Wait no longer for `pending`: a late answer will be dropped."""
        self._calls.abandon(pending)
        with self._lock:
            self._wake_reader()  # it may have been its turn to read

    def wait_closed(self, deadline: float | None) -> None:
        """Read until the server closes the connection; raises `TimeOver` at `deadline`."""
        end = self._calls.begin(_END)
        if self._broken is not None:
            self.abandon(end)
            return
        try:
            self.wait(end, deadline)
        except ServerGone:
            return

    def close(self, farewell: bool) -> None:
        """Close the connection; with `farewell` the server hears that it is on purpose."""
        if farewell and self._broken is None:
            try:
                self._sender.send(
                    self.connection.send(Goodbye("the client closed")), monotonic() + FAREWELL
                )
            except (OSError, BgpyError, TimeOver):
                pass  # it is gone already, or takes nothing now
        self._break("the client was closed")

    def forget_in_child(self) -> None:
        """In a forked child: give the descriptor back; the parent's connection stays."""
        _awaited.discard(self)
        self._sender.forget_in_child()
        self._sock.close()

    def _sleep(self, pending: Pending, deadline: float | None) -> None:
        """Wait while another thread reads, until there is an answer or the turn to read."""
        with self._lock:
            if pending.answer is not None:
                return
            gate = pending.gate = Latch()
        woken = False
        try:
            if not self._reading.locked():
                return  # it has let go, perhaps without having seen the gate
            woken = gate.wait(seconds_left(deadline, -1))
        finally:
            if not woken:
                with self._lock:
                    if pending.gate is None:
                        self._wake_reader()  # the turn came too late: pass it on
                    pending.gate = None
        if not woken:
            raise TimeOver

    # Sending

    def _gather(self, pending: Pending, piece: Piece) -> None:
        try:
            self._sender.gather(pending.request, piece)
        except OSError as error:
            self._lost(error)  # which ends this call too
        except BaseException:
            self.abandon(pending)
            self._break("a request was interrupted in the middle")
            raise

    def flush(self) -> bool:
        """Send what was gathered; False if the channel has ended."""
        try:
            self._sender.flush(None)
        except OSError as error:
            self._lost(error)
        return self._broken is None

    def _lost(self, error: OSError) -> None:
        """Nothing can be sent any more; the answers that came before the end are still read."""
        self._look()
        if not self._reading.locked():
            self._break(f"the connection was lost: {error}")

    def _serve_futures_too(self) -> None:
        """Start the threads that send and read what nobody waits for."""
        with self._lock:
            if self._futures_served:
                return
            for name, gate, serve in (
                ("bgpy-futures", self._futures, Channel.serve_futures),
                ("bgpy-sender", self._sender.bell, Channel.flush),
            ):
                threading.Thread(
                    target=_serve, args=(gate, weakref.ref(self), serve), name=name, daemon=True
                ).start()
            self._futures_served = True

    # Reading

    def _read_for_all(self, pending: Pending, deadline: float | None) -> None:
        try:
            while pending.answer is None:
                if deadline is None or self._readable(deadline):
                    self._read(pending)
                elif self._server.is_gone():
                    self._break("the server's process is gone")
        except TimeOver:
            raise
        except BaseException as error:
            # In the middle of a message: nobody could read on from here.
            self._break(f"reading was interrupted by {type(error).__name__}")
            raise

    def serve_futures(self) -> bool:
        """Read while anything is under way; False if the channel has ended."""
        self._read_while(lambda: bool(self._calls.pending))
        return self._broken is None

    def _look(self) -> None:
        """Read what came while nobody waited, to find a connection that has ended."""
        self._read_while(lambda: poll(self._sock, 0.0, READABLE))

    def _read_while(self, more: Callable[[], bool]) -> None:
        """Read as long as there is `more`, unless another thread reads."""
        if self._broken is not None or not self._begin_to_read():
            return
        try:
            while self._broken is None and more():
                self._read(None)
        except BaseException as error:
            # Nobody reads on from here, and no future may wait for what doesn't come.
            self._break(f"reading was interrupted by {type(error).__name__}")
            raise
        finally:
            try:
                self._leave()
            except BaseException:
                self._break("a call was interrupted")
                raise

    def _begin_to_read(self) -> bool:
        """Whether this thread reads from now on, until `_leave`."""
        try:
            if not self._reading.acquire(False):
                return False
            self._reader = get_ident()
        except BaseException:
            # A signal handler's, perhaps just after it was taken: nobody would let go of it.
            self._break("a call was interrupted")
            raise
        return True

    def _leave(self) -> None:
        """Read no longer, and wake another thread to go on if there is need."""
        self._reader = 0
        self._reading.release()
        if self._calls.pending or self._futures_served:
            with self._lock:
                self._wake_reader()

    def _wake_reader(self) -> None:
        if not self._calls.pending:
            _awaited.discard(self)
        elif not self._reading.locked():
            sleeper = self._calls.sleeper()
            if sleeper is not None:
                sleeper.wake()
            elif self._futures_served:
                self._futures.open()

    def _readable(self, deadline: float) -> bool:
        """Whether there is something to read, after a tick at most."""
        left = seconds_left(deadline, 0.0)
        # What comes for others must not keep this thread beyond its time.
        if left and poll(self._sock, min(left, TICK), READABLE):
            return True
        if left <= TICK:
            raise TimeOver
        return False

    def _read(self, own: Pending | None) -> None:
        """Receive once and hand out what came; `own` is the call of the thread that reads."""
        frames = self._frames
        target = frames.target
        messages: Sequence[Message]
        try:
            if target is None:
                count = self._receive(self._buffer)
                message = frames.lone(self._buffer, count)
                if message is None:
                    messages = frames.feed(self._buffer[:count])
                elif own is not None and message.request == own.request:
                    # Not there any more if another thread has just closed the channel.
                    self._calls.pending.pop(own.request, None)
                    own.answer = message
                    return
                else:
                    messages = (message,)
            else:
                count = self._receive(target)
                messages = frames.filled(count)
        except (TimeoutError, BlockingIOError):
            if self._server.is_gone():
                self._break("the server's process is gone")
        except BgpyError as error:
            self._break(f"the server broke the protocol: {error}")
        except OSError as error:
            self._break(f"the connection was lost: {error}")
        else:
            if not count:
                self._break("the server closed the connection without a word")
            for message in messages:
                self._hand_out(message, own)

    def _hand_out(self, message: Message, own: Pending | None) -> None:
        pending = self._calls.pending.get(message.request)
        if pending is own and own is not None:
            own.answer = message
            self._calls.take(message.request)
        elif pending is not None:
            self._hand_over(pending, message)
        elif message.request == 0 and isinstance(message, (Goodbye, Failure)):
            self._break(f"the server closed the connection: {message.text}")

    def _hand_over(self, pending: Pending, answer: Answer) -> None:
        if pending.done is not None:
            if self._calls.take(pending.request) is pending:
                pending.done(answer)
            return
        with self._lock:
            pending.answer = answer
            pending.wake()
        # Only now: who is interrupted before it breaks the channel, which wakes those it knows of.
        self._calls.take(pending.request)

    # The end

    def _break(self, reason: str) -> None:
        with self._lock:
            if self._broken is not None:
                return
            self._broken = gone = ServerGone.at(
                "unknown", f"{reason}; whether the call ran is not known"
            )
            unsent = ServerGone.at("not started", f"{reason}; the call had not been sent")
            failed = self._calls.fail(gone)
            for request in self._sender.forget():
                if request in failed:
                    failed[request].answer = unsent
            for pending in failed.values():
                pending.wake()
            try:
                self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
            except OSError:
                pass  # the server was first
            self._sock.close()
            self._futures.open()
            self._sender.bell.open()
        for pending in failed.values():
            if pending.done is not None and pending.answer is not None:
                pending.done(pending.answer)
        _awaited.discard(self)


def _serve(gate: Latch, find: weakref.ref[Channel], serve: Callable[[Channel], bool]) -> None:
    """A daemon thread of a channel, which it doesn't keep alive while nothing is under way."""
    while True:
        gate.wait()
        channel = find()
        if channel is None or not serve(channel):
            return
        del channel


def _finish(sock: Stream, sender: Sender, futures: Latch) -> None:
    """What a channel leaves behind when it is collected, or the interpreter ends."""
    try:
        # Also where nothing is gathered: another thread may be about to send it.
        sender.send([], monotonic() + FAREWELL)
    except (OSError, TimeOver):
        pass  # it is gone already, or takes nothing now
    sock.close()
    futures.open()
    sender.bell.open()
