"""Truths of a client that a signal handler, or the collector, interrupts at random places."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any

import pytest

import bgpy
from bgpy import BgpyError, CallTimeout, Client, Handle, ServerGone, respond
from endurance.strikes.gap import is_entering

LONG = 30.0
SECONDS = 2.5
"""How long each hammer strikes."""

FEW = 20
"""Strikes that show little; a busy machine may take longer for more."""

PACKAGE = os.path.dirname(bgpy.__file__) + os.sep

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")


class Struck(BaseException):
    """What the handler raises."""


def init() -> list[int]:
    return []


def execute(client_socket: Any, state: list[int], args: dict[str, Any]) -> list[int]:
    if "all" in args:
        respond(client_socket, state)
    else:
        state.append(args["number"])
        respond(client_socket, args["number"])
    return state


def leave(client_socket: Any, state: list[int], args: dict[str, Any]) -> None: ...


@contextmanager
def timer(strike: Callable[[FrameType | None], None]) -> Iterator[Callable[[float], None]]:
    """A function that has `strike` called in this thread, some seconds from now."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: strike(frame))
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def is_inside(frame: FrameType | None) -> bool:
    """Whether a frame is the client's, or was called by one that is.

    Python itself drops what is raised where a weak reference has its end told, and what is
    raised in the gap of 3.14 leaves a lock taken (docs/pythons.md).
    """
    if frame is not None and is_entering(frame):
        return False
    while frame is not None:
        if frame.f_code.co_filename.endswith(("weakref.py", "_weakrefset.py", "exception.py")):
            return False
        if frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


def hammered(strikes: Callable[[], int]) -> Callable[[], bool]:
    """Tell whether a hammer goes on: for `SECONDS`, and longer while it has struck `FEW` times."""
    begun = monotonic()

    def going() -> bool:
        lasted = monotonic() - begun
        return lasted < SECONDS or (strikes() <= FEW and lasted < LONG)

    return going


class Book:
    """What each call was told, to be held against what ran."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self.told: dict[int, str] = {}
        self.wrong: list[str] = []
        self.futures: list[tuple[int, Future[Any]]] = []

    def number(self) -> int:
        with self._lock:
            self._last += 1
            return self._last

    def call(self, client: Client, timeout: float | None = LONG) -> None:
        number = self.number()
        try:
            self.value(number, client.call({"number": number}, timeout=timeout))
        except BgpyError as error:
            if timeout == LONG and isinstance(error, CallTimeout):
                self.wrong.append(f"call {number} found nobody to answer it: {error}")
            self.error(number, error)

    def value(self, number: int, value: Any) -> None:
        self.told[number] = "ran"
        if value != number:
            self.wrong.append(f"call {number} was answered with {value}")

    def error(self, number: int, error: BgpyError) -> None:
        if not isinstance(error, (ServerGone, CallTimeout)):
            self.wrong.append(f"call {number} raised {error!r}")
        self.told[number] = error.progress or "unknown"

    def submit(self, client: Client) -> None:
        number = self.number()
        self.futures.append((number, client.submit({"number": number})))

    def check(self, client: Client) -> None:
        """Every future is done, and the server's own list agrees with all that was told."""
        for number, future in self.futures:
            try:
                self.value(number, future.result(LONG))
            except BgpyError as error:
                self.error(number, error)
        ran = Counter(client.call({"all": 1}, timeout=LONG))
        assert not self.wrong
        assert [number for number, count in ran.items() if count > 1] == []
        assert [n for n, told in self.told.items() if told == "ran" and not ran[n]] == []
        assert [n for n, told in self.told.items() if told == "not started" and ran[n]] == []


@pytest.fixture
def served(start: Callable[..., tuple[Handle, Client]]) -> tuple[Handle, Client]:
    """A server that remembers what ran, and a client of it."""
    handle, client = start(token="t" * 32)
    client.initialize(init, execute, leave)
    return handle, client


@contextmanager
def others(book: Book, client: Client, count: int) -> Iterator[None]:
    """Threads that call, and submit, through the same client meanwhile."""
    stop = threading.Event()

    def work(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            if chance.random() < 0.2:
                book.submit(client)
            else:
                book.call(client)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(LONG)
        assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"


ACTS: list[Callable[[Book, Client], object]] = [
    lambda book, client: book.call(client),
    lambda book, client: book.call(client),
    lambda book, client: book.submit(client),
    lambda book, client: book.call(client, 0.0),
    lambda book, client: client.ping(),
    lambda book, client: client.close(),
    lambda book, client: book.futures[-1][1].result(LONG) if book.futures else None,
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "threads",
    [0, 3],
)
def test_client_is_whole_when_a_handler_raises_at_random_places(
    served: tuple[Handle, Client], threads: int
) -> None:
    """No lock, turn or future is left behind; twice in a row, so that tidying up is struck too."""
    handle, observer = served
    book, chance = Book(), random.Random(threads)
    armed = [0]

    def strike(frame: FrameType | None) -> None:
        if armed[0] and is_inside(frame):
            armed[0] -= 1
            if armed[0]:
                arm(chance.uniform(1e-6, 1e-4))
            raise Struck

    struck = 0
    with (
        Client(handle.host, handle.port, "t" * 32) as client,
        timer(strike) as arm,
    ):
        with others(book, client, threads):
            going = hammered(lambda: struck)
            while going():
                act = chance.choice(ACTS)
                try:
                    armed[0] = chance.choice([1, 1, 2])
                    arm(chance.choice([3e-5, 1e-4, 4e-4, 2e-3]) * chance.random() + 1e-6)
                    with suppress(BgpyError):
                        act(book, client)
                    armed[0] = 0
                except Struck:
                    struck += 1
                    armed[0] = 0
                if struck % 16 == 0:
                    book.call(client)
            armed[0] = 0
        book.call(client)
        book.check(observer)
    assert struck > FEW


@pytest.mark.parametrize("how", ["call", "submit", "collected"])
def test_handler_may_use_the_client_whatever_its_thread_is_in_the_middle_of(
    served: tuple[Handle, Client], how: str
) -> None:
    """Over a connection of its own, or queued for whoever has the lock."""
    handle, observer = served
    book, chance = Book(), random.Random(1)
    busy = [False]
    ran = [0]

    def use() -> None:
        if busy[0]:
            return
        busy[0] = True
        ran[0] += 1
        if how == "submit":
            book.submit(client)
        else:
            book.call(client)
        busy[0] = False

    class Garbage:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            use()

    def strike(frame: FrameType | None) -> None:
        if not is_inside(frame):
            return
        if how == "collected":
            Garbage()
            gc.collect(0)
        else:
            use()

    with (
        Client(handle.host, handle.port, "t" * 32) as client,
        timer(strike) as arm,
    ):
        with others(book, client, 2):
            going = hammered(lambda: ran[0])
            while going():
                arm(chance.choice([3e-5, 1e-4, 4e-4]) * chance.random() + 1e-6)
                chance.choice(ACTS[:3])(book, client)
            arm(0)
            busy[0] = True  # what is still to be collected calls no more
        book.check(observer)
    assert ran[0] > FEW
