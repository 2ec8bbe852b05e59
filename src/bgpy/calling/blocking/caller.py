"""The blocking client: connects when needed, sends, waits, and says what it knows.

One `Caller` stands for one client object; it may be used from many threads, and a
forked child of its process connects anew, under an id of its own.

A call that comes in on a thread which is in the midst of another one (a signal handler's, or
that of a ``__del__`` which the collector runs) takes a connection of its own: it may not
wait for what its own thread holds. The same serves when the interpreter ends, and other
threads are no more.
"""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from bgpy.calling.blocking import threads
from bgpy.calling.blocking.channel import Alone, Channel, Shared, Unusable, chain_block
from bgpy.calling.blocking.connecting import Target, prepare
from bgpy.calling.blocking.connector import Connector, TooLate, own_copy
from bgpy.calling.blocking.futures import Callbacks, CallFuture
from bgpy.calling.blocking.sender import Posted, Sender
from bgpy.calling.blocking.waiting import seconds_left
from bgpy.calling.conversation import Acquaintance, Answer, timed_out, told
from bgpy.calling.results import value_of
from bgpy.errors import (
    BgpyError,
    CallingSelf,
    CallTimeout,
    RemoteProtocolError,
    ServerGone,
    Unreachable,
)
from bgpy.late import json
from bgpy.memory import Payload
from bgpy.tasks import current
from bgpy.wire.messages import Failure, Message, Modules, Ping, Pong, Reason

T = TypeVar("T")

log = logging.getLogger("bgpy.client")

FAREWELL = 5.0
"""Seconds that a server has to read what has left, when a client is closed or its program ends."""

END = 10.0
"""Seconds that a server's process has to end after its port has closed."""

CLOSED, ENDED, OVER = "the client was closed", "the program has ended", "the call is over"
"""Why a client closes a connection."""

ENDS = (Reason.TASK, Reason.NO_RESPONSE, Reason.NOT_STARTED)
"""Failures of an exit after which the server ends all the same."""

_callers: weakref.WeakSet[Caller] = weakref.WeakSet()

Make = Callable[[int], Message]
"""Makes the message of a request's id."""


class _Program:
    """Whether this program is ending: then nobody counts on other threads any more."""

    ends = False


