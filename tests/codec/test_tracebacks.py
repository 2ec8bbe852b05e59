"""What people see of an exception: their own frames, and none of bgpy's."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import bgpy
from bgpy import Client, Handle
from bgpy.codec import tracebacks
from bgpy.codec.failures import RemoteTraceback
from bgpy.errors import CallTimeout, EncodeError, NotRunning
from bgpy.late import once
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS
from tests.support.touchy import TouchyError

HOUSE = str(Path(bgpy.__file__).parent)
Start = Callable[..., tuple[Handle, Client]]


def shown(call: Callable[[], object]) -> str:
    """What Python prints of the exception that `call` raises."""
    try:
        call()
    except BaseException as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError("nothing was raised")


class Stubborn:
    """Can't be pickled, for a reason of its own."""

    def __reduce__(self) -> Any:
        raise LookupError("not this one")


def fail(state: Any) -> Any:
    """What a task does."""
    raise KeyError("no such key")


def wait(state: Any) -> Any:
    """Takes longer than its caller waits."""
    import time

    time.sleep(0.5)


def test_errors_of_calls_show_the_users_frames_alone(start: Start) -> None:
    """Of each method, of futures, and of what was caught within."""
    _, client = start()
    client.initialize(*TASKS)
    nowhere = Client("127.0.0.1", 1)
    calls: list[tuple[type[Exception], Callable[[], object]]] = [
        (KeyError, lambda: client.call({"run": fail})),
        (KeyError, lambda: client.submit({"run": fail}).result()),
        (KeyError, lambda: client.execute({"run": fail}, await_response=True)),
        (CallTimeout, lambda: client.call({"run": wait}, timeout=0.05)),
        (CallTimeout, lambda: client.submit({"run": wait}, timeout=0.05).result()),
        (EncodeError, lambda: client.call({"run": Stubborn()})),
        (EncodeError, lambda: client.submit({"run": Stubborn()})),
        (NotRunning, nowhere.ping),
        (NotRunning, lambda: nowhere.call({})),
        (NotRunning, lambda: nowhere.submit({}).result()),
        (NotRunning, lambda: nowhere.initialize(*TASKS)),
        (NotRunning, nowhere.terminate),
        (NotRunning, lambda: nowhere.execute({})),
    ]
    for kind, call in calls:
        for _ in range(2):  # the second as the first
            text = shown(call)
            assert HOUSE not in text, text
            assert __file__ in text
            assert kind.__name__ in text.splitlines()[-1] or kind is KeyError, text
    assert "in fail" in shown(calls[0][1])
    assert "in __reduce__" in shown(calls[5][1])
    for plain in (nowhere.ping, calls[3][1], calls[4][1]):
        text = shown(plain)
        assert text.startswith("Traceback (most recent call last)")
        assert text.count("Traceback") == 1, text
    with pytest.raises(NotRunning) as caught:
        nowhere.ping()
    assert isinstance(caught.value.__context__, ConnectionRefusedError)


@pytest.mark.skipif(sys.platform == "win32", reason="a signal wakes no thread there")
def test_interrupt_shows_where_the_users_code_waited(start: Start) -> None:
    """It stays a `KeyboardInterrupt`, and the frames of a handler of the program's are seen."""
    _, client = start()
    client.initialize(*TASKS)

    def handler(*_: object) -> None:
        raise KeyboardInterrupt("the program's")

    def wait_by(way: Callable[[dict[str, Any]], object], set_handler: Any) -> str:
        with Gate() as gate, ThreadPoolExecutor(1) as pool:
            main = threading.get_ident()
            before = signal.signal(signal.SIGINT, set_handler)
            try:
                pool.submit(lambda: (gate.wait(), signal.pthread_kill(main, signal.SIGINT)))
                return shown(lambda: way({"run": gate.passing()}))
            finally:
                signal.signal(signal.SIGINT, before)

    ways: list[Callable[[dict[str, Any]], object]] = [
        client.call,
        lambda args: client.submit(args).result(),
        lambda args: client.submit(args).exception(),
        client.terminate,
    ]
    for way in ways:
        text = wait_by(way, signal.default_int_handler if way is not client.call else handler)
        assert HOUSE not in text, text
        assert text.count("Traceback") == 1, text
        assert text.splitlines()[-1].startswith("KeyboardInterrupt"), text
        assert ("in handler" in text) is (way is client.call)


def test_error_keeps_what_the_users_code_was_handling(start: Start) -> None:
    """The first exception is the user's own, and its frames too."""

    def while_handling() -> None:
        try:
            dict[str, int]()["mine"]
        except KeyError:
            Client("127.0.0.1", 1, timeout=5).ping(timeout=0.0)

    text = shown(while_handling)
    assert HOUSE not in text
    assert "KeyError: 'mine'" in text
    assert "during handling" in text.lower() or "direct cause" in text


def test_future_shows_the_same_however_often_it_is_asked(start: Start) -> None:
    """Its frames don't pile up."""
    _, client = start()
    client.initialize(*TASKS)
    future = client.submit({"run": fail})
    assert len({shown(future.result) for _ in range(5)}) == 1


def test_exception_of_nobody_is_left_alone() -> None:
    """A mistake within bgpy keeps the frames that tell of it."""

    @once
    def broken() -> object:
        raise AssertionError("a mistake")

    with pytest.raises(AssertionError) as caught:
        broken()
    tracebacks.tidy(caught.value)
    assert HOUSE in "".join(traceback.format_exception(caught.value))
    tracebacks.strip(caught.value)
    assert HOUSE not in "".join(traceback.format_exception(caught.value))


def test_chain_that_ends_in_itself_is_walked_once() -> None:
    """However odd what a user's code has made of it."""
    one, other = KeyError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    tracebacks.strip(one)
    assert tracebacks.remote_text(one) == ""
    other.__cause__ = RemoteTraceback("from there")
    assert tracebacks.remote_text(one) == "from there"


def test_exceptions_are_told_apart_by_what_they_are() -> None:
    """Their own `__eq__` isn't asked: it may call two the same, or raise."""
    errors: list[BaseException] = [TouchyError(number) for number in range(3)]
    for error, cause in pairwise(errors):
        error.__cause__ = cause
    errors[-1].__cause__ = RemoteTraceback("from there")
    assert tracebacks.remote_text(errors[0]) == "from there"
    gone = CallTimeout("gone")
    for error, context in pairwise([gone, *errors]):
        error.__cause__, error.__context__ = None, context
        error.__suppress_context__ = False
    errors[-1].__cause__, errors[-1].__context__ = None, errors[0]
    tracebacks.strip(gone)
    assert gone.__context__ is None
