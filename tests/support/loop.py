"""A reactor that serves in a thread of its own, with a queue of callables as its jobs."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from bgpy.serving.io.poller import ALONE, READ
from bgpy.serving.io.reactor import Reactor

LONG = 30.0
"""Seconds after which a test has failed; nothing waits that long."""


class Row:
    """Callables that came together."""

    def __init__(self, jobs: Iterable[Callable[[], object]]) -> None:
        self.jobs = deque(jobs)


class Jobs(deque[Callable[[], object]]):
    """What waits for the task thread."""

    taken: Any = None
    row: Row | None = None

    def __init__(self) -> None:
        super().__init__()
        self.spilled: list[int] = []
        """How many were left of each row when it ended."""

    def spill(self) -> None:
        row, left = self.row, 0
        if row is None:
            return
        try:
            while True:
                self.append(row.jobs.popleft())
                left += 1
        except IndexError:
            pass
        self.row = None
        self.spilled.append(left)

    @property
    def count(self) -> int:
        return len(self)


class Loop:
    """Serves until `end`; leaves neither thread nor descriptor."""

    def __init__(self) -> None:
        self.signals: deque[tuple[int, int]] = deque()
        """Each signal's number and the thread that told of it."""
        tell = lambda number: self.signals.append((number, get_ident()))  # noqa: E731
        self.reactor = Reactor(self._count_chores, tell)
        self.jobs = Jobs()
        self.interrupts = 0
        self.chores = 0
        self.failure: BaseException | None = None
        self._socks: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="the task thread", daemon=True)

    @property
    def ident(self) -> int | None:
        """The task thread's."""
        return self._thread.ident

    def start(self) -> None:
        self._thread.start()

    def wait_served(self) -> None:
        """Wait until `serve` has returned."""
        self._thread.join(LONG)
        assert not self._thread.is_alive(), "the reactor went on serving"
        assert self.failure is None, self.failure

    def end(self) -> None:
        self.reactor.stop()
        if self._thread.ident is not None:
            self.wait_served()
        self.reactor.close()
        for sock in self._socks:
            sock.close()

    def client(self, received: Callable[[bytes], object]) -> socket.socket:
        """A socket; what is sent through it is handed to `received` by the thread that polls."""
        ours, theirs = socket.socketpair()
        self._socks += [ours, theirs]
        ours.setblocking(False)
        self.on_poller(
            lambda: self.reactor.register(ours, READ, lambda events: received(ours.recv(2**16)))
        )
        return theirs

    def alone(self, job: Callable[[], object]) -> socket.socket:
        """A socket; what is sent through it has `job` run, taken at once where it comes alone."""
        ours, theirs = socket.socketpair()
        self._socks += [ours, theirs]
        ours.setblocking(False)

        def ready(events: int) -> None:
            ours.recv(2**16)
            if events == ALONE:
                self.jobs.taken = job
            else:
                self.jobs.append(job)

        self.on_poller(lambda: self.reactor.register(ours, READ, ready))
        return theirs

    def run_row(self, *jobs: Callable[[], object]) -> None:
        """Have the task thread run `jobs` as a row, which has come where nothing else waits."""
        ours, theirs = socket.socketpair()
        self._socks += [ours, theirs]

        def ready(events: int) -> None:
            if events == ALONE:  # else it is met again
                ours.recv(2**16)
                self.jobs.row = Row(jobs)

        self.on_poller(lambda: self.reactor.register(ours, READ, ready))
        theirs.send(b"row")

    def on_poller(self, action: Callable[[], Any]) -> Any:
        """The result of `action`, called by the thread that polls."""
        results: list[Any] = []
        done = threading.Event()

        def act() -> None:
            try:
                results.append(action())
            finally:
                done.set()

        self.reactor.change(act)
        assert done.wait(LONG), "a change was not made"
        (result,) = results
        return result

    def run(self, *jobs: Callable[[], object]) -> None:
        """Have the task thread run `jobs`."""
        self.jobs.extend(jobs)
        self.reactor.wake()  # or it may poll on, knowing of none

    @contextmanager
    def busy(self) -> Iterator[None]:
        """In the `with` block the task thread is kept by a job."""
        running, over = threading.Event(), threading.Event()
        self.run(lambda: (running.set(), over.wait(LONG)))
        assert running.wait(LONG)
        try:
            yield
        finally:
            over.set()

    def _serve(self) -> None:
        try:
            self.reactor.serve(
                self.jobs, lambda: self.jobs.popleft()(), self._run_taken, self._count_interrupts
            )
        except BaseException as failure:
            self.failure = failure

    def _run_taken(self, job: Callable[[], object]) -> None:
        try:
            job()
        finally:
            self.jobs.taken = None

    def _count_interrupts(self) -> None:
        self.interrupts += 1

    def _count_chores(self) -> None:
        self.chores += 1
