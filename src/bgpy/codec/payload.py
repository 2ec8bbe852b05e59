"""One object to a payload and back.

Plain pickle is tried first: it is fast, and what it names by reference is the same
class on both sides. cloudpickle takes over where plain pickle fails (lambdas,
closures, classes made in a function) or names `__main__`, which is another module
over there. Where what cloudpickle makes holds bytecode, its head starts with the
Python version, two bytes, which is compared before anything is loaded.
"""

from __future__ import annotations

import pickle
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from bgpy.codec import by_value, renamed
from bgpy.codec.blame import blame
from bgpy.errors import Advice, BgpyError, DecodeError, EncodeError, PythonMismatch
from bgpy.memory import Encoded, Head, HeadParts, Payload
from bgpy.system import reserve
from bgpy.system.strikes import is_strike, is_strike_amid

PICKLE = 1
"""The number of this codec on the wire."""

OUT_OF_BAND = 2**16
"""From this size on, in bytes, a buffer travels beside the pickle instead of inside it."""

MOST_OF_PICKLE = 2**18
"""Bytes: what a pickler hands out in one piece is larger only if it is an object's own memory.

Its frames end at 64 KiB and what it is at then (PEP 3154); larger data goes by itself.
"""

KEPT_PICKLER = 2**12
"""Bytes: a pickler that made more is not used again, since its memo keeps the size it had."""

loads = pickle.loads  # bound once: it is on the way of every call, and `rebuild` where it fails

KeepIn = Callable[[pickle.PickleBuffer], bool]
"""Whether a buffer travels inside the pickle."""

GLOBAL = 0x93
"""The byte in each pickle that names a function or class."""

_SCRIPT = b"main__"
"""Is in the pickle of what belongs to a script: its module is called ``__main__``, and
``__mp_main__`` in the processes that `multiprocessing` starts with it."""

_PYTHON = bytes(sys.version_info[:2])

_SAME = "use the same Python on both sides, or put the"
_IN_A_MODULE = f"{_SAME} classes and functions in it into a module that both sides can import"
_IN_A_FILE = f"{_SAME} three functions in a file and start the server with it"
_INSTEAD = {"tasks": Advice(f"{_IN_A_FILE} (init_file=)", f"{_IN_A_FILE} (--init-file)")}
"""What helps against bytecode of another Python, by what holds it; else `_IN_A_MODULE`."""


class _Pieces(list[Any]):
    """What a pickler writes: large `bytes` arrive here as the objects that they are."""

    __slots__ = ()
    write = list.append


class _OnePiece(deque[Any]):
    """The same, where one piece comes mostly and is taken out at once.

    A deque keeps its memory then. A list gives it back, and gets it anew each time.
    """

    write = deque.append


Dump = Callable[[Any], object]
Forget = Callable[[], object]
_Pickling = tuple[Dump, Forget, _OnePiece, list[memoryview]]
"""A pickler, used again since making one takes longer than a small object does: what dumps,
what empties the memo, the pieces and the buffers that came out."""

_idle: deque[_Pickling] = deque()
_take, _keep = _idle.pop, _idle.append  # bound once: they are on the way of every call


def _pickling(pickler: Callable[..., pickle.Pickler]) -> _Pickling:
    pieces = _OnePiece()
    buffers: list[memoryview] = []
    made = pickler(pieces, protocol=5, buffer_callback=_keeper(buffers))
    return made.dump, made.clear_memo, pieces, buffers


def encode(obj: Any, what: str) -> Payload:
    """Pickle `obj`; `what` is its name in errors (``args``, ``response``).

    Raises `EncodeError` naming the part that can't be pickled.
    """
    packed = pack(obj, what)
    return (packed, (), False) if isinstance(packed, bytes) else packed


def pack(obj: Any, what: str) -> Encoded:
    """As `encode`, for whoever has a short road for small plain pickles."""
    try:
        pickling = _take()
    except IndexError as error:
        if is_strike(error):
            raise
        pickling = _pickling(pickle.Pickler)
    dump, forget, pieces, buffers = pickling
    try:
        dump(obj)
    except Exception as error:
        return _encode_otherwise(error, obj, what)
    forget()
    head: bytes = pieces.pop()
    if pieces or buffers or len(head) >= KEPT_PICKLER:
        return _encode_large(obj, what, [*pieces, head], buffers)
    _keep(pickling)
    if GLOBAL not in head:
        return head  # nor does it belong to a script, whose name alone is data
    return _encode_by_value(obj, what, [head]) if _SCRIPT in head else (head, (), False)


def _encode_otherwise(error: Exception, obj: Any, what: str) -> Payload:
    """Pickle what plain pickle has failed at with `error`."""
    more = isinstance(error, MemoryError) and reserve.give_back()  # first: the rest needs some
    if is_strike_amid(error):
        raise error
    if more:
        return encode(obj, what)
    return _encode_by_value(obj, what, None)  # its error is the one to show


def _encode_large(obj: Any, what: str, pieces: list[Any], buffers: list[memoryview]) -> Payload:
    if any(len(piece) < MOST_OF_PICKLE and _SCRIPT in piece for piece in pieces):
        return _encode_by_value(obj, what, pieces)
    return _head_of(pieces), buffers, False


def decode(head: Head | HeadParts, buffers: Sequence[memoryview], code: bool, what: str) -> Any:
    """Rebuild an object; `what` is its name in errors.

    Raises `PythonMismatch` for bytecode of another Python version, before any of it is
    loaded, and `DecodeError` naming what is missing here.
    """
    if isinstance(head, tuple):
        head = joined(head)
    if code:
        head = _without_version(head, what)
    try:
        return loads(head, buffers=buffers) if buffers else loads(head)
    except Exception as error:
        return rebuild(error, head, buffers, what)


