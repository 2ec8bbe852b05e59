"""Exceptions across the wire: each as its own type where it can be rebuilt.

Type name, message and traceback always travel as text. Beside them go the exception and all
that belongs to it: the members of a group, causes and contexts, each packed for itself, so
that one which can't be rebuilt is a `RemoteError` in its place and harms no other::

    nodes[0]  the exception      nodes[1]  a member, cause or context of one before      ...

A class is looked up by name where it arrives, so that ``except MyError`` works there also
for a class of a script's `__main__`. The remote traceback stands at the end of the chain of
causes, so that Python prints it above all of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import NamedTuple

from bgpy.codec.exceptions import Packed, pack, set_past, unpack
from bgpy.codec.payload import decode, encode
from bgpy.errors import BgpyError, EncodeError, RemoteError
from bgpy.memory import Head, HeadParts, Payload
from bgpy.system.strikes import is_strike_amid

MOST_CAUSES = 100
"""Causes and contexts that travel as objects; the text tells of all."""

DEEPEST_GROUP = 100
"""Groups within groups that travel as objects."""

MOST_ERRORS = 100_000
"""Exceptions of one failure that travel as objects: a group may hold itself, twice."""


class Description(NamedTuple):
    """An exception in words, and as a payload where one could be made."""

    type_name: str
    text: str
    traceback: str
    payload: Payload | None


class RemoteTraceback(Exception):
    """The traceback of an exception where it was raised; the cause of what is raised here."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def describe(error: BaseException) -> Description:
    """Put `error` in words, and into a payload if it is an `Exception` that allows it.

    So is a group of others, as long as they are in one: what is no `Exception` ends nobody there.
    """
    name, text = _words(error)
    return Description(name, text, _format(error), _pack(error))


def rebuild(
    type_name: str,
    text: str,
    remote_traceback: str,
    head: Head | HeadParts,
    buffers: Sequence[memoryview],
    code: bool,
) -> Exception:
    """Make the exception that a `Description` tells of, ready to be raised.

    An error of bgpy's is marked as ``remote``: a task has raised it, and it says nothing of
    the connection that it came by. What it says of its own call (``progress``) stays.
    """
    error = _unpack(head, buffers, code) if len(head) else None
    if error is None:
        error = RemoteError.of(type_name, text, remote_traceback)
    elif isinstance(error, RemoteError) and not error.traceback:
        error.traceback = remote_traceback
    if isinstance(error, BgpyError):
        object.__setattr__(error, "remote", True)
    if remote_traceback:
        _end_chain(error, RemoteTraceback(remote_traceback))
    return error


def _end_chain(error: BaseException, cause: BaseException) -> None:
    """Put `cause` at the end of the chain of causes that `error` has."""
    seen = {id(error)}
    while (following := error.__cause__) is not None and id(following) not in seen:
        seen.add(id(following))
        error = following
    set_past(error, "__cause__", cause)


def _words(error: BaseException) -> tuple[str, str]:
    """The full name of an exception's type, and its message."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        return name, str(error)
    except BaseException:  # the user's code, which may raise anything
        return name, f"<{name} whose message can't be made>"


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:
        return "".join(traceback.format_tb(error.__traceback__))


class Node(NamedTuple):
    """One exception; others by their index, that of members higher than its own."""

    type_name: str
    text: str
    packed: Packed | None
    cause: int | None = None
    context: int | None = None
    suppress: bool = False
    members: list[int] | None = None


def _pack(error: BaseException) -> Payload | None:
    if not isinstance(error, (Exception, BaseExceptionGroup)):
        return None
    try:
        # As plain tuples: what they are called is a matter of each side.
        return encode([tuple(node) for node in _nodes(error)], "exception")
    except EncodeError:
        return None


def _nodes(error: BaseException) -> list[Node]:
    """`error` and what belongs to it: each group before its members, else once each."""
    errors = [error]
    depths = [(0, 0)]
    seen = {id(error): 0}
    nodes: list[Node] = []

    def index(other: BaseException | None, chain: int, depth: int) -> int | None:
        if other is None:
            return None
        if id(other) in seen:
            return seen[id(other)]
        if chain > MOST_CAUSES or len(errors) >= MOST_ERRORS:
            return None
        seen[id(other)] = len(errors)
        errors.append(other)
        depths.append((chain, depth))
        return seen[id(other)]

    for each in errors:  # which grows
        chain, depth = depths[len(nodes)]
        members = None
        if isinstance(each, BaseExceptionGroup) and depth < DEEPEST_GROUP:
            # A member that is met again is made again: a group with fewer has another shape.
            for member in each.exceptions:
                seen.pop(id(member), None)
            found = [index(member, chain, depth + 1) for member in each.exceptions]
            members = [member for member in found if member is not None]
        nodes.append(
            Node(
                *_words(each),
                pack(each),
                index(each.__cause__, chain + 1, depth),
                index(each.__context__, chain + 1, depth),
                each.__suppress_context__,
                members,
            )
        )
    return nodes


def _unpack(head: Head | HeadParts, buffers: Sequence[memoryview], code: bool) -> Exception | None:
    try:
        nodes = [Node(*each) for each in decode(head, buffers, code, "exception")]
        errors: list[Exception] = []
        for node in reversed(nodes):
            made = [errors[len(nodes) - 1 - member] for member in node.members or ()]
            errors.append(_made(node, made))
        errors.reverse()
        for error, node in zip(errors, nodes, strict=True):
            for name, at in (("__cause__", node.cause), ("__context__", node.context)):
                if at is not None:
                    set_past(error, name, errors[at])
            set_past(error, "__suppress_context__", node.suppress)
        return errors[0]
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None  # RemoteError tells all that is known


def _made(node: Node, members: list[Exception]) -> Exception:
    """The exception of one node, with those of its members."""
    grouped = members if node.members is not None else None
    error = None if node.packed is None else unpack(node.packed, grouped)
    if error is None and members:
        # Its class is not here; what matches its members does so all the same.
        error = ExceptionGroup(node.text.rpartition(" (")[0] or node.text, members)
        error.add_note(f"(a group of type {node.type_name} where it was raised)")
    if error is None:
        error = RemoteError.of(node.type_name, node.text, "")
    if isinstance(error, BgpyError):
        object.__setattr__(error, "remote", True)
    return error
