"""Futures of calls: the thread that reads completes them, another one runs their callbacks.

::

    the thread that reads ──settle──► CallFuture ──opens──► those that wait in `result`
                                          └──post──► Callbacks: one thread, one after another

A value is unpickled by who asks for it (`result`, `exception`) or by the callback that
does, so what is slow or waits there keeps no other call from its answer.

A future has no condition variable: a thread that a signal handler interrupts inside of one
may leave it locked. Who waits appends a latch, then looks whether the future is done; who
settles it sets the answer and the state, then opens all latches. Each side says before it
looks, so one of them sees the other: both are operations of a deque and stores of an
attribute, which are atomic and ordered, in builds without the GIL as well (each deque and
each object has a lock of its own there). Callbacks are handed over in the same way, and
taken with `popleft`, so that each is called once.
"""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import RLock
from typing import Any, NoReturn

from bgpy.calling.blocking import threads
from bgpy.calling.blocking.waiting import TICK, patience
from bgpy.calling.conversation import Answer
from bgpy.errors import BgpyError
from bgpy.system.deadlines import deadline_in, is_over
from bgpy.system.latch import Latch
from bgpy.system.strikes import is_strike, is_strike_amid
from bgpy.wire.messages import Failure

log = logging.getLogger("bgpy.client")

RUNNING, FINISHED = "RUNNING", "FINISHED"
"""States of a future, as `concurrent.futures` calls them."""

LEFT_LOCKED = 1.0
"""Seconds after which the lock that `concurrent.futures.wait` shares is taken to be left
behind by a thread that was interrupted there; it is held for microseconds."""


Made = tuple[Any, BaseException | None]
"""A value, or what making it raised."""


