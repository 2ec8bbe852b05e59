"""One object to a payload and back.

Plain pickle is tried first: it is fast, and what it names by reference is the same
class on both sides. cloudpickle takes over where plain pickle fails (lambdas,
closures, classes made in a function) or names `__main__`, which is another module
over there. What cloudpickle makes may hold bytecode, so its head starts with the
Python version, two bytes, which is compared before anything is loaded.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from bgpy.errors import BgpyError, DecodeError, EncodeError, PythonMismatch

PICKLE = 1
"""The number of this codec on the wire."""

OUT_OF_BAND = 2**16
"""From this size on, in bytes, a buffer travels beside the pickle instead of inside it."""

KeepIn = Callable[[pickle.PickleBuffer], bool]
"""Whether a buffer travels inside the pickle."""

_new = tuple.__new__  # a named tuple's own costs three times as much

_PYTHON = bytes(sys.version_info[:2])


class Payload(NamedTuple):
    """An object ready to travel; `code` says that `head` starts with a Python version."""

    head: bytes
    buffers: Sequence[memoryview]
    code: bool


def encode(obj: Any, what: str) -> Payload:
    """Pickle `obj`; `what` is its name in errors (``args``, ``response``).

    Raises `EncodeError` naming the part that can't be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = b""
    try:
        head = pickle.dumps(obj, 5, buffer_callback=buffers.append)
        if head.find(b"__main__") < 0:
            if not buffers:
                return _new(Payload, (head, (), False))
            return _with_buffers(obj, head, buffers)
    except Exception:
        pass  # cloudpickle knows more, and its error is the one to show
    kept_out: list[memoryview] = []
    by_value = _dump_by_value(obj, what, _keeper(kept_out))
    if by_value == head:
        return Payload(head, kept_out, False)  # the name was only among the data
    return Payload(_PYTHON + by_value, kept_out, True)


def decode(head: bytes | memoryview, buffers: Sequence[memoryview], code: bool, what: str) -> Any:
    """Rebuild an object; `what` is its name in errors.

    Raises `PythonMismatch` for bytecode of another Python version, before any of it is
    loaded, and `DecodeError` naming what is missing here.
    """
    if code:
        head = _without_version(head, what)
    try:
        return pickle.loads(head, buffers=buffers) if buffers else pickle.loads(head)
    except BgpyError:
        raise
    except Exception as error:
        raise DecodeError(f"{what} can't be rebuilt here: {_reason(error)}") from error


def _with_buffers(obj: Any, head: bytes, buffers: list[pickle.PickleBuffer]) -> Payload:
    """A payload that leaves large buffers out of the pickle, and only those."""
    try:
        raw = [buffer.raw() for buffer in buffers]
        if all(each.nbytes >= OUT_OF_BAND for each in raw):
            return Payload(head, raw, False)
    except BufferError:
        pass  # not contiguous: that one travels inside the pickle
    kept_out: list[memoryview] = []
    head = pickle.dumps(obj, 5, buffer_callback=_keeper(kept_out))
    return Payload(head, kept_out, False)


def _keeper(kept_out: list[memoryview]) -> KeepIn:
    """A buffer callback that appends large buffers to `kept_out`, and keeps the others in."""

    def keep_in(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < OUT_OF_BAND:
            return True
        kept_out.append(raw)
        return False

    return keep_in


def _dump_by_value(obj: Any, what: str, keep_in: KeepIn) -> bytes:
    import cloudpickle  # 20 ms that most calls never need

    try:
        return bytes(cloudpickle.dumps(obj, protocol=5, buffer_callback=keep_in))
    except Exception as error:
        raise EncodeError(f"{_blame(obj, what)} can't be sent: {_reason(error)}") from error


def _without_version(head: bytes | memoryview, what: str) -> memoryview:
    there, here = tuple(head[:2]), sys.version_info[:2]
    if there != here:
        raise PythonMismatch(
            f"{what} holds bytecode of Python {'.'.join(map(str, there))}, and this is Python "
            f"{here[0]}.{here[1]}: use the same Python on both sides, or put the three "
            "functions in a file and start the server with it (--init-file)"
        )
    return memoryview(head)[2:]


def _reason(error: BaseException) -> str:
    text = str(error)
    return text if isinstance(error, pickle.PickleError) else f"{type(error).__name__}: {text}"


def _blame(obj: Any, name: str, depth: int = 4) -> str:
    """Name the innermost part of `obj` that can't be pickled, as in ``args['model']``."""
    import cloudpickle

    if depth and isinstance(obj, dict):
        parts = [(f"{name}[{key!r}]", value) for key, value in obj.items()]
    elif depth and isinstance(obj, (list, tuple)):
        parts = [(f"{name}[{index}]", value) for index, value in enumerate(obj)]
    else:
        return name
    for part, value in parts:
        try:
            cloudpickle.dumps(value, protocol=5, buffer_callback=lambda _: False)
        except Exception:
            return _blame(value, part, depth - 1)
    return name
