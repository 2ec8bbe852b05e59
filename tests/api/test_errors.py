"""Truths of failures: what reaches whom, and that the server serves on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgpy import (
    Client,
    DecodeError,
    EncodeError,
    Handle,
    NoResponse,
    NotInitialized,
    RemoteError,
    respond,
)
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]


class OutOfStock(Exception):
    """Its constructor takes something else than its base gets."""

    def __init__(self, item: str, *, left: int) -> None:
        super().__init__(f"{item}: {left} left")
        self.item = item
        self.left = left


class Grumpy(Exception):
    """Can't be made into words."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Unloadable:
    """Can be pickled, and not be rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail_to_load, ()


def _fail_to_load() -> None:
    raise LookupError("lost on the way")


def _raising(error: BaseException) -> Callable[[Any], None]:
    def run(state: Any) -> None:
        state["touched"] = True
        raise error

    return run


@pytest.fixture
def serving_on(lasting: tuple[str, str]) -> Iterator[Client]:
    """A client of an initialised server; at the end another client is served."""
    address, token = lasting
    with Client(address, token=token) as client:
        yield client
    with Client(address, token=token) as other:
        assert other.call({"run": lambda state: "served"}) == "served"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a value", 7),
        KeyError("key"),
        FileNotFoundError(2, "nothing there", "/some/file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad start"),
        ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
        RecursionError("too deep"),
        MemoryError("too much"),
        subprocess.CalledProcessError(3, ["make"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_task_exception_reaches_the_caller_as_its_own_type(
    serving_on: Client, error: Exception
) -> None:
    """Type, arguments and text are those of the exception that was raised over there."""
    with pytest.raises(type(error)) as caught:
        serving_on.call({"run": _raising(error)})
    assert (str(caught.value), repr(caught.value)) == (str(error), repr(error))


def test_exception_with_a_constructor_of_its_own_keeps_its_attributes(serving_on: Client) -> None:
    """It is rebuilt though its arguments aren't those of its constructor."""

    def fail(state: Any) -> None:
        raise OutOfStock("tea", left=2)

    with pytest.raises(OutOfStock, match=r"^tea: 2 left$") as caught:
        serving_on.call({"run": fail})
    assert (caught.value.item, caught.value.left) == ("tea", 2)


def test_exception_shows_its_remote_traceback_when_printed(serving_on: Client) -> None:
    """The line over there that raised, and the causes there, are seen here."""

    def fail_in_a_row(state: Any) -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    with pytest.raises(ValueError, match="second") as caught:
        serving_on.call({"run": fail_in_a_row})
    printed = "".join(traceback.format_exception(caught.value))
    assert "in fail_in_a_row" in printed
    assert "KeyError: 'first'" in printed
    assert "tests/support/tasks/counting.py" in printed.replace(os.sep, "/")
    assert 'response = args["run"](state)' in printed


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("enough"), GeneratorExit()])
def test_what_is_no_exception_reaches_the_caller_as_remote_error(
    serving_on: Client, error: BaseException
) -> None:
    """It must not end the caller's program; its name, text and traceback are told."""
    with pytest.raises(RemoteError) as caught:
        serving_on.call({"run": _raising(error)})
    told = caught.value
    assert (told.type_name, told.message) == (type(error).__name__, str(error))
    assert "in run" in told.traceback


def test_exception_that_is_unknown_here_is_a_remote_error(serving_on: Client) -> None:
    """A class made in a function over there has no type here."""

    def fail(state: Any) -> None:
        class Private(Exception): ...

        raise Private("of the server's")

    with pytest.raises(RemoteError, match="of the server's") as caught:
        serving_on.call({"run": fail})
    assert caught.value.type_name.endswith("Private")
    assert "in fail" in "".join(traceback.format_exception(caught.value))


def test_exception_with_what_can_not_be_pickled_still_reaches_the_caller(
    serving_on: Client,
) -> None:
    """What can't travel with it doesn't silence it."""

    def fail(state: Any) -> None:
        raise ValueError("with a lock", threading.Lock())

    with pytest.raises((ValueError, RemoteError), match="with a lock"):
        serving_on.call({"run": fail})


def test_exception_without_words_still_reaches_the_caller(serving_on: Client) -> None:
    """An exception whose own text fails is told of all the same."""
    with pytest.raises((Grumpy, RemoteError)):
        serving_on.call({"run": _raising(Grumpy())})


@pytest.mark.parametrize("kind", ["recursion", "memory", "exit"])
def test_server_serves_on_when_the_interpreter_is_at_its_end(serving_on: Client, kind: str) -> None:
    """Real exhaustion, not only an exception of that name."""

    def exhaust(state: Any) -> Any:
        def dive(depth: int) -> int:
            return dive(depth + 1) + 1

        if kind == "recursion":
            return dive(0)
        if kind == "memory":
            return bytearray(2**62)
        return sys.exit("leaving")

    expected = {"recursion": RecursionError, "memory": MemoryError, "exit": RemoteError}[kind]
    with pytest.raises(expected):
        serving_on.call({"run": exhaust})