class Caller:
    """A client's way to one server."""

    def __init__(self, target: Target, connect_timeout: float) -> None:
        self._target = target
        self._connect_timeout = connect_timeout
        self._acquaintance = Acquaintance(target.address)
        self._begin_anew()
        _callers.add(self)

    def _begin_anew(self) -> None:
        self._shared = shared = Shared()
        self._here = shared.here
        shared.push_on = weakref.WeakMethod(self._ring)
        self._connector = Connector(self._target, self._connect_timeout, shared, self._acquaintance)
        self._sender = Sender(shared)
        self._in_hand: deque[Lock] = deque()
        self._hashes: tuple[bytes, dict[str, str | None]] = b"", {}

    @property
    def channel(self) -> Channel | None:
        """The connection in use, if there is one; it may have ended."""
        return self._connector.channel

    # Calls that wait

    def call(self, payload: Payload, timeout: float | None) -> Answer:
        """As `request` of an `Execute` that waits for what is responded."""
        # The road of nearly all calls first: `_do` says what the conditions are.
        here, channel = self._here, self._connector.channel
        if channel is not None and not (
            here.inside.locked() or self._sender.posted or _Program.ends or current.is_task_thread()
        ):
            deadline = None if timeout is None else monotonic() + timeout
            with here.inside:
                if channel.usable() and channel.generation <= self._acquaintance.told:
                    try:
                        return channel.call(payload, b"", timeout, deadline, here.turn)
                    except (Unusable, Alone):
                        pass  # nothing was sent
        answer: Answer = self._do(
            lambda channel, deadline, turn: channel.call(
                payload, current.chain(), timeout, deadline, turn
            ),
            timeout,
            waits=True,
        )
        return answer

    def request(
        self, make: Make, timeout: float | None, *, waits: bool = True, notice: bool = True
    ) -> Answer:
        """Send a message and wait for its answer, up to `timeout` seconds.

        `waits` says that the answer comes when a task has run, `notice` that the caller has
        to know of a restart before. Raises `ConnectError` and its kin, `ServerRestarted`,
        `ServerGone`, `CallingSelf`, `CallTimeout` and `MessageTooLarge`.
        """
        answer: Answer = self._do(
            lambda channel, deadline, turn: channel.request(make, timeout, deadline, turn),
            timeout,
            waits=waits,
            notice=notice,
        )
        return answer

    def ping(self, timeout: float | None) -> float:
        """Seconds to the server and back."""
        deadline = _deadline(timeout)
        if not self._is_inside():
            with self._here.inside:
                self._connected(deadline, timeout)
        start = monotonic()
        answer = self.request(Ping, _left(deadline), waits=False, notice=False)
        _expect(Pong, answer)
        return monotonic() - start

    def initialize(self, make: Make, timeout: float | None) -> Answer:
        """As `request` of an `Init`: whoever makes it knows that the server may be new."""
        channels: list[Channel] = []

        def ask(channel: Channel, deadline: float | None, turn: Lock) -> Answer:
            channels.append(channel)
            return channel.request(make, timeout, deadline, turn)

        answer: Answer = self._do(ask, timeout, waits=True, notice=False)
        if not isinstance(answer, BgpyError):
            self._acquaintance.knows(channels[-1].generation)
        return answer

    def hashes(self, names: Iterable[str], timeout: float | None) -> dict[str, str | None]:
        """The server's source hash of each module; it is asked once for each."""
        known: dict[str, str | None] = {}
        asked: set[str] = set(names)

        def ask(channel: Channel, deadline: float | None, turn: Lock) -> Answer | None:
            incarnation, hashes = self._hashes
            known.clear()
            known.update(hashes if incarnation == channel.welcome.incarnation else {})
            unknown = sorted(asked - known.keys())
            if not unknown:
                return None
            text = json().dumps({"modules": unknown})
            answer = channel.request(lambda number: Modules(number, text), timeout, deadline, turn)
            found = told(_expect(Modules, answer).text, "modules")
            if not isinstance(found, dict):
                raise RemoteProtocolError("the server's answer about modules tells of none")
            known.update(found)
            self._hashes = channel.welcome.incarnation, dict(known)
            return None

        self._do(ask, timeout, waits=False, notice=False)
        return known

    def terminate(self, make: Make, waits: bool, timeout: float | None) -> Answer:
        """Send an exit; give its answer once the server's port is closed and its process gone."""

        def end(channel: Channel, deadline: float | None, turn: Lock) -> Answer:
            answer = channel.request(make, timeout, deadline, turn)
            if isinstance(answer, Failure) and answer.reason not in ENDS:
                return answer  # it was refused, so the server does not end
            if isinstance(answer, CallTimeout):
                return answer
            if not channel.wait_closed(deadline):
                return timed_out(timeout, "started")
            return self._ended(channel, answer, deadline, timeout)

        ended: Answer = self._do(end, timeout, waits=True, notice=False)
        return ended

    def _ended(
        self, channel: Channel, answer: Answer, deadline: float | None, timeout: float | None
    ) -> Answer:
        """The port is closed: wait for the process, where that can be seen."""
        self._acquaintance.ended(channel.welcome.incarnation)
        process = channel.process
        seconds = min(seconds_left(deadline, END), END)
        if process is not None and not process.wait(seconds) and process.alive():
            if seconds < END:
                return timed_out(timeout, "started")
            log.warning(
                "the server closed its port, but its process %d is still running", process.pid
            )
        return answer

    # Calls that don't

    def submit(
        self, payload: Payload, value_of: Callable[[Answer], Any], timeout: float | None
    ) -> CallFuture:
        """A future of what `value_of` makes of the answer of an `Execute`; returns at once.

        It waits for room, up to the call's deadline, where so much is on its way that the
        socket takes no more.
        """
        future: CallFuture = CallFuture(value_of, self._waited_for)
        self._post(Posted(future, payload, timeout, self._acquaintance.told))
        return future

    def _post(self, posted: Posted) -> None:
        if _Program.ends or not self._has_callbacks():
            self._submit_alone(posted)
            return
        self._sender.posted.append(posted)
        channel = self._connector.channel
        if channel is None or self._here.inside.locked():
            self._ring()
            return
        with self._here.inside:
            if not channel.usable():
                self._ring()  # which connects anew, and finds out whether the server was restarted
                return
            try:
                with self._shared.lock:
                    self._admit(channel)
                    stays = channel.push_admitted()
            except Unusable:
                stays = True
            except OSError as error:
                channel.lost(error)
                stays = True
            if stays:
                self._ring()
                while channel.is_full and seconds_left(posted.deadline, 1.0):
                    channel.wait_writable(seconds_left(posted.deadline, 1.0))
                    self._push(channel)

    def send_posted(self, seconds: float) -> bool:
        """In the sender's thread: send what can leave within `seconds`; whether more is left."""
        posted = self._sender.posted
        channel = self._connector.channel
        if posted:
            try:
                channel = self._connected(posted[0].deadline, posted[0].timeout)
                with self._shared.lock:
                    self._admit(channel)
            except Unusable:
                if channel is not None:
                    self._connector.drop(channel, "a call was interrupted")
                return bool(posted)
            except Alone:
                self._submit_first_alone()
                return bool(posted)
            except Exception as error:  # whatever kept it from connecting
                self._fail_posted(error)
                return bool(posted)
        if channel is None:
            return False
        if not self._push(channel):
            return bool(posted)
        channel.wait_writable(seconds)
        return self._push(channel) or bool(posted)

    def _push(self, channel: Channel) -> bool:
        try:
            return channel.push()
        except OSError as error:
            channel.lost(error)
            return False

    def _admit(self, channel: Channel) -> None:
        """With the lock held: hand what was posted to the channel, in order.

        Whoever is interrupted here leaves the first one posted, perhaps admitted already: it
        keeps its call, so that the next one finds what was done and does only the rest.
        """
        posted = self._sender.posted
        while posted:
            first = posted[0]
            call = first.call
            if call is None or (first.channel is not channel and call.answer is None):
                if channel.generation > first.told:
                    self._settle(first, self._acquaintance.restarted(channel.generation))
                    posted.popleft()
                    continue
                call = first.new_call(channel)
                first.future.look_again()
                admitted = False
            else:
                admitted = call.answer is not None or channel.has_admitted(call)
            if not admitted:
                try:
                    channel.admit(call, first.payload)
                except BgpyError as error:  # too large
                    self._settle(first, error)
                    channel.conversation.abandon(call)
            if first.deadline is not None and self._sender.timers.add(
                first.deadline, channel, call
            ):
                self._sender.ring(self)  # which waits for a later one, or for none
            posted.popleft()

    def _fail_posted(self, error: Exception) -> None:
        """No connection: what was posted has not started, and won't."""
        if not isinstance(error, BgpyError):
            log.error("submitted calls were not sent", exc_info=error)
            error = Unreachable(f"no connection could be made: {type(error).__name__}: {error}")
        posted = self._sender.posted
        if _Program.ends:  # nobody is left to ask the futures
            log.warning("%d submitted calls were not sent: %s", len(posted), error)
        with self._shared.lock:
            for _ in range(len(posted)):
                self._settle(posted[0], error)
                posted.popleft()

    def _settle(self, posted: Posted, answer: Answer) -> None:
        callbacks = self._shared.callbacks
        assert callbacks is not None, "futures have come with them"
        if isinstance(answer, BgpyError):
            answer = own_copy(answer)
        posted.future.arrived(answer, callbacks)

    def _submit_first_alone(self) -> None:
        """The first one posted, if nobody else takes it, over a connection of its own.

        The thread that ends the program waits for those that others have in hand: each is
        behind a lock, which is noted before the call is taken out and held by ``with`` until
        it is over. So who finds nothing posted finds the lock.
        """
        lock = Lock()
        with lock:
            self._in_hand.append(lock)
            try:
                posted = self._sender.posted.popleft()
            except IndexError:
                pass  # another thread was faster
            else:
                self._submit_alone(posted)
            self._in_hand.remove(lock)

    def wait_for_others(self, deadline: float) -> None:
        """Wait for the calls that other threads make over connections of their own."""
        for lock in self._in_hand.copy():
            # It is nobody's after that.
            lock.acquire(timeout=seconds_left(deadline, FAREWELL))

    def _submit_alone(self, posted: Posted) -> None:
        """Over a connection of its own, here and now: no other thread can be had."""
        try:
            answer = self._alone(
                lambda channel, deadline, turn: channel.call(
                    posted.payload, current.chain(), posted.timeout, deadline, turn
                ),
                posted.deadline,
                posted.timeout,
                posted.told,
                notice=True,
                waits=True,
            )
        except BgpyError as error:
            answer = error
        posted.future.settle(answer)
        posted.future.finish()

    def _ring(self) -> None:
        if not self._sender.ring(self):
            while self._sender.posted:
                self._submit_first_alone()

    def _has_callbacks(self) -> bool:
        """Whether there is a thread for the callbacks of futures; starts it at the first."""
        shared = self._shared
        callbacks = shared.callbacks
        if callbacks is None:
            shared.callbacks = callbacks = Callbacks()
        assert callbacks is not None, "just made"
        return callbacks.start(shared)

    def _waited_for(self, future: CallFuture) -> bool:
        """In a thread that waits for `future`; whether to do this again within a tick.

        In a task, raises `CallingSelf` where the wait could never end, as soon as there is a
        connection that tells; otherwise the server learns who waits for that call.
        """
        if not current.is_task_thread():
            return False
        channel = self._connector.channel
        if channel is None:
            return True
        if current.is_task_thread_of(channel.welcome.incarnation):
            raise calls_itself()
        if not self._is_inside():  # else this is a handler's, which may not take the lock
            with self._here.inside:
                channel.waited_for(future)
        return True

    # Its end

    def close(self) -> None:
        """Close the connection, if there is one; the next call makes another."""
        if self._is_inside():
            # A handler or a __del__ in the midst of a call: by another thread, when that is over.
            threads.start(self.close)
            return
        with self._here.inside:
            deadline = monotonic() + FAREWELL
            channel = self._say_goodbye(CLOSED, deadline)
            self._connector.give_up()
            if channel is not None:
                channel.drain(deadline)
                channel.close(CLOSED)
            self._sender.rest()
            if self._shared.callbacks is not None:
                self._shared.callbacks.rest()

    def _say_goodbye(self, reason: str, deadline: float) -> Channel | None:
        """Send what there is and a goodbye; the channel, which may have to be drained."""
        channel = self._connector.channel
        if self._sender.posted:
            try:
                channel = self._connected(deadline, FAREWELL)
                with self._shared.lock:
                    self._admit(channel)
            except Unusable:
                if channel is not None:
                    self._connector.drop(channel, "a call was interrupted")
                    return self._say_goodbye(reason, deadline)
            except Alone:
                while self._sender.posted:
                    self._submit_first_alone()
            except Exception as error:  # whatever kept it from connecting
                self._fail_posted(error)
        if channel is None:
            return None
        drains = channel.say_goodbye(reason, deadline)
        self._connector.leave(channel)
        if not drains:
            channel.close(reason)
            return None
        return channel

    def prepare_for_the_end(self) -> None:
        """Import what a call takes that a ``__del__`` makes when nothing can be imported."""
        with suppress(BgpyError):  # what could not be imported is told to the call that needs it
            json()
        if not self._acquaintance.has_met:  # else all of it was needed for that
            prepare(self._target)

    def reset_in_child(self) -> None:
        """In a forked child: leave the parent its connection and begin anew."""
        gone = ServerGone.at(
            "unknown",
            "this process was forked after the call was made, and the parent gets its answer: "
            "call again here",
        )
        channel = self._connector.channel
        posted = list(self._sender.posted)
        if channel is not None:
            channel.forget_in_child(gone)
        self._begin_anew()
        for each in posted:
            each.future.settle_in_child(gone)

    # What all have in common

    def _is_inside(self) -> bool:
        return _Program.ends or self._here.inside.locked()

    def _do(
        self,
        ask: Callable[[Channel, float | None, Lock], Any],
        timeout: float | None,
        *,
        waits: bool,
        notice: bool = True,
    ) -> Any:
        """Have `ask` send over a connection, made if need be, and give what it gives."""
        began = self._acquaintance.told
        deadline = _deadline(timeout)
        here = self._here
        if _Program.ends or here.inside.locked():
            return self._alone(ask, deadline, timeout, began, notice, waits)
        with here.inside:
            while True:
                channel = self._connector.channel
                if channel is None or not channel.usable():
                    channel = self._connected(deadline, timeout)
                if channel.generation > began and notice:
                    raise self._acquaintance.restarted(channel.generation)
                if waits and current.is_task_thread_of(channel.welcome.incarnation):
                    raise calls_itself()
                try:
                    if self._sender.posted:
                        with self._shared.lock:
                            self._admit(channel)
                    return ask(channel, deadline, here.turn)
                except Unusable:
                    self._connector.drop(channel, "a call was interrupted")
                except Alone:
                    break
        return self._alone(ask, deadline, timeout, began, notice, waits)

    def _alone(
        self,
        ask: Callable[[Channel, float | None, Lock], Any],
        deadline: float | None,
        timeout: float | None,
        began: int,
        notice: bool,
        waits: bool = False,
    ) -> Any:
        """As `_do`, over a connection of its own that is closed after."""
        try:
            channel = self._connector.alone(deadline)
        except TooLate as error:
            raise timed_out(timeout, "not started") from error
        try:
            incarnation = channel.welcome.incarnation
            if notice and self._acquaintance.is_another(incarnation):
                raise self._acquaintance.restarted(began)
            if waits and current.is_task_thread_of(incarnation):
                raise calls_itself()
            channel.generation = self._acquaintance.generation
            return ask(channel, deadline, Lock())
        finally:
            last = monotonic() + min(FAREWELL, seconds_left(deadline, FAREWELL))
            if channel.say_goodbye(OVER, last):
                channel.drain(last)
            channel.close(OVER)

    def _connected(self, deadline: float | None, timeout: float | None) -> Channel:
        try:
            # A thread that is started while the program ends may never run.
            return self._connector.connected(deadline, here=_Program.ends)
        except TooLate as error:
            raise timed_out(timeout, "not started") from error


