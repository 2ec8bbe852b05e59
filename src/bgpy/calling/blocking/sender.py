"""A client's thread in the background: it connects, sends what stayed behind, and keeps the time.

It is rung by `submitting` for calls that could not leave at once, and by a channel for what a
thread has begun to send and waits for no longer.
"""

from __future__ import annotations

import heapq
import logging
import weakref
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Protocol

from bgpy.calling.blocking import threads
from bgpy.calling.blocking.channel import ASK, Channel
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Call
from bgpy.system.deadlines import seconds_left

log = logging.getLogger("bgpy.client")


class Work(Protocol):
    """What the sender does it for: a client."""

    def send_posted(self, seconds: float) -> bool:
        """Send what can leave within `seconds`; whether something is left."""


SenderBell = SimpleQueue["Work | weakref.ref[Work]"]
"""How the sender is rung by its client, and told of the client's end."""


class Timers:
    """The deadlines of futures. They keep nothing alive: what is under way is its channel's."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, weakref.ref[Channel], weakref.ref[Call]]] = []
        self._count = 0

    def add(self, deadline: float, channel: Channel, call: Call) -> bool:
        """Have `call` be `due` at `deadline`; whether that is the next of all.

        Like the others, with the client's lock held.
        """
        self._count += 1
        heapq.heappush(self._heap, (deadline, self._count, weakref.ref(channel), weakref.ref(call)))
        return self._heap[0][3]() is call

    def seconds(self) -> float | None:
        """Seconds until the next deadline."""
        while self._heap:
            call = self._heap[0][3]()
            if call is not None and call.answer is None:
                break
            heapq.heappop(self._heap)
        return seconds_left(self._heap[0][0]) if self._heap else None

    def due(self, now: float) -> list[tuple[Channel, Call]]:
        """Those whose time is over, taken out."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            _, _, find, find_call = heapq.heappop(self._heap)
            channel, call = find(), find_call()
            if channel is not None and call is not None and call.answer is None:
                found.append((channel, call))
        return found


class Sender:
    """A client's thread for that; it holds nothing of the client while there is nothing to do.

    It ends when the client is closed, as those of `Finishers` do, or collected.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._rung: SenderBell = SimpleQueue()
        self._started = False
        self._closed = False
        self.timers = Timers()

    def ring(self, work: Work) -> bool:
        """Have the thread call `work.send_posted`; False where it can't be started.

        May be called anywhere. One ring that it has not heard yet is enough: it looks after
        it has taken that out. Where two start it at the same time there are two, and each
        does what it finds.
        """
        self._closed = False
        if self._rung.empty():
            self._rung.put(work)
        if not self._started:
            # Told by C code alone when the client is collected: see `standby`.
            if not threads.start(self._run, weakref.ref(work, self._rung.put)):
                self._rung = SimpleQueue()  # nobody takes it out, and it holds the client
                return False
            self._started = True
        return True

    def rest(self, work: Work) -> None:
        """Have the thread end when nothing is left to do: the client is closed."""
        self._closed = True
        if self._started:
            self._rung.put(work)

    def _run(self, ended: weakref.ref[Work]) -> None:
        while True:
            with self._shared.here.inside:
                self._send()
            self._started = False
            if self._rung.empty():
                return
            self._started = True

    def _send(self) -> None:
        """Serve a client until it is closed or collected, and its futures' deadlines are over.

        Also until no ring is left: who closes rings too, perhaps while this thread sends, and
        `_run` would come back at once for a ring that nobody takes out, again and again.
        """
        work: Work | None = None
        while True:
            with self._shared.lock:
                seconds = self.timers.seconds()
            over = self._closed and seconds is None
            if work is None and over and self._rung.empty():
                return
            try:
                # Where there are two such threads, the other one may have taken the last ring.
                found = self._rung.get(work is None and not over, seconds)
                if isinstance(found, weakref.ref):
                    self._closed = True
                else:
                    work = found
                del found
            except Empty:
                pass
            try:
                if work is not None and not work.send_posted(min(TICK, seconds or TICK)):
                    work = None
                self._expire()
            except BaseException:  # out of memory: what is posted stays so
                log.debug("the thread that sends failed", exc_info=True)

    def _expire(self) -> None:
        """Futures whose time is over ask the server, and give up a moment later."""
        with self._shared.lock:
            due = self.timers.due(monotonic())
        for channel, call in due:
            if call.asked:
                channel.give_up_future(call)
            elif channel.expire_future(call):
                with self._shared.lock:
                    self.timers.add(monotonic() + ASK, channel, call)