class CallFuture(Future[Any]):
    """The response of a submitted call.

    It can't be cancelled: its request may have left already, so that it is ``running`` until it
    is done, and `cancel` gives False. The call's `timeout` withdraws a request that has not
    started.
    """

    def __init__(
        self, value_of: Callable[[Answer], Any], waited_for: Callable[[CallFuture], bool]
    ) -> None:
        """`value_of` makes the value of an answer, or raises.

        `waited_for` is called by who waits, again and again: it raises where waiting could
        never end, and says whether it is to be called once more within a tick.
        """
        # What `concurrent.futures` has in its own, without its condition variable.
        self._condition = RLock()  # type: ignore[assignment]
        self._state = RUNNING
        self._waiters: list[Any] = []
        self._done_callbacks: deque[Callable[[Future[Any]], object]] = deque()
        self._value_of = value_of
        self._waited_for = waited_for
        self._answer: Answer | None = None
        self._made: Made | None = None
        self._values: dict[int, Made] = {}
        self._latches: deque[Latch] = deque()
        self._told = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} state={self._state.lower()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a future of a call can't be pickled, since its response arrives in this process: "
            "send its result() instead"
        )

    def done(self) -> bool:
        """Whether the answer is here."""
        return self._state == FINISHED

    def result(self, timeout: float | None = None) -> Any:
        """Give what the task responded, or raise as `Client.call`; see `Future.result`."""
        value, error = self._outcome(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error, self  # no circle through the traceback
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Give what `result` would raise; see `Future.exception`."""
        return self._outcome(timeout)[1]

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have `fn` called with this future: in the client's thread for that, or here if done."""
        self._done_callbacks.append(fn)
        if self._state == FINISHED:
            self.call_back()

    def set_result(self, result: Any) -> None:
        """Not for this kind: the server answers."""
        raise TypeError("the server gives the result of this future")

    def set_exception(self, exception: BaseException | None) -> None:
        """Not for this kind: the server answers."""
        raise TypeError("the server gives the result of this future")

    # For the thread that reads

    def settle(self, answer: Answer) -> bool:
        """End it with `answer`, unless it has ended; whether `finish` is to be called too.

        It waits for nothing, and may be repeated where it was interrupted.
        """
        if self._answer is None:
            self._answer = answer
        if not self._condition.acquire(blocking=False):
            return True
        try:
            self._state = FINISHED
        finally:
            self._condition.release()
        self._wake()
        return bool(self._waiters or self._done_callbacks)

    def arrived(self, answer: Answer, callbacks: Callbacks) -> None:
        """Settle it, and leave what may take its time to the thread for callbacks."""
        if self.settle(answer):
            callbacks.post(self)

    def finish(self) -> None:
        """Tell those that wait for several futures, and call back: in the thread for that."""
        mine = self._condition.acquire(timeout=LEFT_LOCKED)
        self._state = FINISHED
        waiters = [] if self._told else self._waiters[:]
        self._told = True
        if mine:
            self._condition.release()
        self._wake()
        for waiter in waiters:
            if self._failed_for(waiter):
                waiter.add_exception(self)
            else:
                waiter.add_result(self)
        self.call_back()

    def _failed_for(self, waiter: Any) -> bool:
        """Whether that waiter is to be told that this call failed.

        Only one that stops at the first failure wants to know; for it the value is made here,
        since that may fail too.
        """
        made = self._made
        if made is None and getattr(waiter, "stop_on_exception", False):
            made = self._make()
        return (
            isinstance(self._answer, (BgpyError, Failure)) if made is None else made[1] is not None
        )

    def call_back(self) -> None:
        """Call the callbacks that were not called yet."""
        while True:
            try:
                callback = self._done_callbacks.popleft()
            except IndexError as error:
                if is_strike(error):
                    raise
                return
            try:
                callback(self)
            except Exception as error:
                if is_strike_amid(error):
                    raise
                log.exception("a callback of %r raised", self)

    def settle_in_child(self, answer: Answer) -> None:
        """In a forked child: end it; the locks may be held by threads that are not here."""
        self._condition = RLock()  # type: ignore[assignment]
        if self.settle(answer):
            self.call_back()

    def _wake(self) -> None:
        """Open all latches; none is taken out, so that who is interrupted here repeats it."""
        for latch in self._latches.copy():
            latch.open()

    def _outcome(self, timeout: float | None) -> tuple[Any, BaseException | None]:
        if self._state != FINISHED:
            self._wait(deadline_in(timeout))
        made = self._made
        if made is None:
            made = self._make()
        return made

    def _wait(self, deadline: float | None) -> None:
        latch = Latch()
        self._latches.append(latch)
        try:
            while self._state != FINISHED:
                seconds = patience(deadline)
                if self._waited_for(self):
                    seconds = TICK if seconds < 0 else min(seconds, TICK)
                if not latch.wait(seconds) and self._state != FINISHED and is_over(deadline):
                    raise TimeoutError
        except BaseException:
            self._latches.remove(latch)
            raise

    def look_again(self) -> None:
        """Have those that wait look whether that can still end: its call has a server now."""
        if self._latches:
            self._wake()

    def _make(self) -> tuple[Any, BaseException | None]:
        """The value, or what it raises, the same for all; no lock is held while it is made."""
        answer = self._answer
        made: Made
        if answer is None:
            assert self._made is not None, "the answer goes when the value is there"
            return self._made
        try:
            made = self._value_of(answer), None
        except Exception as error:
            if is_strike_amid(error):
                raise  # it says nothing of the call, which has its answer
            made = None, error
        # The first stays: one operation of a dict, which is whole in builds without the GIL too.
        self._made = self._values.setdefault(0, made)
        self._answer = None
        return self._made


Queue = SimpleQueue["CallFuture | weakref.ref[object] | None"]


class Callbacks:
    """The one thread in which the callbacks of a client's futures run.

    It holds neither client nor connection, so it ends when both are forgotten, and it ends
    when the client is closed; the next future starts another. Who posts does so first and
    looks second whether there is a thread; the thread that ends says so first and looks
    second whether something was posted: one of them sees the other. If both do there are
    two threads, and each future is taken by one of them.
    """

    def __init__(self) -> None:
        self._queue: Queue = SimpleQueue()
        self._started = False

    def start(self, owner: object) -> bool:
        """Start the thread where there is none yet; whether there is one now.

        It ends when `owner` is collected, which clients and connections share.

        Where it is started twice, by two threads or by one that was interrupted here, each
        future is taken by one of them.
        """
        if not self._started:
            # Told by C code alone when the owner is collected, after what is queued.
            ended = weakref.ref(owner, self._queue.put)
            self._started = threads.start(self.run, ended)
        return self._started

    def post(self, future: CallFuture) -> None:
        """Have `future` finished there."""
        self._queue.put(future)

    def rest(self) -> None:
        """Have the thread end, when it has done what was posted before."""
        if self._started:
            self._queue.put(None)

    def run(self, ended: weakref.ref[object]) -> None:
        """In the thread: `ended` is told when the owner is collected."""
        while True:
            self._call_back()
            self._started = False
            if self._queue.empty():
                return
            self._started = True

    def _call_back(self) -> None:
        """Finish futures until there is nothing to wait for."""
        queue = self._queue
        while isinstance(future := queue.get(), CallFuture):
            try:
                future.finish()
            except BaseException:  # SystemExit of a callback, above all
                log.exception("a callback of a future ended in what ends a thread")
            del future
