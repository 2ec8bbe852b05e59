"""Do the three functions take what they will be given?"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from bgpy.system.strikes import is_strike_amid


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
    takes_client_socket(functions.init_task)
    for name, function in (("exec_task", functions.exec_task), ("exit_task", functions.exit_task)):
        if not _accepts(function, 3):
            raise TypeError(
                f"{name} must take three parameters (client_socket, state, args); "
                f"{_shown(function)} does not"
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
