"""Futures of calls: the thread that reads completes them, another one runs their callbacks.

::

    the thread that reads ──settle──► CallFuture ──opens──► those that wait in `result`
                                          └─ see `finishers` ──tell──► `wait` and its like
                                                     └──────call_back──► callbacks

A value is unpickled by who asks for it (`result`, `exception`) or by the callback that
does, so what is slow or waits there keeps no other call from its answer.

**Who looks at a future** (waits for it, or is to be called back) is noted in its `Watchers`,
which are made by the first that looks: most futures have their answer before. Who settles a
future sets the answer first, and then puts `UNWATCHED` in the place of watchers that there
aren't; who looks makes watchers there first, and then looks at the answer. Both use one
operation of a dict, `setdefault`, which is atomic, in builds without the GIL as well. So one of
them sees the other: a latch that was appended is opened, and a callback is called, once,
since it is taken with `popleft`.

There is no condition variable: a thread that a signal handler interrupts inside of one may
leave it locked. `concurrent.futures.wait` and `as_completed` take the lock of each future,
look at its state, and append a waiter. They count on it that a waiter is told of all futures
that end after that, and of none that had ended before: so the state changes, and those who are
to be told are noted, under that lock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn

from bgpy.calling.blocking.waiting import TICK, patience
from bgpy.calling.conversation import Answer, Call
from bgpy.codec.tracebacks import tidy
from bgpy.errors import BgpyError
from bgpy.late import once
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

TAKEN: Answer = bytearray()
"""In the place of an answer whose value was made, and which is kept no longer."""


class Watchers:
    """Who waits for a future, or is to be called back."""

    __slots__ = ("callbacks", "condition", "finished", "latches", "to_tell", "waiters")

    def __init__(self, finished: bool = False) -> None:
        self.condition = RLock()
        """What `concurrent.futures` takes for the lock of a condition variable."""
        self.finished = finished
        """Whether it has ended, as `concurrent.futures` is to see it."""
        self.waiters: list[Any] = []
        self.to_tell: list[Any] = []
        """Those of the waiters that looked before it had ended, and are to be told."""
        self.callbacks: deque[Callable[[Future[Any]], object]] = deque()
        self.latches: list[Latch] = []  # no deque: in free-threaded builds its copy isn't whole

    def settle(self) -> bool:
        """The answer is there: wake who waits for it alone; whether there is more to be done.

        It waits for nothing, and may be repeated where it was interrupted.
        """
        if self.condition.acquire(blocking=False):
            try:
                self._finish()
            finally:
                self.condition.release()
        self.wake()
        return bool(not self.finished or self.to_tell or self.callbacks)

    def told(self) -> list[Any]:
        """As `settle`, and waits for that lock; gives those who are to be told, once."""
        mine = self.condition.acquire(timeout=LEFT_LOCKED)
        self._finish()
        if mine:
            self.condition.release()
        self.wake()
        told, self.to_tell = self.to_tell, []
        return told

    def wake(self) -> None:
        """Open all latches; none is taken out, so that who is interrupted here repeats it."""
        for latch in self.latches.copy():
            latch.open()

    def _finish(self) -> None:
        if not self.finished:
            self.to_tell = self.waiters[:]
            self.finished = True


UNWATCHED = Watchers(finished=True)
"""In the place of a future's watchers: it was settled before anybody looked."""


