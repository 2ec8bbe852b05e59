"""Calls that nobody waits for at once: from `submit` to the send queue.

::

    submit ──post──► deque ──admit──► the channel's send queue ──push──► socket
                       └── where there is no connection yet, the sender makes one

Submitting appends to a deque and rings a bell, which may be done anywhere: in a signal
handler, in a ``__del__``, whatever the thread is in the middle of. What was posted is admitted,
in order, by the next thread that has the client's lock, which is the submitting thread itself
where it can: each is taken off the deque only after it has an id, so that what an interrupt
leaves there is admitted by the next one. The sender (`sender`) is rung whenever something
stays behind.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from bgpy.calling.blocking.access import Access, is_own_server
from bgpy.calling.blocking.apart import Apart
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connector import own_copy
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.link import STRUCK_SENDING
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.blocking.program import Program
from bgpy.calling.blocking.sender import Sender
from bgpy.calling.blocking.shared import NoReader, Unusable
from bgpy.calling.conversation import Answer
from bgpy.calling.terms import Verdict, Way, waits_for_itself, way_of_future
from bgpy.calling.timeouts import not_connected
from bgpy.errors import BgpyError, CallTimeout, Unreachable
from bgpy.memory import Encoded, Payload, whole
from bgpy.system.deadlines import is_over, seconds_left
from bgpy.system.strikes import is_strike
from bgpy.tasks import current

log = logging.getLogger("bgpy.client")


EMPTY: Payload = b"", (), False
"""In the place of what a call would have sent that has ended."""

NOT_IN_TIME = Unreachable("no connection could be made before the client was closed")


class Submitter:
    """Of one client."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._shared = access.shared
        self._connector = access.connector
        self._calling = access.shared.finishers.calling
        self._sender = Sender(self, access.shared)
        self.posted = access.posted
        self.apart = Apart(access)
        self._shared.push_on = weakref.WeakMethod(self.ring)

    def submit(
        self, packed: Encoded, value_of: Callable[[Answer], Any], timeout: float | None
    ) -> CallFuture:
        """A future of what `value_of` makes of the answer of an `Execute`; returns at once.

        It waits for room, up to the call's deadline, where so much is on its way that the
        socket takes no more.
        """
        future = CallFuture()
        future.value_of = value_of
        future.waited_for = self._waited_for
        if packed.__class__ is bytes and timeout is None:
            shortcut = self._connector.shortcut
            if shortcut is not None and (not self._calling.life.is_over or self._calling.start()):
                stays = shortcut.submit(future, packed)
                if stays is not None:
                    if stays:
                        self._see_off_small()
                    return future
        future.timeout = timeout
        self._post(Posted(future, whole(packed), self._access.acquaintance.notified))
        return future

    def _post(self, posted: Posted) -> None:
        here, channel = self._access.here, self._access.connector.channel
        inside = here.is_inside()
        tells = Program.ends or self._shared.finishers.start()
        sends = not inside or self._sender.start()
        way = way_of_future(Program.ends, inside, tells, sends)
        if way is Way.APART:
            self.apart.submit(posted)
            return
        if channel is None and not (inside or self.posted):
            self._access.look()  # here: the sender is no thread of the program's
        self.posted.append(posted)
        if way is Way.QUEUED:
            self._sender.ring(self)  # if it can't be had after all: see `_waited_for`
            return
        with here.inside:
            if channel is None or not channel.usable():
                self.ring()  # the sender connects anew, and finds out about a restart
                return
            self._connector.open_shortcut(channel)
            try:
                with self._shared.lock:
                    self.admit(channel)
                    stays = channel.push_admitted()
            except (Unusable, NoReader):
                stays = True
            except OSError as error:
                if is_strike(error):
                    raise
                channel.lost(error)
                stays = True
            if stays:
                self._see_off(channel, posted.terms.deadline)

    def _see_off_small(self) -> None:
        """As `_see_off`, for the short road."""
        channel = self._connector.channel
        if channel is not None:  # else it has ended, and what was gathered with it
            with self._shared.here.inside:
                self._see_off(channel, None)

    def _see_off(self, channel: Channel, deadline: float | None) -> None:
        """Have the sender push what stays; wait for room in the send queue where there is none.

        That is until the connection has ended or the time is over.
        """
        self.ring()
        while channel.is_full and seconds_left(deadline, 1.0):
            channel.link.wait_writable(seconds_left(deadline, 1.0))
            self._push(channel)

    def send_posted(self, seconds: float) -> bool:
        """In the sender's thread: send what can leave within `seconds`; whether more is left."""
        self.admit_all()
        channel = self._access.connector.channel
        if channel is None:
            return False
        if not self._push(channel):
            return bool(self.posted)
        channel.link.wait_writable(seconds)
        return self._push(channel) or bool(self.posted)

    def admit_all(self, last: float | None = None) -> None:
        """Have a connection, made if need be, take all that was posted.

        It is waited for as long as connecting may take, or up to `last`; each call whose own
        time is over meanwhile ends. What can't be sent ends too.
        """
        while self.posted:
            channel = self._connected(last)
            if channel is None:
                continue
            try:
                with self._shared.lock:
                    self.admit(channel)
            except Unusable:
                self._access.connector.drop(channel, STRUCK_SENDING)
            except NoReader:
                self.apart.submit_first()
            except Exception as error:
                if is_strike(error):
                    raise  # in the thread that closes: all stays posted
                self._fail_first(channel, error)

    def _connected(self, last: float | None) -> Channel | None:
        """The channel for what was posted; without one all of that has ended."""
        try:
            return self._access.connected(last, None, self._fail_late)
        except Exception as error:
            if is_strike(error):
                raise
            self._fail_all(NOT_IN_TIME if isinstance(error, CallTimeout) else error)
            return None

    def admit(self, channel: Channel) -> None:
        """With the lock held: hand what was posted to the channel, in order.

        A thread that is interrupted here leaves the first one posted, perhaps admitted already:
        it keeps its call, so that the next one finds what was done and does only the rest.
        """
        posted = self.posted
        while posted:
            first = posted[0]
            call = first.call
            if call.answer is not None or (self.apart.in_hand and self.apart.has(first)):
                # It has ended, or it is that thread's, which was struck before it took it out.
                posted.popleft()
                continue
            if first.channel is not channel:
                if first.terms.verdict(channel.generation, False) is Verdict.RESTARTED:
                    restarted = self._access.acquaintance.restarted(channel.generation)
                    self._settle(first, restarted)
                    posted.popleft()
                    continue
                first.channel = channel
                call.look_again()
                admitted = False
            else:
                admitted = channel.has_admitted(call)
            if not admitted:
                try:
                    channel.admit(call, first.payload)
                except BgpyError as error:  # too large
                    self._settle(first, error)
                    channel.conversation.abandon(call)
            if first.terms.deadline is not None and self._sender.timers.add(
                first.terms.deadline, channel.link, call
            ):
                self._sender.ring(self)  # which waits for a later one, or for none
            posted.popleft()

    def ring(self) -> None:
        """Have the sender send what stays behind; without a sender, do it here."""
        if not self._sender.ring(self):
            while self.posted:
                self.apart.submit_first()

    def rest(self) -> None:
        """The client is closed: no thread of its futures stays."""
        self._sender.rest()
        self._shared.finishers.rest()

    def _push(self, channel: Channel) -> bool:
        try:
            return channel.link.push()
        except OSError as error:
            if is_strike(error):
                raise
            channel.lost(error)
            return False

    def _fail_late(self) -> bool:
        """No connection yet: those whose time is over have not started, and won't.

        Whether others are left. Where looking fails (without memory, say) that is no failure to
        connect: it is done again in a moment.
        """
        try:
            with self._shared.lock:
                for each in _late(self.posted):
                    self._settle(each, not_connected(each.call.timeout, self._shared.address))
                    each.payload = EMPTY
                _drop_ended(self.posted)
        except Exception as error:
            if is_strike(error):
                raise
            log.warning("the time limits of submitted calls could not be checked: %r", error)
        return bool(self.posted)

    def _fail_first(self, channel: Channel, error: Exception) -> None:
        """Handing it to the channel failed, though there is a connection: that call ends."""
        log.error("a submitted call could not be sent", exc_info=error)
        with self._shared.lock:
            if not self.posted:
                return  # another thread has admitted it
            first = self.posted[0]
            left = channel.has_admitted(first.call)
            told = f"the call could not be sent: {type(error).__name__}: {error}"
            self._settle(first, BgpyError(told, progress="unknown" if left else "not started"))
            channel.conversation.abandon(first.call)
            self.posted.popleft()

    def _fail_all(self, error: Exception) -> None:
        """No connection: what was posted has not started, and won't."""
        if not isinstance(error, BgpyError):
            log.error("submitted calls were not sent", exc_info=error)
            error = Unreachable(f"no connection could be made: {type(error).__name__}: {error}")
        if Program.ends and self.posted:  # nobody is left to ask the futures
            count = len(self.posted)
            calls = "1 submitted call was" if count == 1 else f"{count} submitted calls were"
            log.warning("%s not sent: %s", calls, error)
        with self._shared.lock:
            for _ in range(len(self.posted)):
                self._settle(self.posted[0], error)
                self.posted.popleft()

    def _settle(self, posted: Posted, answer: Answer) -> None:
        if isinstance(answer, BgpyError):
            answer = own_copy(answer)
        self._shared.finishers.settle(posted.call, answer)

    def _waited_for(self, future: CallFuture) -> bool:
        """In a thread that waits for `future`; whether to do this again within a tick.

        What a thread has left that was struck while it saw to that call is done here. In a
        task, raises `CallingSelf` where the wait could never end, as soon as there is a
        connection that tells; otherwise the server learns who waits for that call.
        """
        inside = self._access.is_inside()  # if so this is a handler's, which may not take the lock
        if self.posted and not inside:
            with self._access.here.inside:
                self.ring()
        if self.apart.in_hand:
            self.apart.tidy()
        if not current.is_task_thread():
            return False
        channel = self._access.connector.channel
        if channel is None:
            return True
        if is_own_server(channel):
            raise waits_for_itself()
        if not inside:
            with self._access.here.inside:
                channel.waited_for(future)
        return True


def _late(posted: deque[Posted]) -> list[Posted]:
    """Those whose time is over, and that have not ended.

    With the client's lock held, without which none is taken out. Other threads append meanwhile,
    and end any iteration by that: so each is asked for by its place, which stays its own.
    """
    there = map(posted.__getitem__, range(len(posted)))
    return [each for each in there if each.call.answer is None and is_over(each.terms.deadline)]


def _drop_ended(posted: deque[Posted]) -> None:
    """With the lock held: take out what has ended, up to the first that hasn't.

    What has ended behind that one is skipped when its turn comes.
    """
    while posted and posted[0].call.answer is not None:
        posted.popleft()
