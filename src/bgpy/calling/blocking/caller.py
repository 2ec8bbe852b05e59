"""The blocking client: connects when needed, sends, waits, and says what it knows.

One `Caller` stands for one client object; it may be used from many threads, and a
forked child of its process connects anew, under an id of its own.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterable
from itertools import count
from time import monotonic
from typing import Any, TypeVar

from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target, connect
from bgpy.calling.blocking.waiting import TimeOver, seconds_left
from bgpy.calling.conversation import Done, Pending
from bgpy.calling.liveness import ServerProcess
from bgpy.errors import (
    CallingSelf,
    CallTimeout,
    Progress,
    RemoteProtocolError,
    ServerGone,
    ServerRestarted,
    Unreachable,
)
from bgpy.memory import Payload, Piece
from bgpy.tasks import current
from bgpy.wire.messages import (
    Cancel,
    Failure,
    Message,
    Modules,
    Ping,
    Pong,
    Reason,
    Status,
)

T = TypeVar("T")

log = logging.getLogger("bgpy.client")

ASK = 1.0
"""Seconds that a server has, after a call's time is over, to say how far it came."""

END = 10.0
"""Seconds that a server's process has to end after its port has closed."""

_callers: weakref.WeakSet[Caller] = weakref.WeakSet()


class Caller:
    """A client's way to one server."""

    def __init__(self, target: Target, connect_timeout: float) -> None:
        self._target = target
        self._connect_timeout = connect_timeout
        self._incarnation: bytes | None = None
        self._begin_anew()
        _callers.add(self)

    def _begin_anew(self) -> None:
        self._client_id = os.urandom(16)
        self.requests = count(1)
        """Gives the ids of this client's requests."""
        self._channel: Channel | None = None
        self._connecting = threading.Lock()
        self._hashes: dict[str, str | None] = {}

    def request(self, message: Message, timeout: float | None) -> Message:
        """Send `message` and wait for its answer, up to `timeout` seconds.

        Raises `ConnectError` and its kin, `ServerRestarted`, `ServerGone`,
        `CallingSelf`, `CallTimeout` and `MessageTooLarge`.
        """
        deadline = None if timeout is None else monotonic() + timeout
        channel = self._in_time(deadline, timeout)
        if current.is_task_thread_of(channel.welcome.incarnation):
            raise _calls_itself()
        pieces = channel.connection.send(message)
        return self._answer(channel, message.request, pieces, deadline, timeout)

    def call(self, payload: Payload, timeout: float | None) -> Message:
        """As `request` of an `Execute` that waits for what is responded."""
        deadline = None if timeout is None else monotonic() + timeout
        channel = self._channel
        if channel is None or not channel.usable():
            channel = self._in_time(deadline, timeout)
        if current.is_task_thread_of(channel.welcome.incarnation):
            raise _calls_itself()
        number = next(self.requests)
        pieces = channel.connection.execute(number, payload, True)
        return self._answer(channel, number, pieces, deadline, timeout)

    def request_receipt(self, message: Message, timeout: float | None) -> Message:
        """As `request`, for what is answered while a task runs: also from a task itself."""
        deadline = None if timeout is None else monotonic() + timeout
        channel = self._in_time(deadline, timeout)
        pieces = channel.connection.send(message)
        return self._answer(channel, message.request, pieces, deadline, timeout)

    def submit(self, payload: Payload, done: Done) -> None:
        """As `call`; the answer goes to `done`, in another thread.

        Raises as `call` as long as nothing was sent.
        """
        channel = self._channel
        if channel is None or not channel.usable():
            channel = self._connected()
        number = next(self.requests)
        channel.submit(number, channel.connection.execute(number, payload, True), done)

    def ping(self, timeout: float | None) -> float:
        """Seconds to the server and back."""
        self._connected()
        start = monotonic()
        _expect(Pong, self.request_receipt(Ping(next(self.requests)), timeout))
        return monotonic() - start

    def hashes(self, names: Iterable[str], timeout: float | None) -> dict[str, str | None]:
        """The server's source hash of each module; it is asked once for each."""
        import json  # 2 ms that a program without a call never needs

        self._connected()
        unknown = sorted(set(names) - self._hashes.keys())
        if unknown:
            text = json.dumps({"modules": unknown})
            question = Modules(next(self.requests), text)
            answer = _expect(Modules, self.request_receipt(question, timeout))
            hashes = _told(answer.text, "modules")
            if not isinstance(hashes, dict):
                raise RemoteProtocolError("the server's answer about modules tells of none")
            self._hashes.update(hashes)
        return self._hashes

    def terminate(self, message: Message, timeout: float | None) -> Message:
        """Send an exit; give its answer once the server's port is closed and its process gone."""
        deadline = None if timeout is None else monotonic() + timeout
        channel = self._in_time(deadline, timeout)
        process = ServerProcess.of(channel.welcome)
        answer = self.request(message, timeout)
        if isinstance(answer, Failure) and answer.reason in (Reason.DECODE, Reason.PYTHON):
            return answer  # it could not be read, so the server goes on
        try:
            channel.wait_closed(deadline)
        except TimeOver:
            raise _timed_out(timeout, "started") from None
        seconds = min(seconds_left(deadline, END), END)
        if process is not None and not process.wait_gone(seconds):
            if seconds < END:
                raise _timed_out(timeout, "started")
            log.warning("the server's port is closed, but its process %d goes on", process.pid)
        return answer

    def close(self) -> None:
        """Close the connection, if there is one; the next call makes another."""
        channel = self._channel
        if channel is not None:
            channel.close(farewell=True)
            with self._connecting:
                self._drop(channel)

    def reset_in_child(self) -> None:
        """In a forked child: leave the parent its connection and begin anew."""
        if self._channel is not None:
            self._channel.forget_in_child()
        self._begin_anew()

    def _in_time(self, deadline: float | None, timeout: float | None) -> Channel:
        """The channel, connected by `deadline` if need be; else `CallTimeout`."""
        try:
            return self._connected(deadline)
        except Unreachable as error:
            if deadline is None or monotonic() < deadline:
                raise
            raise _timed_out(timeout, "not started") from error

    def _connected(self, deadline: float | None = None) -> Channel:
        channel = self._channel
        if channel is not None and channel.usable():
            return channel
        with self._connecting:
            if self._channel is not None and self._channel.usable():
                return self._channel
            if self._channel is not None:
                self._drop(self._channel)
            seconds = seconds_left(deadline, self._connect_timeout)
            connected = connect(self._target, self._client_id, min(seconds, self._connect_timeout))
            self._channel = Channel(connected)
            self._notice_restart(connected.welcome.incarnation)
            return self._channel

    def _drop(self, channel: Channel) -> None:
        if self._channel is channel:
            self._channel = None

    def _notice_restart(self, incarnation: bytes) -> None:
        before, self._incarnation = self._incarnation, incarnation
        if before not in (None, incarnation):
            self._hashes.clear()
            raise ServerRestarted(
                f"the server at {self._target.address} is another process than before: nothing "
                "of this call ran, and its state is new; initialise it if need be, then call again"
            )

    def _answer(
        self,
        channel: Channel,
        request: int,
        pieces: list[Piece],
        deadline: float | None,
        timeout: float | None,
    ) -> Message:
        try:
            pending = channel.send(request, pieces, deadline)
        except TimeOver:
            raise _timed_out(timeout, "not started") from None
        try:
            return channel.wait(pending, deadline)
        except TimeOver:
            return self._given_up(channel, pending, timeout)
        except BaseException:
            channel.abandon(pending)
            raise

    def _given_up(self, channel: Channel, pending: Pending, timeout: float | None) -> Message:
        """Raise `CallTimeout` with what the server tells; its answer, if that comes first."""
        try:
            progress = self._ask(channel, pending)
        finally:
            channel.abandon(pending)
        if pending.answer is not None and not isinstance(pending.answer, ServerGone):
            return pending.answer
        raise _timed_out(timeout, progress)

    def _ask(self, channel: Channel, pending: Pending) -> Progress:
        """Have the server withdraw a call whose time is over; how far it had come."""
        target = pending.request
        try:
            deadline = monotonic() + ASK
            cancel = Cancel(next(self.requests), target)
            pieces = channel.connection.send(cancel)
            question = channel.send(cancel.request, pieces, deadline)
            try:
                answer = channel.wait(question, deadline)
            finally:
                channel.abandon(question)
        except (TimeOver, ServerGone):
            return "unknown"
        stage = _told(answer.text, "call") if isinstance(answer, Status) else None
        stages: dict[str, Progress] = {"withdrawn": "not started", "running": "started"}
        return stages.get(stage, "unknown") if isinstance(stage, str) else "unknown"


def _expect(kind: type[T], answer: Message) -> T:
    """`answer`, if it is of that kind; what else a server says to such a request is a mistake."""
    if isinstance(answer, kind):
        return answer
    said = f": {answer.text}" if isinstance(answer, Failure) else ""
    raise RemoteProtocolError(
        f"the server answered with a {type(answer).__name__}, where a {kind.__name__} was due{said}"
    )


def _told(text: str, key: str) -> Any:
    """What the JSON object `text` holds under `key`; None if it is none, or holds nothing."""
    import json

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found.get(key) if isinstance(found, dict) else None


def _calls_itself() -> CallingSelf:
    return CallingSelf(
        "a task can't wait for a call to its own server, which runs one task at a "
        "time: call the function itself, or use execute() without await_response"
    )


def _timed_out(timeout: float | None, progress: Progress) -> CallTimeout:
    meaning = {
        "not started": "it had not started, and will not run",
        "started": "it had started and goes on: its reply will be dropped",
        "unknown": "whether it ran is not known",
    }[progress]
    return CallTimeout.at(progress, f"no answer within {timeout} s ({progress}): {meaning}")


def _reset_in_child() -> None:
    for caller in list(_callers):
        caller.reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
