"""Tasks that another Python's client can call: they send back, or raise what is asked for."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import re
import types
import typing
import uuid
from typing import Any

from bgpy import respond
from bgpy.core.sockets import ClientSocket

VALUES: list[Any] = [
    {"a": [1, 2.5, None, True, b"x"], "b": (frozenset({1}), {"c"}), "ä": 1j},
    pathlib.PurePosixPath("/some/where"),
    pathlib.Path("here"),
    datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
    datetime.timedelta(3),
    decimal.Decimal("1.10"),
    fractions.Fraction(1, 3),
    uuid.UUID(int=7),
    re.compile("a+b", re.ASCII),
    range(3),
    bytes(300_000),
    bytearray(b"y" * 300_000),
    {"a": 1}.keys(),
    {"a": 1}.items(),
    types.MappingProxyType({"a": 1}),
    types.FunctionType,
    pathlib,
    typing.AnyStr,
]
"""One of each that is pickled in a way of its own."""


class Odd(Exception):
    """Has an attribute that pickle has no way for."""

    def __init__(self, text: str, keys: Any) -> None:
        """`keys` are a dict's."""
        super().__init__(text)
        self.keys = keys


def init_task() -> int:
    """Nothing is counted."""
    return 0


def exec_task(client_socket: ClientSocket, state: int, args: dict[str, Any]) -> int:
    """Send ``args["value"]`` back, unless there is an exception to raise."""
    if args.get("raise") == "pattern":
        re.compile("(")
    if args.get("raise") == "group":
        raise ExceptionGroup("both", [ValueError("one"), KeyError("two")])
    if args.get("raise") == "odd":
        raise Odd("odd", {"a": 1}.keys())
    respond(client_socket, args.get("value"))
    return state + 1


def exit_task(client_socket: ClientSocket, state: int, args: dict[str, Any]) -> None:
    """Tell how many were answered."""
    respond(client_socket, state)


TASKS = (init_task, exec_task, exit_task)
