"""Do the three functions take what they will be given?"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CoroutineType
from typing import Any, NamedTuple

from bgpy.system.strikes import is_strike_amid

MOST_WRAPPERS = 100
"""Wrappers around a function that are looked through: one may be called by itself."""

_Cached = type(functools.cache(len))


class Functions(NamedTuple):
    """The three functions that define a server."""

    init_task: Callable[..., Any]
    exec_task: Callable[..., Any]
    exit_task: Callable[..., Any]


def check(functions: Functions) -> None:
    """Raise `TypeError` naming the first function that can't be called as it will be."""
    for name, function in functions._asdict().items():
        if not callable(function):
            raise TypeError(
                f"{name} must be callable, not {type(function).__name__}: give the function "
                f"itself, {name} and not {name}(...)"
            )
        _check_runs(name, function)
    takes_client_socket(functions.init_task)
    for name, function in (("exec_task", functions.exec_task), ("exit_task", functions.exit_task)):
        if not _accepts(function, 3):
            raise TypeError(
                f"{name} must take three parameters (client_socket, state, args); "
                f"{_shown(function)} does not"
            )


def wrong_result(name: str, value: Any) -> TypeError | None:
    """The error of the task `name` if it has returned a coroutine, whose body has not run.

    That is what a plain function gives which wraps an async one.
    """
    if type(value) is not CoroutineType:  # not by its `__class__`, which may be the user's code
        return None
    value.close()  # else Python warns that it was never awaited
    return TypeError(
        f"{name} has returned a coroutine, whose body has not run: "
        "async tasks are not supported yet; use asyncio.run() inside"
    )


def _check_runs(name: str, function: Callable[..., Any]) -> None:
    """Raise `TypeError` for a function whose body a call doesn't run."""
    function = _innermost(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{name} must be a plain function: async tasks are not supported yet, since a call "
            "doesn't run their body; use asyncio.run() inside"
        )
    if inspect.isgeneratorfunction(function):
        raise TypeError(
            f"{name} must be a plain function: generator tasks are not supported yet, since a "
            "call doesn't run their body; to keep a generator as the state, return one"
        )


def _innermost(function: Any) -> Any:
    """What is run when `function` is called, as far as Python's own wrappers show it.

    Other decorators may run an async function to its end, so ``__wrapped__`` says nothing.
    """
    for _ in range(MOST_WRAPPERS):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, _Cached):
            function = function.__wrapped__
        elif isinstance(function, type) or inspect.isroutine(function):
            break
        else:  # an instance: what is called is its class's __call__
            called = getattr(type(function), "__call__", None)  # noqa: B004
            if called is None:
                break
            function = called
    return function


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
    except (ValueError, TypeError) as error:
        if is_strike_amid(error):
            raise
        # Some callables written in C don't tell; they are found out when called.
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        if is_strike_amid(error):
            raise
        return False
    return True


def _shown(function: Callable[..., Any]) -> str:
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{name}{inspect.signature(function)}"