def rebuild(
    error: Exception, head: bytes | memoryview, buffers: Sequence[memoryview], what: str
) -> Any:
    """Rebuild by other names, or in more memory, what `loads` has failed at with `error`.

    Raises what `decode` raises.
    """
    more = isinstance(error, MemoryError) and reserve.give_back()  # first: the rest needs some
    if isinstance(error, BgpyError) or is_strike_amid(error):
        raise error
    if more:
        return decode(head, buffers, False, what)
    if isinstance(error, (ImportError, AttributeError)) and renamed.names_any(head):
        try:
            return renamed.loads(head, buffers)
        except Exception as another:
            if isinstance(another, BgpyError) or is_strike_amid(another):
                raise
            error = another
    problem = f"{what} can't be rebuilt here: {_reason(error)}"
    raise DecodeError(problem, advice=_advice(error)) from error


def within(payload: Payload, most: int) -> Payload:
    """Give a payload that rebuilds the same and has at most `most` buffers.

    The largest stay beside the pickle, the surplus travels inside another one around it.
    The object isn't pickled again and no buffer is copied: the head comes in parts. For
    the connection, which knows how many buffers the other side takes.
    """
    head, buffers, code = payload
    if len(buffers) <= most:
        return payload
    parts = head if isinstance(head, tuple) else (head,)
    if code:
        parts = (parts[0][len(_PYTHON) :], *parts[1:])
    views = [pickle.PickleBuffer(each) for each in buffers]
    by_size = sorted(range(len(views)), key=lambda at: len(buffers[at]))
    beside = {id(views[at]) for at in by_size[len(views) - most :]}
    pieces = _Pieces()
    pickler = pickle.Pickler(pieces, 5, buffer_callback=lambda view: id(view) not in beside)
    pickler.dump(_Nested(parts, views))
    if code:
        pieces[0] = _PYTHON + pieces[0]
    kept = [each for each, view in zip(buffers, views, strict=True) if id(view) in beside]
    return _head_of(pieces), kept, code


class _Nested:
    """A pickle and its buffers, which is rebuilt as the object that the pickle holds."""

    def __init__(self, parts: HeadParts, buffers: list[pickle.PickleBuffer]) -> None:
        # A pickler takes no memoryview, but what is large goes through it uncopied.
        self._parts = [
            each if isinstance(each, bytes) else pickle.PickleBuffer(each) for each in parts
        ]
        self._buffers = buffers

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _unnested, (self._parts, self._buffers)


def _unnested(parts: list[Any], buffers: list[Any]) -> Any:
    """The object in the pickle `parts`: other sides' pickles call this by its name."""
    head = b"".join(parts) if len(parts) > 1 else parts[0]
    try:
        return pickle.loads(head, buffers=buffers)
    except (ImportError, AttributeError) as error:
        if is_strike_amid(error) or not renamed.names_any(head):
            raise
        return renamed.loads(head, buffers)


def names_script(head: bytes) -> bool:
    """Whether a pickle may name something of a script, which the other side can't import."""
    return _SCRIPT in head


def marked(head: bytes) -> bytes:
    """`head`, a pickle with bytecode in it, as `decode` takes it: with its Python version."""
    return _PYTHON + head


def unmarked(head: bytes) -> memoryview:
    """The pickle that `marked` has marked; the version of this Python's has been compared."""
    return memoryview(head)[len(_PYTHON) :]


def joined(head: Head | HeadParts) -> bytes:
    """A copy of `head` in one piece."""
    return b"".join(head) if isinstance(head, tuple) else bytes(head)


def _head_of(pieces: list[Any]) -> Head | HeadParts:
    if len(pieces) == 1:
        return bytes(pieces[0])
    # A view says that the memory is the user's, who may change it once a call is over.
    return tuple(each if isinstance(each, bytes) else memoryview(each) for each in pieces)


def encode_tasks(obj: Any, what: str) -> Payload:
    """As `encode`, of what the server's tasks are made of: its script is `__main__` over there."""
    head, buffers, code = encode(obj, what)
    return _encode_by_value(obj, what, None, True) if code else (head, buffers, code)


def _encode_by_value(obj: Any, what: str, plain: list[Any] | None, tasks: bool = False) -> Payload:
    """Pickle what has no module to go by; `plain` is what came out without it, if anything did."""
    pieces = _Pieces()
    buffers: list[memoryview] = []
    pickler = by_value.pickler()(pieces, protocol=5, buffer_callback=_keeper(buffers), tasks=tasks)
    try:
        pickler.dump(obj)
    except Exception as error:
        if is_strike_amid(error):
            raise
        way, advice = blame(obj, what)
        raise EncodeError(f"{way} can't be sent: {_reason(error)}", advice=advice) from error
    if pieces == plain or not pickler.holds_code:
        # The script's name was only among the data, or what it names has no code.
        return _head_of(pieces), buffers, False
    return _head_of([_PYTHON + pieces[0], *pieces[1:]]), buffers, True


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


def _without_version(head: bytes | memoryview, what: str) -> memoryview:
    there, here = tuple(head[:2]), sys.version_info[:2]
    if there != here:
        raise PythonMismatch(
            f"{what} holds bytecode of Python {'.'.join(map(str, there))}, and this is Python "
            f"{here[0]}.{here[1]}",
            advice=_INSTEAD.get(what, _IN_A_MODULE),
        )
    return memoryview(head)[2:]


def _advice(error: BaseException) -> str | None:
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    return (
        f"make {error.name!r} importable on this side too: install it, or put the folder that it "
        "lies in on sys.path"
    )


def _reason(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, KeyboardInterrupt) or is_strike_amid(failure):
            raise
        return type(error).__name__
    return text if isinstance(error, pickle.PickleError) else f"{type(error).__name__}: {text}"
