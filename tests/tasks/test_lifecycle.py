"""The state machine of the three functions, without a server around it."""

from __future__ import annotations

import asyncio
import functools
import traceback
from typing import Any

import pytest

from bgpy.errors import NotInitialized
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.lifecycle import DONE, Kind, Outcome, Result, Tasks
from bgpy.tasks.signatures import Functions
from tests.support.outlets import Outlet, through
from tests.support.touchy import Touchy


def _exec(client_socket: Any, state: Any, args: Any) -> Any:
    """Gives what it is told to, and raises what it is told to."""
    if "raise" in args:
        raise args["raise"]
    return args.get("next")


def _exit(client_socket: Any, state: Any, args: Any) -> None:
    if "raise" in args:
        raise args["raise"]
    args["seen"] = state


FUNCTIONS = Functions(lambda: "first", _exec, _exit)


def _socket() -> ClientSocket:
    return through(Outlet())


def _handle(tasks: Tasks, kind: Kind, value: Any = None) -> Outcome:
    return tasks.handle(kind, {} if value is None else value, _socket())


def _state(tasks: Tasks) -> Any:
    """The state, as the exit task is given it."""
    args: dict[str, Any] = {}
    assert _handle(tasks, Kind.EXIT, args).result is Result.DONE
    return args["seen"]


def _initialized() -> Tasks:
    tasks = Tasks()
    assert _handle(tasks, Kind.INIT, FUNCTIONS) == Outcome(Result.DONE)
    return tasks


def _failing_init() -> Any:
    raise OSError("no device")


TRANSITIONS = [
    # whether there are tasks, call, value, result, type of the error, whether there are tasks then
    (False, Kind.INIT, FUNCTIONS, Result.DONE, None, True),
    (False, Kind.INIT, FUNCTIONS._replace(init_task=_failing_init), Result.RAISED, OSError, False),
    (False, Kind.EXEC, {}, Result.WITHOUT_TASKS, NotInitialized, False),
    (False, Kind.EXIT, {}, Result.WITHOUT_TASKS, None, False),
    (True, Kind.INIT, None, Result.ALREADY_INITIALIZED, None, True),
    (True, Kind.EXEC, {}, Result.DONE, None, True),
    (True, Kind.EXEC, {"raise": KeyError()}, Result.RAISED, KeyError, True),
    (True, Kind.EXIT, {}, Result.DONE, None, True),
    (True, Kind.EXIT, {"raise": KeyError()}, Result.RAISED, KeyError, True),
]


@pytest.mark.parametrize(
    ("initialized", "kind", "value", "result", "error", "initialized_then"), TRANSITIONS
)
def test_handle_moves_as_the_table_says(
    initialized: bool,
    kind: Kind,
    value: Any,
    result: Result,
    error: type[BaseException] | None,
    initialized_then: bool,
) -> None:
    """Each call in each state has one end."""
    tasks = _initialized() if initialized else Tasks()
    outcome = _handle(tasks, kind, value)
    assert outcome.result is result
    assert type(outcome.error) is (type(None) if error is None else error)
    assert tasks.initialized is initialized_then


def test_handle_may_initialise_when_an_earlier_try_failed() -> None:
    """A failed `init_task` leaves the way free for the next one."""
    tasks = Tasks()
    _handle(tasks, Kind.INIT, FUNCTIONS._replace(init_task=_failing_init))
    assert _handle(tasks, Kind.INIT, FUNCTIONS).result is Result.DONE
    assert _state(tasks) == "first"


@pytest.mark.parametrize("following", [0, False, "", [], {"a": 1}])
def test_handle_takes_what_a_task_returns_as_the_next_state(following: Any) -> None:
    """Anything but None, also what is false."""
    tasks = _initialized()
    _handle(tasks, Kind.EXEC, {"next": following})
    assert _state(tasks) is following


def test_handle_keeps_the_state_when_a_task_returns_none() -> None:
    """A task that only looks needn't hand the state on."""
    tasks = _initialized()
    _handle(tasks, Kind.EXEC, {"next": "second"})
    _handle(tasks, Kind.EXEC, {})
    assert _state(tasks) == "second"