class CallFuture(Call, Future[Any]):
    """The response of a submitted call, and that call itself while it is under way.

    It can't be cancelled: its request may have left already, so that it is ``running`` until it
    is done, and `cancel` gives False. The call's `timeout` withdraws a request that has not
    started.
    """

    # Those of the class are the defaults: making one is on the way of every submit.
    _watchers: Watchers | None = None
    _late: Watchers | None = None
    """Of those who looked after it was settled for `UNWATCHED`."""
    _made: Made | None = None

    value_of: Callable[[Answer], Any]
    """Makes the value of an answer, or raises. Who makes a future sets this."""
    waited_for: Callable[[CallFuture], bool]
    """Called by who waits, again and again: it raises where waiting could never end, and says
    whether it is to be called once more within a tick. Who makes a future sets this."""

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        # That of `Future` makes what the first that looks makes here.
        __init__ = object.__init__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x} state={self._state.lower()}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a future of a call can't be pickled, since its response arrives in this process: "
            "send its result() instead"
        )

    # What `concurrent.futures` looks at in a future

    @property
    def _state(self) -> str:  # type: ignore[override]
        watchers = self._watchers
        return FINISHED if watchers is not None and watchers.finished else RUNNING

    @property
    def _condition(self) -> Any:  # type: ignore[override]
        return self._watched().condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._watched().waiters

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """Whether it is done, whether cancelled, and what came: what asyncio asks from 3.15 on."""
        if self.answer is None:
            return False, False, None, None
        return True, False, *(self._made or self._make())

    # What its caller does with it

    def done(self) -> bool:
        """Whether the answer is here."""
        return self.answer is not None

    def result(self, timeout: float | None = None) -> Any:
        """Give what the task responded, or raise as `Client.call`; see `Future.result`."""
        try:
            if self.answer is None:
                self._wait(deadline_in(timeout))
            value, error = self._made or self._make()
        except BaseException as struck:
            tidy(struck)
            raise
        if error is not None:
            try:
                raise error.with_traceback(None)  # not below those of who asked before
            except Exception:
                tidy(error)
                raise
            finally:
                del error, self  # no circle through the traceback
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Give what `result` would raise; see `Future.exception`."""
        try:
            if self.answer is None:
                self._wait(deadline_in(timeout))
            return (self._made or self._make())[1]
        except BaseException as struck:
            tidy(struck)
            raise
        finally:
            del self  # as there

    def __await__(self) -> Generator[Any, None, Any]:
        """In a coroutine: wait for what `result` gives, while the event loop goes on.

        A coroutine that is cancelled meanwhile waits no longer; the call runs.
        """
        # The standard library's bridge, so that nothing here knows of event loops: a client for
        # asyncio has coroutines of its own over the conversation.
        return _wrap_for_loop()(self).__await__()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have `fn` called with this future: in the client's thread for that, or here if done."""
        self._watched().callbacks.append(fn)
        if self.answer is not None:
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
        if self.answer is None:
            self.answer = answer  # first: who looks later than the next line finds it
        self.waited_for = _over  # a future that is kept keeps no connection
        watchers = self.__dict__.setdefault("_watchers", UNWATCHED)
        return watchers is not UNWATCHED and watchers.settle()

    def finish(self) -> None:
        """Do what those threads do, where there are none."""
        self.tell()
        self.call_back()

    def tell(self) -> None:
        """Tell those that wait for several futures."""
        for waiter in self._watched().told():
            if self._failed_for(waiter):
                waiter.add_exception(self)
            else:
                waiter.add_result(self)

    def has_to_tell(self) -> bool:
        """Whether `tell` has anything to do."""
        watchers = self._watched()
        return bool(not watchers.finished or watchers.to_tell)

    def has_to_call_back(self) -> bool:
        """Whether `call_back` has anything to do."""
        return bool(self._watched().callbacks)

    def settle_in_child(self, answer: Answer) -> None:
        """In a forked child: end it; the locks may be held by threads that are not here."""
        self._watched().condition = RLock()
        if self.settle(answer):
            self.call_back()

    def look_again(self) -> None:
        """Have those that wait look whether that can still end: its call has a server now."""
        if self._watchers is not None:
            self._watchers.wake()

    def _watched(self) -> Watchers:
        """Its watchers, made if there are none yet."""
        found = self._watchers
        if found is None:
            found = self.__dict__.setdefault("_watchers", Watchers())
        if found is UNWATCHED:
            found = self._late or self.__dict__.setdefault("_late", Watchers(finished=True))
        return found

    def _failed_for(self, waiter: Any) -> bool:
        """Whether that waiter is to be told that this call failed.

        Only one that stops at the first failure wants to know; for it the value is made here,
        since that may fail too.
        """
        made = self._made
        if made is None and getattr(waiter, "stop_on_exception", False):
            made = self._make()
        return (
            isinstance(self.answer, (BgpyError, Failure)) if made is None else made[1] is not None
        )

    def call_back(self) -> None:
        """Call the callbacks that were not called yet."""
        callbacks = self._watched().callbacks
        while True:
            try:
                callback = callbacks.popleft()
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

    def _wait(self, deadline: float | None) -> None:
        latches, latch = self._watched().latches, Latch()
        latches.append(latch)
        try:
            while self.answer is None:
                seconds = patience(deadline)
                if self.waited_for(self):
                    seconds = TICK if seconds < 0 else min(seconds, TICK)
                if not latch.wait(seconds) and self.answer is None and is_over(deadline):
                    raise TimeoutError
        except BaseException:
            latches.remove(latch)
            raise

    def _make(self) -> Made:
        """The value, or what it raises, the same for all; no lock is held while it is made."""
        answer, made = self.answer, self._made  # the answer goes only when the value is there
        if made is not None:
            return made
        assert answer is not None, "it is done"
        try:
            made = self.value_of(answer), None
        except Exception as error:
            if is_strike_amid(error):
                raise  # it says nothing of the call, which has its answer
            tidy(error)
            # Its frames lead back to this one: it gets others where it is raised.
            made = None, error.with_traceback(None)
        kept: Made = made  # here, so that whoever is struck in the next line has it to forget
        try:
            kept = self.__dict__.setdefault("_made", made)  # the first stays
            self.answer = TAKEN
            return kept
        finally:
            del self, made, kept  # no circle: what raised the cause of an error leads here too


@once
def _wrap_for_loop() -> Callable[[Future[Any]], Awaitable[Any]]:
    """What waits for a future in an event loop; a program that has one has imported it."""
    from asyncio import wrap_future

    return wrap_future


def _over(_: CallFuture) -> bool:
    """Of a future that is done: nobody waits for it, or only to the next look."""
    return False
