"""The engine that runs tasks in the server's own task thread, one after another.

Nothing is handed over: `run` decodes the arguments, runs the task and returns its
outcome, all on the thread that has received the request. So there is no lock here, and
`initialized` is the one thing that another thread reads: a flag that is set once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgpy.codec import fingerprint, functions, modules
from bgpy.codec.payload import decode, loads, rebuild
from bgpy.errors import DecodeError
from bgpy.memory import Payload
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.engine import Finished
from bgpy.tasks.interrupts import call_loads, call_task, call_user
from bgpy.tasks.lifecycle import DONE, INIT, Kind, Outcome, Result, Tasks, raised
from bgpy.tasks.signatures import Functions, check

Load = Callable[[], Functions]
"""Gives the three functions of an init file."""


class InlineEngine:
    """Runs each call where `run` is called, before it returns."""

    def __init__(self, catalogue: modules.Catalogue, init_file: Load | None) -> None:
        """`init_file` gives the tasks for an init without a payload."""
        self.initialized = False
        """Whether `init_task` has run."""
        self._tasks = Tasks()
        self._catalogue = catalogue
        self._init_file = init_file

    def open(self, finished: Finished) -> None:
        """Do nothing: no call outlives its `run`."""

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def run(self, kind: Kind, payload: Payload | None, client_socket: ClientSocket) -> Outcome:
        """Run one call to its end; what it raises is in the outcome."""
        try:
            value: Any
            if kind is INIT:
                value = call_user(self._functions, payload)
            elif payload is None:
                value = {"await_response": client_socket.waits}
            else:
                head, buffers, code = payload
                value = call_user(decode, head, buffers, code, "args")
                if type(value) is dict:
                    value["await_response"] = client_socket.waits
                else:
                    call_user(_complete, value, client_socket)
        except BaseException as error:
            return Outcome(Result.UNREADABLE, error)
        # The outcome has no name here: an error's traceback leads to the task's frame, that to
        # this one, and all of it would stay until a collection.
        try:
            return self._tasks.handle(kind, value, client_socket)
        finally:
            if kind is INIT:
                self.initialized = self._tasks.initialized

    def run_small(self, head: bytearray, client_socket: ClientSocket) -> Outcome:
        """As `run` of an execute with a small payload, in fewer steps."""
        try:
            try:
                args = call_loads(loads, head)
            except Exception as error:
                args = call_user(rebuild, error, bytes(head), (), "args")
            if args.__class__ is dict:
                args["await_response"] = True
            else:
                call_user(_complete, args, client_socket)
        except BaseException as error:
            return Outcome(Result.UNREADABLE, error)
        tasks = self._tasks
        exec_task = tasks.exec_task
        if exec_task is None:
            return tasks.execute(args, client_socket)
        try:
            state = call_task(exec_task, client_socket, tasks.state, args)
            if state is tasks.state and client_socket.answered:
                return DONE  # as `Tasks.returned`, of what comes most
            return tasks.returned(state, client_socket)
        except BaseException as error:
            return raised(error)

    def _functions(self, payload: Payload | None) -> Functions | None:
        if self._tasks.initialized:
            return None  # a second client's tasks are not even rebuilt
        if payload is None:
            assert self._init_file is not None
            loaded = self._init_file()
            parts = fingerprint.of_tasks(loaded._asdict())
            self._catalogue.runs(parts, modules.used_by(loaded))
        else:
            loaded = Functions(*functions.decode_tasks(payload, self._catalogue))
        check(loaded)
        return loaded


def _complete(args: Any, client_socket: ClientSocket) -> None:
    """Say in `args`, which may be of a class of the user's, whether the client waits."""
    if not isinstance(args, dict):
        raise DecodeError(f"args must be a dict, not {type(args).__name__}")
    args["await_response"] = client_socket.waits
