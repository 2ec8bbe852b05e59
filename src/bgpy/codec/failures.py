"""Exceptions across the wire: as their own type where it can be rebuilt.

Type name, message and traceback always travel as text; an `Exception` also as its
class's name, arguments and attributes. The class is looked up by name where it
arrives, so that ``except MyError`` works there also for a class of a script's
`__main__`. What can't be rebuilt is a `RemoteError`. The remote traceback is the
``__cause__``, so that Python prints it above the local one.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from bgpy.codec.payload import decode, encode
from bgpy.codec.renamed import find
from bgpy.errors import BgpyError, EncodeError, RemoteError
from bgpy.memory import Head, HeadParts, Payload


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
    """Put `error` in words, and into a payload if it is an `Exception` that allows it."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(error)
    except BaseException:  # the user's code, which may raise anything
        text = f"<{name} whose message can't be made>"
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
    if isinstance(error, BgpyError):
        error.remote = True
    if remote_traceback:
        error.__cause__ = RemoteTraceback(remote_traceback)
    return error


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:
        return "".join(traceback.format_tb(error.__traceback__))


def _pack(error: BaseException) -> Payload | None:
    if not isinstance(error, Exception):
        return None
    kind = type(error)
    args: Any = error.args
    state: Any = dict(error.__dict__)
    try:
        reduced = error.__reduce_ex__(5)
        if isinstance(reduced, tuple) and reduced[0] is kind:
            args = reduced[1]
    except BaseException:
        pass  # its own way to be pickled fails; arguments and attributes may do
    try:
        packed = (kind.__module__, kind.__qualname__, args, error.args, state)
        return encode(packed, "exception")
    except EncodeError:
        return None


def _unpack(head: Head | HeadParts, buffers: Sequence[memoryview], code: bool) -> Exception | None:
    try:
        module, qualname, given, args, state = decode(head, buffers, code, "exception")
        kind: Any = find(module, qualname)
        if not issubclass(kind, Exception):
            return None
        error = _make(kind, given, args)
        error.__dict__.update(state)
    except Exception:
        return None  # not here, or not as it was: RemoteError tells all that is known
    return error


def _make(kind: type[Exception], given: Any, args: Any) -> Exception:
    try:
        error = kind(*given)
        if error.args == args:
            return error
    except Exception:
        pass
    # The constructor takes something else than it hands to its base: only the base,
    # which is Python's own, makes it then.
    error = kind.__new__(kind, *given)
    base: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    base.__init__(error, *given)
    error.args = args
    return error
