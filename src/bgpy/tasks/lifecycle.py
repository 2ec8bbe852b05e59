"""The state machine of the three functions: `Tasks.handle` gives the `Outcome` of a call.

::

    EMPTY ── init ──► INITIALIZED ── exec ──► INITIALIZED ── exit ──► (the server ends)
      └── init raised: EMPTY        ├── exec raised: the state of the last success
                                    └── exit's response can't be sent: the state stays

It knows no thread, socket or byte, so that any engine can run the same tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from types import TracebackType
from typing import Any, NamedTuple

from bgpy.errors import EncodeError, MessageTooLarge, NotInitialized
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.interrupts import BORDERS, call_task, call_user
from bgpy.tasks.signatures import Functions, takes_client_socket, wrong_result


class Kind(Enum):
    """Which of the three functions a call is for."""

    INIT = auto()
    EXEC = auto()
    EXIT = auto()


# Taking a member from its class is slow, and these are asked for in each call.
INIT, EXEC, EXIT = Kind

NO_TASKS = "the server has no tasks yet"

CANT_BE_SENT = (EncodeError, MessageTooLarge)
"""What `respond` raises where the response is to blame."""


class Result(Enum):
    """How a call ended."""

    DONE = auto()
    ALREADY_INITIALIZED = auto()
    WITHOUT_TASKS = auto()
    """There were no tasks to run: an error for an execute, none for an exit."""
    RAISED = auto()
    UNREADABLE = auto()
    """Its arguments could not be rebuilt: nothing ran."""
    UNSENT = auto()
    """Its exit task has failed since the response can't be sent: the state must not go with it."""


class Outcome(NamedTuple):
    """What came of a call.

    `error` is what the user's code raised, without bgpy's frames, or the failure that
    `result` names. `result` says whose failure it is, never the error's type: a task may raise
    any error of bgpy's, of a client of its own. `state` tells that there is no answer, and that
    what was returned is the state now; `replaced` then names the classes of the state before and
    of this one, where it is another object.
    """

    result: Result
    error: BaseException | None = None
    state: bool = False
    replaced: tuple[str, str] | None = None


DONE = Outcome(Result.DONE)
"""The outcome of a call that went well."""

RETURNED = Outcome(Result.DONE, state=True)
"""The same, of one that returned a state and has not responded: that may have been meant to be
the response."""


class Tasks:
    """The three functions and the state that they hand on."""

    def __init__(self) -> None:
        self.functions: Functions | None = None
        """None until `init_task` has run."""
        self.exec_task: Callable[..., Any] | None = None
        """That of `functions`: a field of a tuple is found more slowly."""
        self.state: Any = None
        """What the last task has returned that went well."""

    @property
    def initialized(self) -> bool:
        """Whether `init_task` has run."""
        return self.functions is not None

    def handle(self, kind: Kind, value: Any, client_socket: ClientSocket) -> Outcome:
        """Run one call to its end; whatever the user's code raises is in the outcome.

        `value` is the `Functions` for INIT, else the dict of arguments.
        """
        if kind is EXEC:
            return self.execute(value, client_socket)
        functions = self.functions
        try:
            if kind is INIT:
                if functions is not None:
                    return Outcome(Result.ALREADY_INITIALIZED)
                return self._initialize(value, client_socket)
            if functions is None:
                return Outcome(Result.WITHOUT_TASKS)
            given = call_user(functions.exit_task, client_socket, self.state, value)
            wrong = wrong_result("exit_task", given)
            return DONE if wrong is None else raised(wrong)
        except BaseException as error:
            unsent = kind is EXIT and client_socket.unsent and isinstance(error, CANT_BE_SENT)
            return raised(error, Result.UNSENT if unsent else Result.RAISED)

    def execute(self, args: Any, client_socket: ClientSocket) -> Outcome:
        """As `handle` of an execute."""
        exec_task = self.exec_task
        if exec_task is None:
            return Outcome(Result.WITHOUT_TASKS, NotInitialized(NO_TASKS))
        try:
            state = call_task(exec_task, client_socket, self.state, args)
            return self.returned(state, client_socket)
        except BaseException as error:
            return raised(error)

    def returned(self, state: Any, client_socket: ClientSocket) -> Outcome:
        """What came of an execute that has returned `state`."""
        if state is None:
            return DONE
        if state is not self.state:
            wrong = wrong_result("exec_task", state)
            if wrong is not None:
                return raised(wrong)
            before, self.state = self.state, state
            if not client_socket.answered:
                names = type(before).__name__, type(state).__name__
                return Outcome(Result.DONE, state=True, replaced=names)
        return DONE if client_socket.answered else RETURNED

    def _initialize(self, functions: Functions, client_socket: ClientSocket) -> Outcome:
        if takes_client_socket(functions.init_task):
            state = call_user(functions.init_task, client_socket)
        else:
            state = call_user(functions.init_task)
        wrong = wrong_result("init_task", state)
        if wrong is not None:
            return raised(wrong)
        self.state = state
        self.exec_task = functions.exec_task
        self.functions = functions  # last: it says that there are tasks
        return DONE


def raised(error: BaseException, result: Result = Result.RAISED) -> Outcome:
    """What came of a call whose task has raised `error`."""
    return Outcome(result, error.with_traceback(_below_bgpy(error.__traceback__)))


def _below_bgpy(traceback: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the user's: what lies below one of `BORDERS`."""
    frame = traceback
    while frame is not None:
        if frame.tb_frame.f_code in BORDERS:
            return frame.tb_next
        frame = frame.tb_next
    return traceback
