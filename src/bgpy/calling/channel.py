"""One live connection, shared by all threads of a client.

Of the threads that wait for an answer one reads for all; when it has its own, it
wakes another to go on reading. So a call that is alone costs no hand-over.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from time import monotonic

from bgpy.calling.calls import Calls, Pending
from bgpy.calling.connecting import Connected
from bgpy.calling.liveness import ServerProcess
from bgpy.errors import BgpyError, ServerGone
from bgpy.wire.frames import Piece
from bgpy.wire.messages import Failure, Goodbye, Message

RECEIVE_BUFFER = 2**18
"""Bytes received at once."""

TICK = 0.5
"""Seconds after which a waiting thread looks whether the server's process is gone."""

IDLE = 0.01
"""Seconds of silence after which a connection is looked at before it is used again.

Shorter than any restart of a server takes, longer than the pauses in a row of calls.
"""

READABLE, WRITABLE = 1, 2

MOST_PIECES = 512
"""Pieces in one system call; below every platform's IOV_MAX."""


class TimeOver(Exception):
    """The deadline of a wait is over; the call is still under way."""


class Channel:
    """An authenticated connection and the calls under way on it."""

    def __init__(self, connected: Connected, first_request: int) -> None:
        self._sock, self._connection, self.welcome = connected
        _set_tick(self._sock)
        self._calls = Calls(first_request)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._reading = False
        self._broken: ServerGone | None = None
        self._buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self._process: ServerProcess | None = None
        self._last_used = monotonic()
        # Not __del__: in a cycle the socket may be collected first, which warns.
        weakref.finalize(self, self._sock.close)

    @property
    def next_request(self) -> int:
        """Where a later connection of the same client goes on counting."""
        return self._calls.next_request

    def usable(self) -> bool:
        """Whether a request may be sent; a connection long idle is looked at first."""
        now = monotonic()
        idle, self._last_used = now - self._last_used, now
        if idle > IDLE and self._broken is None:
            self._look()
        return self._broken is None

    def send(self, make: Callable[[int], Message], deadline: float | None) -> Pending:
        """Number and send the request that `make` makes of its id.

        Raises `ServerGone` (*not started*) if it could not leave whole, `TimeOver` if it
        did not by `deadline`, and `MessageTooLarge` if the server would not take it.
        """
        self._take_turn(deadline)
        pending = self._calls.begin()
        try:
            # Asked only now: whatever breaks the channel later finds this call under way.
            if self._broken is not None:
                raise ServerGone.at("not started", str(self._broken))
            self._send_all(self._connection.send(make(pending.request)), deadline)
        except (BgpyError, TimeOver):
            self.abandon(pending)
            raise
        except OSError as error:
            self.abandon(pending)
            self._break(f"the connection was lost: {error}")
            raise ServerGone.at("not started", f"the request could not be sent: {error}") from error
        except BaseException:
            self._break("a request was interrupted in the middle")
            raise
        finally:
            self._sending.release()
        return pending

    def wait(self, pending: Pending, deadline: float | None) -> Message:
        """Wait for the answer of `pending`, reading for others meanwhile.

        Raises `TimeOver` at `deadline` (the call stays under way) and `ServerGone`
        (*unknown*) if the connection or the server's process is gone.
        """
        while True:
            with self._lock:
                if pending.answer is not None:
                    break
                reads = not self._reading
                if reads:
                    self._reading = True
                else:
                    gate = pending.gate = threading.Lock()
                    gate.acquire()
            if not reads:
                self._sleep(pending, gate, deadline)
                continue
            self._read_for_all(pending, deadline)
            if pending.answer is not None:
                break
        if isinstance(pending.answer, ServerGone):
            raise ServerGone.at(pending.answer.progress, str(pending.answer))
        return pending.answer

    def abandon(self, pending: Pending) -> None:
        """Wait no longer for `pending`: a late answer will be dropped."""
        self._calls.abandon(pending)

    def wait_closed(self, deadline: float | None) -> None:
        """Read until the server closes the connection; raises `TimeOver` at `deadline`."""
        self._take_turn(deadline)
        end = self._calls.begin()
        self._sending.release()
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
                self._take_turn(now := monotonic())
                try:
                    self._send_all(self._connection.send(Goodbye("the client closed")), now)
                finally:
                    self._sending.release()
            except (OSError, BgpyError, TimeOver):
                pass  # it is gone already, or takes nothing now
        self._break("the client was closed")

    def forget_in_child(self) -> None:
        """In a forked child: give the descriptor back; the parent's connection stays."""
        self._sock.close()

    def _sleep(self, pending: Pending, gate: threading.Lock, deadline: float | None) -> None:
        """Wait while another thread reads, until there is an answer or the turn to read."""
        woken = False
        try:
            woken = gate.acquire(timeout=_left(deadline, -1))
        finally:
            if not woken:
                with self._lock:
                    if pending.gate is None and not self._reading:
                        _wake(self._calls.sleeper())  # the turn came too late: pass it on
                    pending.gate = None
        if not woken:
            raise TimeOver

    # Sending

    def _take_turn(self, deadline: float | None) -> None:
        """Wait until no other thread sends: ids count up in the order of the requests."""
        if deadline is None:
            self._sending.acquire()
        elif not self._sending.acquire(timeout=_left(deadline, -1)):
            raise TimeOver

    def _send_all(self, pieces: Sequence[Piece], deadline: float | None) -> None:
        """Send all of `pieces` while the server lives; `TimeOver` at `deadline`."""
        left = list(pieces)
        taken = 0
        while left:
            if deadline is not None:
                self._wait_writable(deadline, taken > 0)
            try:
                if sys.platform == "win32" or len(left) == 1:
                    taken = self._sock.send(left[0])
                else:
                    taken = self._sock.sendmsg(left[:MOST_PIECES])
            except (TimeoutError, BlockingIOError):
                if self._server_is_gone():
                    raise ConnectionResetError("the server's process is gone") from None
                continue
            if taken == len(left[0]) and len(left) == 1:
                return
            rest = taken
            while left and rest >= len(left[0]):
                rest -= len(left.pop(0))
            if rest:
                left[0] = memoryview(left[0])[rest:]

    def _wait_writable(self, deadline: float, begun: bool) -> None:
        """Wait until the socket takes bytes; a request cut off in the middle is the end."""
        while not (ready := _poll(self._sock, min(_left(deadline, 0.0), TICK), WRITABLE)):
            if monotonic() >= deadline:
                break
            if self._server_is_gone():
                raise ConnectionResetError("the server's process is gone")
        if begun and monotonic() >= deadline:
            self._break("the time of a request was over before it had left whole")
        elif ready:
            return
        raise TimeOver

    # Reading

    def _read_for_all(self, pending: Pending, deadline: float | None) -> None:
        try:
            while pending.answer is None:
                if deadline is None or self._readable(deadline):
                    self._read(pending)
                elif self._server_is_gone():
                    self._break("the server's process is gone")
        except TimeOver:
            raise
        except BaseException as error:
            # In the middle of a message: nobody could read on from here.
            self._break(f"reading was interrupted by {type(error).__name__}")
            raise
        finally:
            with self._lock:
                self._reading = False
                if self._calls.under_way:
                    _wake(self._calls.sleeper())

    def _readable(self, deadline: float) -> bool:
        """Whether there is something to read, after a tick at most."""
        left = _left(deadline, 0.0)
        # What comes for others must not keep this thread beyond its time.
        if left and _poll(self._sock, min(left, TICK), READABLE):
            return True
        if left <= TICK:
            raise TimeOver
        return False

    def _read(self, own: Pending | None) -> None:
        """Receive once and hand out what came; `own` is the call of the thread that reads."""
        connection = self._connection
        target = connection.target()
        try:
            if target is None:
                count = self._sock.recv_into(self._buffer)
                messages = connection.receive(self._buffer[:count]) if count else []
            else:
                count = self._sock.recv_into(target)
                messages = connection.filled(count) if count else []
        except (TimeoutError, BlockingIOError):
            if self._server_is_gone():
                self._break("the server's process is gone")
            return
        except BgpyError as error:
            self._break(f"the server broke the protocol: {error}")
            return
        except OSError as error:
            self._break(f"the connection was lost: {error}")
            return
        if not count:
            self._break("the server closed the connection without a word")
        for message in messages:
            pending = self._calls.take(message.request)
            if pending is own and own is not None:
                own.answer = message
            elif pending is not None:
                with self._lock:
                    pending.answer = message
                    _wake(pending)
            elif message.request == 0 and isinstance(message, (Goodbye, Failure)):
                self._break(f"the server closed the connection: {message.text}")

    def _look(self) -> None:
        """Read what came while nobody waited, to find a connection that has ended."""
        with self._lock:
            if self._reading or self._broken is not None:
                return
            self._reading = True
        try:
            while self._broken is None and _poll(self._sock, 0.0, READABLE):
                self._read(None)
        finally:
            with self._lock:
                self._reading = False
                _wake(self._calls.sleeper())

    # The end

    def _break(self, reason: str) -> None:
        with self._lock:
            if self._broken is None:
                self._broken = ServerGone.at(
                    "unknown", f"{reason}; whether the call ran is not known"
                )
                for pending in self._calls.fail(self._broken):
                    _wake(pending)
                try:
                    self._sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
                except OSError:
                    pass  # the server was first
                self._sock.close()

    def _server_is_gone(self) -> bool:
        if self._process is None:
            self._process = ServerProcess.of(self.welcome)
        return self._process is not None and self._process.is_gone()


def _set_tick(sock: socket.socket) -> None:
    """Let receiving and sending give up after `TICK` seconds.

    Python's own timeout costs a system call before each; the kernel's costs none.
    """
    if sys.platform == "win32":
        sock.settimeout(TICK)
        return
    sock.settimeout(None)
    timeval = struct.pack("@ll", 0, int(TICK * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


def _wake(pending: Pending | None) -> None:
    if pending is not None and pending.gate is not None:
        gate, pending.gate = pending.gate, None
        gate.release()


def _left(deadline: float | None, without: float) -> float:
    return without if deadline is None else max(0.0, deadline - monotonic())


def _poll(sock: socket.socket, seconds: float, events: int) -> bool:
    try:
        if sys.platform == "win32":
            watched = ([sock], []) if events is READABLE else ([], [sock])
            return any(select.select(*watched, [], seconds))
        poll = select.poll()
        poll.register(sock, select.POLLIN if events is READABLE else select.POLLOUT)
        return bool(poll.poll(seconds * 1000))
    except ValueError:
        return True  # closed by another thread: using it tells