def test_state_is_the_last_good_one_after_a_task_raised(start: Start) -> None:
    """The object that the last successful task returned is the state of the next."""
    _, client = start()

    def grow(client_socket: Any, state: tuple[int, ...], args: dict[str, Any]) -> Any:
        state = (*state, args["number"])
        if args["number"] % 2:
            raise ArithmeticError("odd")
        respond(client_socket, state)
        return state

    client.initialize(lambda: (), grow, grow)
    for number in (1, 2, 3):
        client.execute({"number": number})
    assert client.call({"number": 4}) == (2, 4)


def test_failure_that_nobody_waits_for_is_logged_with_its_traceback(
    running: tuple[Handle, Client],
) -> None:
    """Who only queues a request finds out from the log."""
    handle, client = running
    client.execute({"run": _raising(ArithmeticError("unheard"))})
    client.call({"run": count})
    assert handle.log_file is not None
    logged = Path(handle.log_file).read_text()
    assert "ArithmeticError: unheard" in logged
    assert "in run" in logged


def test_failure_after_the_response_is_logged(start: Start) -> None:
    """The caller has its answer; what fails afterwards goes to the log."""
    handle, client = start()

    def answer_and_fail(client_socket: Any, state: Any, args: Any) -> None:
        respond(client_socket, "answered")
        raise ArithmeticError("afterwards")

    client.initialize(lambda: None, answer_and_fail, answer_and_fail)
    assert client.call({}) == "answered"
    assert client.call({}) == "answered"
    assert handle.log_file is not None
    assert "ArithmeticError: afterwards" in Path(handle.log_file).read_text()


def test_no_response_is_raised_when_the_task_ends_without(start: Start) -> None:
    """A waiting caller is told, and the task did run."""
    _, client = start()

    def silent(client_socket: Any, state: int, args: dict[str, Any]) -> int:
        if args.get("speak"):
            respond(client_socket, state)
        return state + 1

    client.initialize(lambda: 0, silent, silent)
    with pytest.raises(NoResponse):
        client.call({})
    assert client.call({"speak": True}) == 1


def test_execute_before_initialize_is_not_initialized(start: Start) -> None:
    """Whether the caller waits or not."""
    _, client = start()
    for await_response in (False, True):
        with pytest.raises(NotInitialized):
            client.execute({}, await_response)
    client.initialize(*TASKS)
    assert client.call({"run": count}) == 0


def test_args_that_can_not_be_pickled_are_named_at_the_caller(serving_on: Client) -> None:
    """Nothing of the call is sent, and it is said which part is to blame."""
    with pytest.raises(EncodeError, match=r"args\['deep'\]\[1\]"):
        serving_on.call({"run": count, "deep": [1, threading.Lock()]})
    with pytest.raises(EncodeError, match=r"exit_args\['lock'\]"):
        serving_on.terminate({"lock": threading.Lock()})


def test_tasks_that_can_not_be_pickled_are_named_at_the_caller(start: Start) -> None:
    """`initialize` says which of the three functions can't be sent."""
    _, client = start()
    lock = threading.Lock()
    with pytest.raises(EncodeError, match="exec_task"):
        client.initialize(dict, lambda client_socket, state, args: lock, lambda c, s, a: None)


def test_response_that_can_not_be_pickled_is_named_at_the_call(serving_on: Client) -> None:
    """The call whose response it is raises, naming the part."""
    with pytest.raises(EncodeError, match=r"response\['lock'\]"):
        serving_on.call({"run": lambda state: {"lock": threading.Lock()}})


def test_args_that_can_not_be_rebuilt_are_an_error_at_the_call(serving_on: Client) -> None:
    """What fails to load over there is told to who sent it."""
    with pytest.raises(DecodeError, match="lost on the way"):
        serving_on.call({"run": count, "bad": Unloadable()})


def test_response_that_can_not_be_rebuilt_is_an_error_at_the_call(serving_on: Client) -> None:
    """What fails to load here is told here."""
    with pytest.raises(DecodeError, match="lost on the way"):
        serving_on.call({"run": lambda state: Unloadable()})


SCRIPT = """
import sys, traceback
from bgpy import Client, respond

class Refused(Exception):
    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code

def init_task(): return 0
def exec_task(client_socket, state, args): raise Refused(403, 'not today')
def exit_task(client_socket, state, args): pass

with Client('127.0.0.1', int(sys.argv[1])) as client:
    client.initialize(init_task, exec_task, exit_task)
    try:
        client.call({})
    except Refused as error:
        print(type(error).__module__, error.code, error)
        traceback.print_exc(file=sys.stdout)
"""


def test_exception_of_a_script_is_caught_there_by_its_type(
    start: Start, script: Callable[..., subprocess.Popen[str]]
) -> None:
    """An exception class of a script's `__main__` goes there and back."""
    handle, _ = start()
    output, errors = script(SCRIPT, handle.port).communicate()
    assert errors == ""
    assert output.startswith("__main__ 403 not today\n")
    assert "in exec_task" in output
