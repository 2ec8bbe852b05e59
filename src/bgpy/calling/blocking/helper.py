"""A thread of a client's in the background: rung, it works; after a while it rests.

::

    ring ──► what is to be done ──► the thread: does one after another ─► waits ─► has ended
      └─ starts it where there is none                 ▲                   │rung
                                                       └───────────────────┘

**No ring is lost.** Anybody may ring: another thread, a signal handler, a ``__del__``, whatever
their thread is in the middle of; so there is no lock, and each step may be the last of a thread
that is struck. Who rings leaves what is to be done first, then fills the bell unless it is full,
and looks last whether a thread is there. The thread empties the bell first and looks second what
is to be done: a bell that was full when something was left is emptied after that. A thread that
ends says so first and looks second whether anything was left: either it finds that, or who left it
finds no thread and starts one.

**Two threads** are there where two start one at once, where one was struck between starting it
and noting it, and where one ends that finds something to do all the same. Each thing to be done
is taken by one of them (`deque.popleft`), each has its own `Life` to say that it has ended, so
that none says it for another, and the one too many rests as any does: after `REST_AFTER` seconds
without a ring. A bell by which one is woken in vain costs that thread a look.

**What fails is done again.** Without memory any step of the thread may fail, so what was taken and
not done is put back in front, and the thread looks again after `AGAIN` seconds or with the next
ring. It ends by no failure: others may count on it and not ring again (`turns.asked`).

**It keeps nothing alive** but what is to be done. Its owner's end is told by C code alone, a weak
reference whose callback is a queue's `put`, which no signal handler can keep from it.
"""

from __future__ import annotations

import logging
import weakref
from abc import ABC, abstractmethod
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from bgpy.calling.blocking import threads

log = logging.getLogger("bgpy.client")

REST_AFTER = 5.0
"""Seconds that the thread waits for a ring before it ends."""

AGAIN = 1.0
"""Seconds after a failure, until the thread looks again."""

T = TypeVar("T")

RUNG = None
"""In the bell: something is to be done. All else there says that nothing will be."""


class Life:
    """One thread's."""

    __slots__ = ("is_over",)

    def __init__(self) -> None:
        self.is_over = False


class Helper(ABC, Generic[T]):
    """One thread of `owner`'s, started when it is needed; a subclass says what it does."""

    def __init__(self, owner: object) -> None:
        self._to_do: deque[T] = deque()
        self._bell: SimpleQueue[Any] = SimpleQueue()
        self._owner = weakref.ref(owner, self._bell.put)
        self.life = Life()
        self.life.is_over = True
        """That of its thread; `is_running` says the same, by a function more."""

    @abstractmethod
    def do(self, what: T) -> None:
        """In the thread: do what was rung for. If this raises it is done once more."""

    def tend(self) -> float | None:
        """In the thread, after each: seconds until this is to be called again, None for no need.

        It is called every `REST_AFTER` seconds too while there is need.
        """
        return None

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return not self.life.is_over

    def start(self) -> bool:
        """Start the thread where there is none; False where none can be started now."""
        if self.life.is_over:
            life = Life()
            if not threads.start(self._run, life):
                return False
            self.life = life
        return True

    def ring(self, what: T) -> bool:
        """Have the thread do that; if False none can be started, and `what` was not taken."""
        if not self.start():
            return False
        self.post(what)
        return self.start()

    def post(self, what: T) -> None:
        """Have it done by the thread if there is one, or by the next that is started."""
        self._to_do.append(what)
        if self._bell.empty():
            self._bell.put(RUNG)

    def rest(self) -> None:
        """Have the thread end when nothing is left to do, and not only after a while."""
        if self.is_running:
            self._bell.put(self._owner)

    def _run(self, life: Life) -> None:
        while True:
            try:
                if self._has_ended(life):
                    return
            except BaseException:  # out of memory, say; no handler's: those run elsewhere
                life.is_over = False
                try:
                    self._recover()
                except BaseException:
                    continue  # at once, and until there is memory again

    def _recover(self) -> None:
        """After a failure: say so, and wait a moment."""
        log.exception("a thread of a client failed; it carries on")
        self._is_rung(AGAIN)

    def _has_ended(self, life: Life) -> bool:
        """Work and wait for a ring once; whether there was none, and nothing is left to do."""
        seconds = self._work()
        if self._is_rung(seconds) or seconds is not None:
            return False
        life.is_over = True
        if not self._to_do:
            return True
        life.is_over = False
        return False

    def _work(self) -> float | None:
        """Do all there is to do; seconds after which there may be more without a ring."""
        while True:
            if self._to_do:
                self._do_first()
            seconds = self.tend()
            if not self._to_do:
                return seconds

    def _do_first(self) -> None:
        """Do what was left first, unless another thread was faster."""
        what: T | None = None
        try:
            what = self._to_do.popleft()
            self.do(what)
        except BaseException as error:
            if what is not None:
                self._to_do.appendleft(what)
            elif isinstance(error, IndexError):
                return
            raise

    def _is_rung(self, seconds: float | None) -> bool:
        """Wait for a ring, as long as that makes sense."""
        longest = REST_AFTER if seconds is None else min(seconds, REST_AFTER)
        try:
            return self._bell.get(timeout=longest) is RUNG
        except Empty:
            return False