def current_chain() -> bytes:
    """The extension block of a call that waits: the chain of calls that it is made in."""
    return chain_block(current.chain())


def calls_itself() -> CallingSelf:
    """The error of a task that waits for its own server."""
    return CallingSelf(
        "a task can't wait for a call to its own server, which runs one task at a time",
        advice="call the function itself, or use execute() without await_response",
    )


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - monotonic())


def _expect(kind: type[T], answer: Answer) -> T:
    """`answer`, if it is of that kind; what else a server says to such a request is a mistake."""
    if isinstance(answer, kind):
        return answer
    if isinstance(answer, BgpyError) or (
        isinstance(answer, Failure) and answer.reason == Reason.OVERLOAD
    ):
        value_of(answer, "")  # raises it
    said = f": {answer.text}" if isinstance(answer, Failure) else ""
    raise RemoteProtocolError(
        f"the server answered with {type(answer).__name__} instead of {kind.__name__}{said}"
    )


def _reset_in_child() -> None:
    for caller in list(_callers):
        caller.reset_in_child()


def _leave() -> None:
    """At the program's end: all that was submitted leaves, and is read by the servers.

    Registered when bgpy is imported, so it runs after what the program registers; what comes
    later still makes connections of its own.
    """
    _Program.ends = True
    callers = list(_callers)
    for caller in callers:
        caller.prepare_for_the_end()
    deadline = monotonic() + FAREWELL
    leaving = [caller._say_goodbye(ENDED, deadline) for caller in callers]
    for channel in leaving:
        if channel is not None:
            channel.drain(deadline)
            channel.close(ENDED)
    for caller in callers:
        caller.wait_for_others(deadline)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
atexit.register(_leave)
