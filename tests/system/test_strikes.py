"""Whose an exception is: a handler's, or of what it has interrupted."""

from __future__ import annotations

import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from bgpy.system.latch import Latch
from bgpy.system.sockets import READABLE, poll
from bgpy.system.strikes import is_strike, is_strike_amid

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it needs POSIX signals")


class Handlers:
    """Handlers as programs write them."""

    def method(self, number: int, frame: FrameType | None) -> None:
        raise TimeoutError("too slow")

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.method(number, frame)


def _plain(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("too slow")


def _starred(*args: Any) -> None:
    raise TimeoutError("too slow")


def _reads(number: int, frame: FrameType | None) -> None:
    """Raises an error of the system's, from a function of the standard library."""
    socket.create_connection(("127.0.0.1", 1)).close()


def _polls(number: int, frame: FrameType | None) -> None:
    """Raises an error that comes through a function of bgpy's."""
    poll(None, 0.0, READABLE)  # type: ignore[arg-type]


def _with_more(more: str, number: int, frame: FrameType | None) -> None:
    raise TimeoutError(more)


HANDLERS = [
    _plain,
    _starred,
    _reads,
    _polls,
    Handlers().method,
    Handlers(),
    partial(_with_more, "too slow"),
    lambda number, _: _plain(number, None),
]


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> Any:
    """One that is set while the test runs."""
    before = signal.signal(signal.SIGUSR1, request.param)
    yield request.param
    signal.signal(signal.SIGUSR1, before)


def _strike(_: object = None) -> None:
    signal.raise_signal(signal.SIGUSR1)


class Asks:
    """Code of a program's that something calls."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do

    def __reduce__(self) -> str:
        self._do()
        return "never"


def test_a_handlers_error_is_told_wherever_it_strikes(handler: Any) -> None:
    """However it is written, and whatever it has called."""
    with pytest.raises((OSError, TypeError)) as caught:
        signal.raise_signal(signal.SIGUSR1)
    # As in the functions of the package, where an `except` belongs to the frame that is struck.
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # type: ignore[union-attr]
    assert is_strike(error)
    with pytest.raises((OSError, TypeError)) as amid:
        pickle.dumps(Asks(_strike))
    assert is_strike_amid(amid.value)


class Proxied(socket.socket):
    """A class of a program's in place of the socket's."""

    def recv(self, *_: object) -> bytes:  # type: ignore[override]
        raise TimeoutError("timed out")


def _own_traceback(error: BaseException) -> BaseException:
    """As caught in a frame of the package: without the test's own."""
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def test_an_error_of_the_systems_is_no_handlers() -> None:
    """Nor one of a class that a program has put in the place of the socket's."""
    with pytest.raises(ConnectionRefusedError) as caught:
        socket.create_connection(("127.0.0.1", 1))
    assert not is_strike(_own_traceback(caught.value))
    with Proxied() as sock, pytest.raises(TimeoutError) as timed_out:
        sock.recv(1)
    assert not is_strike(_own_traceback(timed_out.value))


def test_an_error_of_a_programs_class_is_no_handlers_amid_its_code() -> None:
    """Pickling calls it, for example."""

    def refuse() -> None:
        raise TimeoutError("by the class")

    with pytest.raises(TimeoutError) as caught:
        pickle.dumps(Asks(refuse))
    assert is_strike(caught.value)
    assert not is_strike_amid(caught.value)


def test_another_thread_is_never_struck() -> None:
    """Handlers run in the main thread: there whatever is raised belongs to what is called."""
    told: list[bool] = []

    def fail() -> None:
        try:
            _plain(0, None)
        except TimeoutError as error:
            told.extend((is_strike(error), is_strike_amid(error)))

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert told == [False, False]


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, OSError])
def test_what_a_handler_raises_comes_out_of_a_wait(kind: type[Exception]) -> None:
    """Also where the wait catches that kind for reasons of its own."""

    def strike(number: int, frame: FrameType | None) -> None:
        raise kind("a watchdog's")

    before = signal.signal(signal.SIGALRM, strike)
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(kind, match="a watchdog's"):
                poll(ours, 30.0, READABLE)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(kind, match="a watchdog's"):
                Latch().wait(30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
