"""How a client comes to its connection: one thread connects, and all wait as long as they may.

An `Attempt` is made by the first that needs a connection, in a thread of its own, which no
signal handler runs in. Those that come meanwhile join it. Each waits at a latch until its
own deadline; the attempt has the whole time to connect, even if those that wait have left.

The client's lock is held to look for an attempt, to make one and to publish its end, and
never while something is waited for. A latch is in the attempt's list before its owner
waits, and the end is published before those in it are opened, both under the lock: so nobody
is overlooked. Who is interrupted before it has noted the attempt leaves a thread that
connects for the next one.

**Whatever is raised in that thread ends the attempt**, and most of all a lack of memory. The
error is noted first and the latches are opened second, without the lock: who joins appends its
latch first and looks for the end second. So nobody is overlooked there either, and an attempt that
is over is no longer joined. Where no memory is left for opening them, those who wait find the error
themselves, since they look each `TICK`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import TypeVar

from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking import threads
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Connected, Target, connect, import_for
from bgpy.calling.blocking.program import Program
from bgpy.calling.blocking.refused import since_restart
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.blocking.shortcut import Shortcut
from bgpy.calling.blocking.waiting import TICK
from bgpy.errors import AuthenticationError, BgpyError, Unreachable
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.latch import Latch
from bgpy.system.strikes import is_strike

LOOK_WHO_WAITS = 0.05
"""Seconds after which who waits on behalf of several calls looks which of them still do."""


class Attempt:
    """One way to a connection, under way or done."""

    def __init__(self, opening: int) -> None:
        self.channel: Channel | None = None
        self.error: BaseException | None = None
        self.latches: list[Latch] = []
        """Those that wait for its end. Its copy is whole in every build, a deque's is not."""
        self.opening = opening
        """How often the client had been closed when it began."""

    def tell(self) -> None:
        """Wake all that wait for its end."""
        for latch in self.latches.copy():
            latch.open()

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in a channel or in an error."""
        return self.channel is not None or self.error is not None


class TooLate(Exception):
    """The deadline is over, and there is no connection yet."""


class Connector:
    """Makes a client's connections, one at a time, and keeps the one in use."""

    def __init__(
        self, target: Target, timeout: float, shared: Shared, acquaintance: Acquaintance
    ) -> None:
        self._target = target
        self._timeout = timeout
        self._shared = shared
        self._lock = shared.lock
        self._acquaintance = acquaintance
        self._client_id = os.urandom(16)
        self._attempt: Attempt | None = None
        self._closed = 0  # how often the client was
        self.channel: Channel | None = None
        """The connection in use; it may have ended."""
        self.shortcut: Shortcut | None = None
        """Its short road, since a call was found to be free to use the connection."""

    def open_shortcut(self, channel: Channel) -> None:
        """Let calls take the short road of `channel`, over which a call may go.

        It is closed where the short roads are switched off, and as long as it isn't known that
        the program was told of the server's restart. With the connection it is closed again.
        """
        shortcut = channel.shortcut
        if self.shortcut is shortcut or shortcut.longest < 0 or Program.ends:
            return
        with self._lock:
            if self.channel is channel and channel.generation <= self._acquaintance.notified:
                self.shortcut = shortcut

    def connected(
        self,
        deadline: float | None,
        here: bool = False,
        goes_on: Callable[[], bool] | None = None,
    ) -> Channel:
        """The channel, connected if need be; with `here` without the help of another thread.

        `goes_on` is asked again and again whether it is still waited for. Raises `TooLate` at
        `deadline` or where it isn't, and what `connect` raises.
        """
        channel = self.channel
        if channel is not None:
            if channel.usable():
                return channel
            self.drop(channel, "the connection has ended")
        if not self._acquaintance.has_met:  # else all has been imported
            import_for(self._target)
        attempt, latch = (None, Latch()) if here else self._join()
        if attempt is None:
            return self._connect_here(deadline)
        longest = TICK if goes_on is None else LOOK_WHO_WAITS
        while not attempt.is_over:
            seconds = min(seconds_left(deadline, longest), longest)
            if latch.wait(seconds) or attempt.is_over:
                continue
            if is_over(deadline) or (goes_on is not None and not goes_on()):
                self._stop_waiting(attempt, latch)
                raise TooLate
        if attempt.channel is not None:
            return attempt.channel
        self._stop_waiting(attempt, latch)
        assert attempt.error is not None, "it is over"
        raise own_copy(attempt.error)

    def apart(self, deadline: float | None) -> Channel:
        """A connection of its own for one call, which no other thread and no lock has to do with.

        Raises as `connected`.
        """
        shared = Shared(self._target.address)
        connected = self._connect(os.urandom(16), deadline)
        return _channel(connected, shared)

    def drop(self, channel: Channel, reason: str) -> None:
        """Use `channel` no longer, and end it; one that is being closed has its end."""
        if not channel.link.closing:
            channel.close(reason)
        with self._lock:
            if self.channel is channel:
                self.channel = self.shortcut = None

    def let_go(self, channel: Channel) -> None:
        """Use `channel` no longer: who has said goodbye over it ends it."""
        with self._lock:
            if self.channel is channel:
                self.channel = self.shortcut = None

    def give_up(self) -> None:
        """Want no connection that nobody waits for: the client is closed."""
        with self._lock:
            self._closed += 1
            self._attempt = None

    def _join(self) -> tuple[Attempt | None, Latch]:
        """The attempt that is under way, begun if need be, and what opens at its end.

        None where no thread can be started.
        """
        latch = Latch()
        with self._lock:
            attempt = self._attempt
            if attempt is None or attempt.is_over:
                attempt = Attempt(self._closed)
                if self.channel is not None and self.channel.conversation.ended is None:
                    attempt.channel = self.channel  # another thread was faster
                    return attempt, latch
                if not threads.start(self._run, attempt):
                    return None, latch
                self._attempt = attempt
            attempt.latches.append(latch)
        return attempt, latch

    def _stop_waiting(self, attempt: Attempt, latch: Latch) -> None:
        """Wait no longer. One that nobody waits for may still succeed; the next call begins anew,
        since this one may be stuck where another would not be."""
        with self._lock:
            if latch in attempt.latches:
                attempt.latches.remove(latch)
            if self._attempt is attempt and (attempt.is_over or not attempt.latches):
                self._attempt = None

    def _run(self, attempt: Attempt) -> None:
        """In a thread of its own: connect, and tell all that wait.

        The collector may run a ``__del__`` here that uses this very client. The thread counts
        as inside of it, so that this waits neither for the attempt nor for the lock.
        """
        try:
            with self._shared.here.inside:
                self._conclude(attempt, self._reach(self._client_id, self._timeout))
        except BaseException as error:
            attempt.error = error
            attempt.tell()

    def _conclude(self, attempt: Attempt, connected: Connected) -> None:
        with self._lock:
            if attempt.opening == self._closed or attempt.latches:
                attempt.channel = self._publish(connected)
            else:
                connected.reached.sock.close()  # nobody wants it any more
            if self._attempt is attempt:
                self._attempt = None
            attempt.tell()

    def _connect_here(self, deadline: float | None) -> Channel:
        connected = self._connect(self._client_id, deadline)
        with self._lock:
            return self._publish(connected)

    def _connect(self, client_id: bytes, deadline: float | None) -> Connected:
        seconds = min(seconds_left(deadline, self._timeout), self._timeout)
        try:
            return self._reach(client_id, seconds)
        except Unreachable as error:
            if is_strike(error) or not is_over(deadline):
                raise
            raise TooLate from error

    def _reach(self, client_id: bytes, seconds: float) -> Connected:
        try:
            return connect(self._target, client_id, seconds, self._acquaintance.has_met)
        except AuthenticationError as error:
            if is_strike(error):
                raise
            known = since_restart(error, self._target.address, self._acquaintance.is_another)
            raise known from error.__cause__

    def _publish(self, connected: Connected) -> Channel:
        """With the lock held: use that connection, unless another one came first.

        What has gathered on the one in use is sent by those that use it: it is never replaced.
        """
        if self.channel is not None and self.channel.conversation.ended is None:
            connected.reached.sock.close()
            return self.channel
        generation = self._acquaintance.meet(connected.welcome.incarnation)
        self.shortcut = None
        self.channel = channel = _channel(connected, self._shared, generation)
        return channel


def _channel(connected: Connected, shared: Shared, generation: int = 0) -> Channel:
    """The channel of that connection; without memory for one the connection ends."""
    try:
        return Channel(connected, shared, generation)
    except BaseException:
        connected.reached.sock.close()
        raise


E = TypeVar("E", bound=BaseException)


def own_copy(error: E) -> E:
    """A copy of `error` for one of those that raise it: each adds its own traceback."""
    if not isinstance(error, BgpyError):
        return error
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
