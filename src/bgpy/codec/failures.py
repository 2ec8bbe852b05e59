"""Exceptions across the wire: each as its own type where it can be rebuilt.

Type name, message and traceback always travel as text. Beside them go the exception and all
that belongs to it: the members of a group, causes and contexts, each packed for itself, so
that one which can't be rebuilt is a `RemoteError` in its place and harms no other::

    nodes[0]  the exception      nodes[1]  a member, cause or context of one before      ...
    rest      one pickle of those that are too large for that together

What they share would be in each of their pickles: a batch that all members of a group name, say.
So only the exception itself may be of any size. What belongs to it has `MOST_BESIDE` bytes;
what finds no room there is packed together, so that what it shares travels once, within
`MOST_SHARED` bytes; and beyond that it is told in words.

The exception itself arrives as a `RemoteError` too where raising it here would say something else
to Python: that an iterator ends, or that the caller's own wait is cancelled.

A class is looked up by name where it arrives, so that ``except MyError`` works there also
for a class of a script's `__main__`. The remote traceback stands at the end of the chain of
causes, so that Python prints it above all of them.
"""

from __future__ import annotations

import sys
import traceback
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bgpy.codec.exceptions import (
    NoRoom,
    Packed,
    Room,
    made_of,
    pack,
    pack_all,
    set_past,
    unpack,
    unpack_all,
)
from bgpy.codec.patience import Patience
from bgpy.codec.payload import decode, encode
from bgpy.errors import BgpyError, EncodeError, RemoteError
from bgpy.memory import Head, HeadParts, Payload
from bgpy.system.strikes import is_strike_amid

MOST_CAUSES = 100
"""Causes and contexts that travel as objects; the text tells of all."""

DEEPEST_GROUP = 100
"""Groups within groups that travel as objects."""

MOST_ERRORS = 10_000
"""Exceptions of one failure that travel as objects: a group may hold itself, twice."""

MOST_BESIDE = 2**20
"""Bytes of causes, contexts and members, each packed for itself, and characters of their texts."""

MOST_SHARED = 2**25
"""Bytes of those of them that are packed together."""

MOST_FORMATTED = 2000
"""Exceptions of one failure whose tracebacks travel, as text; of more only the first one's does."""

LONGEST_LINE = 2**16
"""Characters of a line of the traceback, or of the exception's message in it."""

LONGEST_TRACEBACK = 2**20
"""Characters of the traceback; of a longer one the end travels."""


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
    return Description(name, text, _format(error), _pack(error, MOST_ERRORS))


def alone(error: BaseException) -> Payload | None:
    """The payload of an exception without what belongs to it; None if there is none."""
    return _pack(error, 1)


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
    if error is None or _means_other_things(type(error)):
        error = RemoteError.of(type_name, text, remote_traceback)
    elif isinstance(error, RemoteError) and not error.traceback:
        error.traceback = remote_traceback
    if isinstance(error, BgpyError):
        object.__setattr__(error, "remote", True)
    if remote_traceback:
        _end_chain(error, RemoteTraceback(remote_traceback))
    return error


def _means_other_things(kind: type) -> bool:
    """Whether raising an exception of that class tells Python itself something.

    An asyncio future takes no `StopIteration`, and whoever awaits it waits for ever; that and
    `StopAsyncIteration` end a loop in whose ``__next__`` they are raised. An asyncio future takes
    the ``CancelledError`` of ``concurrent.futures`` for its own end, and a `TaskGroup` loses the
    failure. That of asyncio, `GeneratorExit` and what ends a program are no `Exception` and come
    in words alone.
    """
    # Nothing is of that module's class before it is imported.
    cancelled = getattr(sys.modules.get("concurrent.futures"), "CancelledError", ())
    return issubclass(kind, (StopIteration, StopAsyncIteration, cancelled))


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
        if _is_too_much(error):
            # Its own functions visit all members, whatever they are asked to show.
            lines = traceback.format_tb(error.__traceback__)
            return _ending([*lines, ": ".join(_words(error)), "\n"])
        return _ending(traceback.TracebackException.from_exception(error).format())
    except BaseException:
        return _ending(traceback.format_tb(error.__traceback__))


def _is_too_much(error: BaseException) -> bool:
    """Whether `traceback` would walk through more than `MOST_FORMATTED` exceptions.

    It takes causes and contexts once, and members as often as it meets them.
    """
    found: list[BaseException] = [error]
    seen: set[int] = set()
    for each in found:  # which grows
        if len(found) > MOST_FORMATTED:
            return True
        for other in (each.__cause__, each.__context__):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                found.append(other)
        if isinstance(each, BaseExceptionGroup):
            found += each.exceptions
    return False


