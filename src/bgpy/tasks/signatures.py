"""Do the three functions take what they will be given?"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Functions(NamedTuple):
    """The three functions that define a server."""

    init_task: Callable[..., Any]
    exec_task: Callable[..., Any]
    exit_task: Callable[..., Any]


def check(functions: Functions) -> None:
    """Raise `TypeError` naming the first function that can't be called as it will be."""
    for name, function in functions._asdict().items():
        if not callable(function):
            raise TypeError(f"{name} must be callable, not {type(function).__name__}")
        _check_runs(name, function)
    takes_client_socket(functions.init_task)
    for name, function in (("exec_task", functions.exec_task), ("exit_task", functions.exit_task)):
        if not _accepts(function, 3):
            raise TypeError(
                f"{name} must take three parameters (client_socket, state, args); "
                f"{_shown(function)} does not"
            )


def _check_runs(name: str, function: Callable[..., Any]) -> None:
    """Raise `TypeError` for a function whose body a call doesn't run."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):  # an instance: what is called is its __call__
        function = getattr(function, "__call__", function)  # noqa: B004
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{name} must be a plain function, not an async one, whose body a call doesn't run: "
            "use asyncio.run() inside"
        )
    if name != "init_task" and inspect.isgeneratorfunction(function):
        raise TypeError(
            f"{name} must be a plain function, not a generator, whose body a call doesn't run"
        )


def takes_client_socket(init_task: Callable[..., Any]) -> bool:
    """Whether `init_task` is called with the client socket or without.

    A function that takes it is given it, also where it has a default. Raises
    `TypeError` if it can be called neither way.
    """
    if _accepts(init_task, 1):
        return True
    if _accepts(init_task, 0):
        return False
    raise TypeError(
        f"init_task must take one parameter (client_socket) or none; {_shown(init_task)} does not"
    )


def _accepts(function: Callable[..., Any], count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        # Some callables written in C don't tell; they are found out when called.
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _shown(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{name}{inspect.signature(function)}"