RAISED: list[BaseException] = [
    ValueError("a value"),
    AssertionError(),
    MemoryError(),
    RecursionError(),
    StopIteration(),
    ExceptionGroup("several", [ValueError()]),
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    BaseException("the root"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_handle_keeps_the_last_good_state_when_a_task_raises(error: BaseException) -> None:
    """Whatever is raised ends in the outcome, and the state is that of the last success."""
    tasks = _initialized()
    _handle(tasks, Kind.EXEC, {"next": "second"})
    outcome = _handle(tasks, Kind.EXEC, {"next": "third", "raise": error})
    assert outcome == Outcome(Result.RAISED, error)
    assert _state(tasks) == "second"


def test_handle_cuts_its_own_frames_when_a_task_raises() -> None:
    """A traceback begins with the user's function."""
    outcome = _handle(_initialized(), Kind.EXEC, {"raise": ValueError("why")})
    assert outcome.error is not None
    frames = traceback.extract_tb(outcome.error.__traceback__)
    assert [frame.name for frame in frames] == ["_exec"]


def test_a_function_that_never_began_has_no_frames() -> None:
    """It is one in C, or a wrapper that hides how many arguments the function takes."""
    outcome = _handle(Tasks(), Kind.INIT, Functions(dict, _exec, _exit))
    assert isinstance(outcome.error, TypeError)
    assert outcome.error.__traceback__ is None


@pytest.mark.parametrize(
    ("init_task", "expected"),
    [
        (lambda: "nothing", False),
        (lambda client_socket: client_socket, True),
        (lambda client_socket=None: client_socket, True),
        (lambda *sockets: sockets[0], True),
    ],
)
def test_handle_gives_init_task_the_client_socket_when_it_takes_one(
    init_task: Any, expected: bool
) -> None:
    """Both forms of 0.3.1 work."""
    tasks = Tasks()
    functions, client_socket = FUNCTIONS._replace(init_task=init_task), _socket()
    assert tasks.handle(Kind.INIT, functions, client_socket).result is Result.DONE
    assert (_state(tasks) is client_socket) is expected


def test_handle_hands_on_client_socket_and_args_when_a_task_runs() -> None:
    """The three parameters come as they are."""
    seen: list[Any] = []
    tasks = Tasks()
    _handle(tasks, Kind.INIT, Functions(lambda: "s", lambda *each: seen.append(each), print))
    client_socket = _socket()
    tasks.handle(Kind.EXEC, {"a": 1}, client_socket)
    assert seen == [(client_socket, "s", {"a": 1})]


@pytest.mark.filterwarnings("error")
def test_a_task_that_returns_a_coroutine_fails_and_leaves_the_state() -> None:
    """A plain function around an async one: its body hasn't run, and nothing warns of it later."""

    async def inner(*args: Any) -> str:
        return "never"

    wrapped = functools.wraps(inner)(lambda *args: inner(*args))
    tasks = Tasks()
    failed = _handle(tasks, Kind.INIT, Functions(lambda: inner(), _exec, _exit))
    assert failed.result is Result.RAISED
    assert not tasks.initialized
    _handle(tasks, Kind.INIT, Functions(lambda: "first", wrapped, wrapped))
    for kind in (Kind.EXEC, Kind.EXIT):
        error = _handle(tasks, kind).error
        assert isinstance(error, TypeError)
        assert str(error).startswith(f"{kind.name.lower()}_task has returned a coroutine")
        assert error.__traceback__ is None
    assert tasks.state == "first"


def test_handle_asks_a_state_nothing() -> None:
    """A proxy of something that isn't there raises whatever it is asked."""
    tasks, state = Tasks(), Touchy()
    functions = Functions(lambda: state, lambda c, s, a: a["next"], lambda c, s, a: None)
    assert _handle(tasks, Kind.INIT, functions).error is None
    for following in (state, Touchy()):
        assert _handle(tasks, Kind.EXEC, {"next": following}).error is None


def test_outcome_tells_of_a_state_that_was_returned_without_a_response() -> None:
    """It may have been meant to be the response; with one, or of None, nothing is told."""
    tasks = Tasks()
    given: list[Any] = []

    def exec_task(client_socket: Any, state: Any, args: Any) -> Any:
        if args["respond"]:
            client_socket.respond(1)
        return args["returns"]

    functions = Functions(lambda: given, exec_task, lambda *args: None)
    _handle(tasks, Kind.INIT, functions)
    for returns, responds, told in [(given, False, True), ([], False, True), (None, False, False)]:
        outcome = _handle(tasks, Kind.EXEC, {"returns": returns, "respond": responds})
        assert (outcome.result, outcome.state) == (Result.DONE, told)
    assert _handle(tasks, Kind.EXEC, {"returns": [], "respond": True}) is DONE