def _ending(lines: Iterable[str]) -> str:
    """The lines in one text; without the first ones, and ends of lines, where it is too long."""
    kept: deque[str] = deque()
    size = cut = 0
    for line in lines:
        if len(line) > LONGEST_LINE:
            line = f"{line[:LONGEST_LINE]}... ({len(line)} characters)\n"
        kept.append(line)
        size += len(line)
        while size > LONGEST_TRACEBACK:
            cut += 1
            size -= len(kept.popleft())
    if cut:
        kept.appendleft(f"... ({cut} lines and messages before are left out)\n")
    return "".join(kept)


class Node(NamedTuple):
    """One exception; others by their index, that of members higher than its own."""

    type_name: str
    text: str
    packed: Packed | int | None
    """An index if it is among the rest."""
    cause: int | None = None
    context: int | None = None
    suppress: bool = False
    members: list[int] | None = None


class _Link(NamedTuple):
    """An exception and what belongs to it, as in a `Node`."""

    error: BaseException
    cause: int | None
    context: int | None
    members: list[int] | None


def _pack(error: BaseException, most: int) -> Payload | None:
    if not isinstance(error, (Exception, BaseExceptionGroup)):
        return None
    links = _links(error, most)
    packs, rest = _packs([link.error for link in links])
    room = MOST_BESIDE
    nodes: list[tuple[Any, ...]] = []
    for link, packed in zip(links, packs, strict=True):
        name, text = _words(link.error)
        if nodes:
            text = text[: min(room, LONGEST_LINE)]
            room -= len(text)
        suppress = link.error.__suppress_context__
        # As plain tuples: what they are called is a matter of each side.
        nodes.append((name, text, packed, link.cause, link.context, suppress, link.members))
    try:
        return encode((nodes, rest), "exception")
    except EncodeError:
        return None


def _links(error: BaseException, most: int) -> list[_Link]:
    """`error` and what belongs to it: each group before its members, else once each."""
    errors = [error]
    depths = [(0, 0)]
    seen = {id(error): 0}
    links: list[_Link] = []

    def index(other: BaseException | None, chain: int, depth: int) -> int | None:
        if other is None:
            return None
        if id(other) in seen:
            return seen[id(other)]
        if chain > MOST_CAUSES or len(errors) >= most:
            return None
        seen[id(other)] = len(errors)
        errors.append(other)
        depths.append((chain, depth))
        return seen[id(other)]

    for each in errors:  # which grows
        chain, depth = depths[len(links)]
        members = None
        if isinstance(each, BaseExceptionGroup) and depth < DEEPEST_GROUP:
            # A member that is met again is made again: a group with fewer has another shape.
            for member in each.exceptions:
                seen.pop(id(member), None)
            found = [index(member, chain, depth + 1) for member in each.exceptions]
            members = [member for member in found if member is not None]
        cause = index(each.__cause__, chain + 1, depth)
        links.append(_Link(each, cause, index(each.__context__, chain + 1, depth), members))
    return links


def _packs(errors: list[BaseException]) -> tuple[list[Packed | int | None], Packed | None]:
    """The pickle of each, or its index in the one that holds the rest, and that one."""
    patience = Patience()
    packs: list[Packed | int | None] = [pack(errors[0], None, patience)]
    rest: list[BaseException] = []
    room = Room(MOST_BESIDE)
    for error in errors[1:]:
        try:
            packs.append(pack(error, room, patience))
        except NoRoom:
            packs.append(len(rest))
            rest.append(error)
    try:
        return packs, pack_all(rest, Room(MOST_SHARED), patience) if rest else None
    except NoRoom:
        return packs, None


def _unpack(head: Head | HeadParts, buffers: Sequence[memoryview], code: bool) -> Exception | None:
    try:
        parts, rest = decode(head, buffers, code, "exception")
        nodes = [Node(*each) for each in parts]
        contents = [] if rest is None else unpack_all(rest)
        errors: list[Exception] = []
        for node in reversed(nodes):
            made = [errors[len(nodes) - 1 - member] for member in node.members or ()]
            errors.append(_made(node, made, contents))
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


def _made(node: Node, members: list[Exception], rest: list[Any]) -> Exception:
    """The exception of one node, with those of its members."""
    grouped = members if node.members is not None else None
    error = None
    if isinstance(node.packed, tuple):
        error = unpack(node.packed, grouped, node.text)
    elif node.packed is not None and node.packed < len(rest):
        error = made_of(rest[node.packed], grouped)
    if error is None and members:
        # Its class is not here; what matches its members does so all the same.
        error = ExceptionGroup(node.text.rpartition(" (")[0] or node.text, members)
        error.add_note(f"(a group of type {node.type_name} where it was raised)")
    if error is None:
        error = RemoteError.of(node.type_name, node.text, "")
    if isinstance(error, BgpyError):
        object.__setattr__(error, "remote", True)
    return error
