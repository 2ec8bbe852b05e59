"""The blocking client: connects when needed, sends, waits, and says what it knows.

One `Caller` stands for one client object; it may be used from many threads, and a
forked child of its process connects anew, under an id of its own.

::

    Caller ─┬─ Access      the connection that all share, or one of its own
            └─ Submitter   calls that nobody waits for at once
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking import threads
from bgpy.calling.blocking.access import Access, Ask
from bgpy.calling.blocking.channel import Channel, chain_block
from bgpy.calling.blocking.connecting import Target, prepare
from bgpy.calling.blocking.link import STRUCK_SENDING
from bgpy.calling.blocking.program import FAREWELL, join
from bgpy.calling.blocking.shared import NoReader, Unusable
from bgpy.calling.blocking.submitting import Submitter
from bgpy.calling.conversation import Answer
from bgpy.calling.results import value_of
from bgpy.calling.terms import Terms
from bgpy.calling.timeouts import EXITING, timed_out
from bgpy.errors import BgpyError, CallTimeout, RemoteProtocolError, ServerGone
from bgpy.late import json
from bgpy.memory import Encoded, whole
from bgpy.system.deadlines import deadline_in, seconds_left
from bgpy.tasks import current
from bgpy.wire.messages import (
    Failure,
    Message,
    Modules,
    Ping,
    Pong,
    Reason,
    modules_text,
    modules_told,
)

T = TypeVar("T")

log = logging.getLogger("bgpy.client")

END = 10.0
"""Seconds that a server's process has to end after its port has closed."""

CLOSED = "the client was closed"

ENDS = (Reason.TASK, Reason.NO_RESPONSE)
"""Failures of an exit after which the server ends all the same."""

Make = Callable[[int], Message]
"""Makes the message of a request's id."""


