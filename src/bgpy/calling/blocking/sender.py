"""What a client does for futures in the background: connects, sends what gathers, keeps their time.

::

    submit ──post──► deque ──admit──► the channel's outbox ──push──► socket
                       └── where there is no connection yet, the sender makes one

Submitting appends to a deque and rings a bell, which may be done anywhere: in a signal
handler, in a ``__del__``, whatever the thread is in the middle of. Whoever has the client's
lock, the submitting thread itself where it can, admits what was posted, in order: each is
taken off the deque only after it has an id, so that what an interrupt leaves there is
admitted by the next one. The sender thread is rung whenever something stays behind.
"""

from __future__ import annotations

import heapq
import logging
import weakref
from collections import deque
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from bgpy.calling.blocking import threads
from bgpy.calling.blocking.channel import ASK, Channel, Shared
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Call
from bgpy.memory import Payload

if TYPE_CHECKING:
    from bgpy.calling.blocking.futures import CallFuture


log = logging.getLogger("bgpy.client")


class Posted:
    """A call that was submitted, on its way to a connection."""

    __slots__ = ("call", "channel", "deadline", "future", "payload", "timeout", "told")

    def __init__(
        self, future: CallFuture, payload: Payload, timeout: float | None, told: int
    ) -> None:
        self.future = future
        self.payload = payload
        self.timeout = timeout
        self.deadline = None if timeout is None else monotonic() + timeout
        self.told = told
        """The last restart that the client had been told of."""
        self.call: Call | None = None
        """What it has become on `channel`, while that may not be all done."""
        self.channel: Channel | None = None

    def new_call(self, channel: Channel) -> Call:
        """The call that it becomes on `channel`."""
        self.channel = channel
        self.call = call = Call(self.timeout, self.future)
        return call


class Work(Protocol):
    """What the sender does it for: a client."""

    def send_posted(self, seconds: float) -> bool:
        """Send what can leave within `seconds`; whether something is left."""


Asked = SimpleQueue["Work | weakref.ref[Work] | None"]
"""How the sender is asked by its client, and told of the client's end."""


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
        return max(0.0, self._heap[0][0] - monotonic()) if self._heap else None

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

    It ends when the client is closed, as that of `Callbacks` does, or collected.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._asked: Asked = SimpleQueue()
        self._started = False
        self.posted: deque[Posted] = deque()
        self.timers = Timers()

    def ring(self, work: Work) -> bool:
        """Have the thread call `work.send_posted`; False where it can't be started.

        May be called anywhere. Where two start it at the same time there are two, and each
        does what it finds.
        """
        self._asked.put(work)
        if not self._started:
            # Told by C code alone when the client is collected: see `Channel`.
            if not threads.start(self._run, weakref.ref(work, self._asked.put)):
                self._asked = SimpleQueue()  # nobody takes it out, and it holds the client
                return False
            self._started = True
        return True

    def rest(self) -> None:
        """Have the thread end when nothing is left to do: the client is closed."""
        if self._started:
            self._asked.put(None)

    def _run(self, ended: weakref.ref[Work]) -> None:
        while True:
            _send(self._shared, self.timers, self._asked)
            self._started = False
            if self._asked.empty():
                return
            self._started = True


def _send(shared: Shared, timers: Timers, asked: Asked) -> None:
    """Serve a client until it is closed or collected, and its futures with a deadline are done."""
    with shared.here.inside:
        closed = False
        work: Work | None = None
        while True:
            with shared.lock:
                seconds = timers.seconds()
            if work is None and closed and seconds is None:
                return
            try:
                found = asked.get(work is None, seconds)
                if found is None or isinstance(found, weakref.ref):
                    closed = True
                else:
                    work = found
                    closed = False
                del found
            except Empty:
                pass
            try:
                if work is not None and not work.send_posted(min(TICK, seconds or TICK)):
                    work = None
                _expire(shared, timers)
            except BaseException:  # out of memory: what is posted stays so
                log.debug("the thread that sends failed", exc_info=True)


def _expire(shared: Shared, timers: Timers) -> None:
    """Futures whose time is over ask the server, and give up a moment later."""
    with shared.lock:
        due = timers.due(monotonic())
    for channel, call in due:
        if call.asked:
            channel.give_up_future(call)
        elif channel.expire_future(call):
            with shared.lock:
                timers.add(monotonic() + ASK, channel, call)