class Caller:
    """A client's way to one server."""

    def __init__(self, target: Target, connect_timeout: float) -> None:
        self._target = target
        self._connect_timeout = connect_timeout
        self._acquaintance = Acquaintance(target.address)
        self._begin_anew()
        join(self)

    def _begin_anew(self) -> None:
        self._access = access = Access(self._target, self._connect_timeout, self._acquaintance)
        self._here = access.here
        self.connector = access.connector
        self._submitter = Submitter(access)
        self.submit = self._submitter.submit
        """Submits an `Execute`; see `Submitter.submit`."""
        self._posted = access.posted
        self._hashes: tuple[bytes, dict[str, str | None]] = b"", {}

    @property
    def channel(self) -> Channel | None:
        """The connection in use, if there is one; it may have ended."""
        return self.connector.channel

    # Calls that wait

    def call(self, packed: Encoded, timeout: float | None, left: float | None = None) -> Answer:
        """As `request` of an `Execute` that waits for what is responded.

        A small one goes by the short road where there is one (`Connector.shortcut`).
        """
        payload = whole(packed)
        answer: Answer = self._do(
            lambda channel, deadline: channel.call(payload, current.chain(), timeout, deadline),
            timeout,
            left,
            waits=True,
        )
        return answer

    def request(
        self,
        make: Make,
        timeout: float | None,
        left: float | None = None,
        *,
        waits: bool = True,
        notice: bool = True,
    ) -> Answer:
        """Send a message and wait for its answer, up to `timeout` seconds, or what is `left` of
        them.

        `waits` says that the answer comes when a task has run, `notice` that the caller has
        to know of a restart before. Raises `ConnectError` and its kin, `ServerRestarted`,
        `ServerGone`, `CallingSelf`, `CallTimeout` and `MessageTooLarge`.
        """
        answer: Answer = self._do(
            lambda channel, deadline: channel.request(make, timeout, deadline),
            timeout,
            left,
            waits=waits,
            notice=notice,
        )
        return answer

    def ping(self, timeout: float | None) -> float:
        """Seconds to the server and back."""
        took = 0.0

        def ask(channel: Channel, deadline: float | None) -> None:
            nonlocal took
            start = monotonic()
            _expect(Pong, channel.request(Ping, timeout, deadline))
            took = monotonic() - start

        self._do(ask, timeout, waits=False, notice=False)
        return took

    def initialize(self, make: Make, timeout: float | None, left: float | None) -> Answer:
        """As `request` of an `Init`: its caller knows that the server may be new."""
        channels: list[Channel] = []

        def ask(channel: Channel, deadline: float | None) -> Answer:
            channels.append(channel)
            return channel.request(make, timeout, deadline)

        answer: Answer = self._do(ask, timeout, left, waits=True, notice=False)
        if not isinstance(answer, BgpyError):
            self._acquaintance.knows(channels[-1].generation)
        return answer

    def hashes(self, names: Iterable[str], timeout: float | None) -> dict[str, str | None]:
        """The server's source hash of each module; it is asked once for each."""
        known: dict[str, str | None] = {}
        asked: set[str] = set(names)

        def ask(channel: Channel, deadline: float | None) -> Answer | None:
            incarnation, hashes = self._hashes
            known.clear()
            known.update(hashes if incarnation == channel.link.welcome.incarnation else {})
            unknown = sorted(asked - known.keys())
            if not unknown:
                return None
            text = modules_text(unknown)
            answer = channel.request(lambda number: Modules(number, text), timeout, deadline)
            found = modules_told(_expect(Modules, answer).text)
            if found is None:
                raise RemoteProtocolError("the server's reply to a module query has no module list")
            known.update(found)
            self._hashes = channel.link.welcome.incarnation, dict(known)
            return None

        self._do(ask, timeout, waits=False, notice=False)
        return known

    def known_hashes(self) -> dict[str, str | None]:
        """Those of the server that this client is connected to, as far as it was asked."""
        channel = self.connector.channel
        incarnation, hashes = self._hashes
        known = channel is not None and channel.link.welcome.incarnation == incarnation
        return hashes if known else {}

    def learn_hashes(self, hashes: dict[str, str | None]) -> None:
        """Note that these are the server's now, and what else was known may be outdated."""
        channel = self.connector.channel
        if channel is not None:
            self._hashes = channel.link.welcome.incarnation, hashes

    def terminate(self, make: Make, timeout: float | None, left: float | None = None) -> Answer:
        """Send an exit; give its answer once the server's port is closed and its process gone.

        `timeout` and `left` are those of `request`.
        """

        def end(channel: Channel, deadline: float | None) -> Answer:
            answer = channel.request(make, timeout, deadline)
            if isinstance(answer, Failure) and answer.reason not in ENDS:
                return answer  # it was refused, so the server does not end
            if isinstance(answer, CallTimeout):
                return answer
            if not channel.wait_closed(deadline):
                return timed_out(timeout, "started", self._target.address, EXITING)
            return self._ended(channel, answer, deadline, timeout)

        ended: Answer = self._do(end, timeout, left, waits=True, notice=False)
        return ended

    def _ended(
        self, channel: Channel, answer: Answer, deadline: float | None, timeout: float | None
    ) -> Answer:
        """The port is closed: wait for the process, where that can be seen."""
        self._acquaintance.ended(channel.link.welcome.incarnation)
        process = channel.link.process
        seconds = min(seconds_left(deadline, END), END)
        if process is not None and not process.wait(seconds) and process.alive():
            if seconds < END:
                return timed_out(timeout, "started", self._target.address, EXITING)
            log.warning(
                "the server closed its port, but its process %d is still running", process.pid
            )
        return answer

    # Its end

    def close(self) -> None:
        """Close the connection, if there is one; the next call makes another."""
        if self._access.is_inside():
            # A handler or a __del__ in the midst of a call: by another thread, when that is over.
            threads.start(self.close)
            return
        with self._here.inside:
            deadline = monotonic() + FAREWELL
            channel = self.say_goodbye(CLOSED, deadline)
            self.connector.give_up()
            if channel is not None:
                channel.wait_closed(deadline)
                channel.close(CLOSED)
            self._submitter.rest()

    def say_goodbye(self, reason: str, deadline: float) -> Channel | None:
        """Send what there is and a goodbye; the channel, if it is to be read to its end."""
        if self._posted:
            self._submitter.admit_all(deadline)
        channel = self.connector.channel
        if channel is None:
            return None
        drains = channel.say_goodbye(reason, deadline)
        self.connector.let_go(channel)
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

    def wait_for_others(self, deadline: float) -> None:
        """Wait for the calls that other threads make over connections of their own."""
        self._submitter.apart.wait_for_others(deadline)

    def reset_in_child(self) -> None:
        """In a forked child: leave the parent its connection and begin anew."""
        gone = ServerGone(
            "this process was forked after the call was made, and the parent gets its answer",
            advice="call again here",
            progress="unknown",
        )
        channel, posted = self.channel, list(self._posted)
        if channel is not None:
            channel.forget_in_child(gone)
        self._begin_anew()
        for each in posted:
            each.call.settle_in_child(gone)

    # What all have in common

    def _do(
        self,
        ask: Ask,
        timeout: float | None,
        left: float | None = None,
        *,
        waits: bool,
        notice: bool = True,
    ) -> Any:
        """Have `ask` send over a connection, made if need be, and give what it gives.

        Where `left` is given it is what is left of `timeout`, which errors name.
        """
        access = self._access
        deadline = deadline_in(timeout if left is None else left)
        terms = Terms(timeout, deadline, self._acquaintance.notified, waits, notice)
        if access.is_inside():
            return access.apart(ask, terms)
        with self._here.inside:
            while True:
                channel = self.connector.channel
                if channel is None or not channel.usable():
                    channel = access.connected(deadline, timeout)
                    access.look()
                access.check(channel, terms)
                self.connector.open_shortcut(channel)
                try:
                    if self._posted:
                        with access.shared.lock:
                            self._submitter.admit(channel)
                    return ask(channel, deadline)
                except Unusable:
                    self.connector.drop(channel, STRUCK_SENDING)
                except NoReader:
                    break
        return access.apart(ask, terms)


def current_chain() -> bytes:
    """The extension block of a call that waits: the chain of calls that it is made in."""
    return chain_block(current.chain())


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
