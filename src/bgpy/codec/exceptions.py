"""One exception as a pickle and back, whatever its class makes of being pickled.

Python's own way calls the class with the exception's ``args`` and sets its attributes one by
one. That fails for a constructor that takes something else, for a frozen dataclass, which
lets nobody set anything, and loses what stands in ``__slots__`` or in a field of a class
written in C (``ImportError.name``). So here

- a ``__reduce__`` that the class has itself is followed, if it works;
- else the class is called with the same arguments, if that gives the same ``args``;
- else the exception is made past its constructor, and attributes, slots and fields are set past
  the class's ``__setattr__``;
- and what can't be pickled of it stays behind (`bgpy.codec.left_behind`), or, if it can't be
  imported where it arrives, is replaced (`bgpy.codec.absent`).

The second half of that, which runs where the pickle is loaded, is `bgpy.codec.revival`.
Exceptions within (in an attribute, or among the arguments) go the same way. What an exception
holds is set when the pickler knows it already, so attributes may lead back to it; where its
arguments do, it is made past its constructor.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from bgpy.codec import absent, by_value
from bgpy.codec.left_behind import Parts, Sorting, noted
from bgpy.codec.patience import Nowhere, Patience, is_plain
from bgpy.codec.payload import decode, marked, names_script, unmarked
from bgpy.codec.revival import (
    ARGS,
    base_of,
    begin_anew,
    begin_blank,
    begin_group,
    begin_their_way,
    finish_anew,
    finish_blank,
    finish_their_way,
)
from bgpy.codec.worded import finish_partly, is_worded, keep_text, name_of, state_of, text_of
from bgpy.errors import DecodeError
from bgpy.late import once
from bgpy.system.strikes import is_strike_amid

Packed = tuple[bytes, bool]
"""A pickle, and whether it holds bytecode."""

_OWN_WAYS = ("__reduce_ex__", "__reduce__")

_SECOND_FILE = "OSError", "filename2"


class NoRoom(Exception):
    """A pickle would take more bytes than are left."""


class Room:
    """How many bytes pickles may still take; what came to nothing has taken its part, too."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> None:
        """Take that many bytes; raises `NoRoom` if there are fewer.

        An eighth of the room is gone then, so that a few large pickles leave some for small
        ones, and many of them come to an end.
        """
        if size > self.left:
            self.left -= -(-self.left // 8)
            raise NoRoom
        self.left -= size


def pack(
    error: BaseException, room: Room | None = None, patience: Patience | None = None
) -> Packed | None:
    """The pickle of an exception without its cause, context and traceback; None if it has none.

    Of a group it holds no members. What can't be pickled of an exception is left out, and named in
    a note; when `patience` is over, all that might not be pickled is. Raises `NoRoom`.
    """
    return _pack(lambda way: way.content(error), room, patience)


def pack_all(
    errors: Sequence[BaseException], room: Room, patience: Patience | None = None
) -> Packed | None:
    """One pickle of several exceptions, for `unpack_all`: what they share is in it once.

    None if one of them has none. Raises `NoRoom`.
    """
    return _pack(lambda way: [way.content(error) for error in errors], room, patience)


def unpack(
    packed: Packed, members: list[Exception] | None, text: str | None = None
) -> Exception | None:
    """The exception of a pickle, a group with these members; None if it can't be rebuilt here.

    `text` is what it said where it was pickled; its end may be missing.
    """
    content = _unpack(packed, text)
    return None if content is None else made_of(content, members)


def unpack_all(packed: Packed) -> list[Any]:
    """What `made_of` takes, one for each exception; empty if they can't be rebuilt here."""
    contents = _unpack(packed)
    return contents if isinstance(contents, list) else []


def made_of(content: Any, members: list[Exception] | None) -> Exception | None:
    """The exception that a pickle held, a group with these members; None if it is none."""
    if members is None:
        return content if isinstance(content, Exception) else None
    try:
        (module, qualname, number, message), state = content
        group: Exception = begin_group(module, qualname, number, message, members)
        finish_partly(group, state)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None  # not here, or not as it was
    return group


def set_past(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute that `BaseException` has, also where the class of `error` allows none."""
    BaseException.__dict__[name].__set__(error, value)


def _unpack(packed: Packed, text: str | None = None) -> Any:
    head, code = packed
    try:
        return decode(head, (), code, "exception")
    except DecodeError as failure:
        if not isinstance(failure.__cause__, (ImportError, AttributeError)):
            return None  # not as it was
        return _unpack_partly(unmarked(head) if code else head, text)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None


def _unpack_partly(head: bytes | memoryview, text: str | None) -> Any:
    """With stand-ins for what can't be imported here; None if the exception itself can't."""
    try:
        content, missing = absent.loads(head)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None
    if isinstance(content, Exception) and missing:
        attributes = BaseException.__getattribute__(content, "__dict__")
        told = f"can't be imported where this has arrived: {', '.join(missing)}"
        attributes["__notes__"] = [*attributes.get("__notes__", ()), told]
        if text is not None:
            keep_text(content, text, is_cut=True)
    return content


# The way out


def _without_code(error: BaseException, parts: Parts) -> Parts:
    """Leave out the None that Python puts for Windows' code before a second file's name.

    Windows would show it; that name is a field, too.
    """
    names_second = len(parts.given) == 5 and parts.held.get(_SECOND_FILE) is not None
    if isinstance(error, OSError) and names_second and not _shows_no_code(error):
        return parts._replace(given=parts.given[:3])
    return parts


def _shows_no_code(error: OSError) -> bool:
    """Whether its constructor was given None for Windows' code: Windows shows it then."""
    try:
        return OSError.__str__(error).startswith("[WinError None]")
    except Exception as failure:  # of the names, which can be anything
        if is_strike_amid(failure):
            raise
        return True


def _theirs(error: BaseException) -> tuple[Any, ...] | None:
    """What the class's own way to be pickled gives; None where it has none, or that fails."""
    if is_worded(error) or not _has_own_way(type(error)):
        return None  # that of one which brings its text is for Python's own pickle
    try:
        reduced = error.__reduce_ex__(5)
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return None
    whole = isinstance(reduced, tuple) and 2 <= len(reduced) <= 3
    return tuple(reduced) if whole else None


def _has_own_way(kind: type[BaseException]) -> bool:
    """Whether a class of the user's says itself how its exceptions are pickled."""
    return any(
        name in vars(each)
        for each in kind.__mro__
        if each.__module__ != "builtins"
        for name in _OWN_WAYS
    )


class _Reducing:
    """How exceptions are pickled: their classes' own ways or past those, whole or sorted.

    All that may lead back to an exception is in its state, which comes when the pickler knows the
    exception.
    """

    def __init__(self, past: bool, sorting: Sorting | None) -> None:
        self._past = past
        self._sorting = sorting

    def content(self, error: BaseException) -> Any:
        """What is pickled: the exception, or the parts of a group without its members."""
        if not isinstance(error, BaseExceptionGroup):
            return error
        parts = self._parts(error, ())
        return (*name_of(error), error.message), self._partly(error, parts)

    def reduced(self, error: BaseException) -> Any:
        """The parts of `error`, as ``reducer_override`` gives them."""
        if isinstance(error, BaseExceptionGroup):
            parts = self._parts(error, ())
            group = (*name_of(error), error.message, list(error.exceptions))
            return begin_group, group, self._partly(error, parts), None, None, finish_partly
        if not isinstance(error, Exception):
            return NotImplemented
        # Of the system's errors the arguments tell more than `args`: the file's name above all.
        parts = self._parts(error, base_of(type(error)).__reduce__(error)[1])
        theirs = None if self._past else self._theirs(error)
        if theirs is not None:
            return _their_way(error, theirs, parts)
        state = noted(parts), parts.held
        if self._past:
            begin: tuple[Any, ...] = begin_blank, name_of(error)
            finish: tuple[Any, Any] = finish_blank, (parts.args, *state)
        else:
            begin = begin_anew, (*name_of(error), parts.given, parts.args)
            finish = finish_anew, state
        partly = self._partly(error, parts)
        set_state, settled = finish if partly[0] is None else (finish_partly, partly)
        return (*begin, settled, None, None, set_state)

    def _partly(self, error: BaseException, parts: Parts) -> tuple[Any, ...]:
        """The state for `finish_partly`; its text is None where the class can make that there."""
        text = text_of(error) if is_worded(error) else parts.text
        past = self._past and not isinstance(error, BaseExceptionGroup)
        return text, parts.args if past else None, noted(parts), parts.held

    def _parts(self, error: BaseException, given: tuple[Any, ...]) -> Parts:
        parts = Parts(given, ARGS.__get__(error), *state_of(error))
        sorted_ = parts if self._sorting is None else self._sorting.of(error, parts)
        return _without_code(error, sorted_)

    def _theirs(self, error: BaseException) -> tuple[Any, ...] | None:
        theirs = _theirs(error)
        if theirs is None or self._sorting is None or self._sorting.travels(theirs):
            return theirs
        return None


def _their_way(error: BaseException, theirs: tuple[Any, ...], parts: Parts) -> Any:
    """How an exception is pickled that its class's own way gives anew.

    ``way`` is in both parts: it tells the second what the first has done. What was left behind is
    told by no note, since that way doesn't miss it.
    """
    way: list[bool] = []
    begun = (way, theirs[:2], *name_of(error), parts.given, parts.args)
    state = (way, theirs[2:], parts.attributes, parts.held)
    return begin_their_way, begun, state, None, None, finish_their_way


class _File:
    """What a pickler writes to."""

    def __init__(self, room: Room | None) -> None:
        self.pieces: list[bytes] = []
        self._room = room

    def write(self, piece: Any) -> int:
        size = memoryview(piece).nbytes  # an array's own memory comes as a `PickleBuffer`
        if self._room is not None:
            self._room.take(size)
        self.pieces.append(piece if type(piece) is bytes else bytes(piece))
        return size


_Sink = _File | Nowhere


class _Pickler(Protocol):
    holds_code: bool
    """Whether a code object is in the pickle."""

    def dump(self, obj: Any, /) -> None: ...


class _Plain(pickle.Pickler):
    holds_code = False

    def __init__(self, file: _Sink, reducing: _Reducing) -> None:
        super().__init__(file, protocol=5)
        self._reduced = reducing.reduced

    def reducer_override(self, obj: Any) -> Any:
        return self._reduced(obj) if isinstance(obj, BaseException) else NotImplemented


@once
def _carrying() -> Callable[[_Sink, _Reducing], _Pickler]:
    base: Any = by_value.pickler()

    class Carrying(base):  # type: ignore[misc]
        def __init__(self, file: _Sink, reducing: _Reducing) -> None:
            super().__init__(file, protocol=5)
            self._reduced = reducing.reduced

        def reducer_override(self, obj: Any) -> Any:
            own = isinstance(obj, BaseException)
            reduced = self._reduced(obj) if own else NotImplemented
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    return Carrying


def _pack(
    content: Callable[[_Reducing], Any], room: Room | None, patience: Patience | None
) -> Packed | None:
    """The pickle of what `content` gives, in the first way that works."""
    for reducing in _ways(patience or Patience()):
        packed = _dump(content(reducing), reducing, room)
        if packed is not None:
            return packed
    return None


def _ways(patience: Patience) -> Iterator[_Reducing]:
    yield _Reducing(False, None)
    yield _Reducing(True, None)

    def travels(value: Any) -> bool:
        """Whether it can be pickled; what isn't found out in time can't."""
        nowhere = Nowhere(patience)
        return is_plain(value) or any(
            not patience.is_over() and _writes(make(nowhere, sorted_), value)
            for make in (_Plain, _carrying())
        )

    sorting = Sorting(travels)
    sorted_ = _Reducing(False, sorting)
    yield sorted_
    yield _Reducing(True, sorting)


def _dump(content: Any, reducing: _Reducing, room: Room | None) -> Packed | None:
    packed = _dumped(_Plain, content, reducing, room)
    if packed is not None and not names_script(packed[0]):
        return packed
    carried = _dumped(_carrying(), content, reducing, room)
    if carried is None or carried[0] == (packed and packed[0]):
        return packed
    head, code = carried
    return marked(head) if code else head, code


def _dumped(
    make: Callable[[_Sink, _Reducing], _Pickler],
    content: Any,
    reducing: _Reducing,
    room: Room | None,
) -> Packed | None:
    """Its pickle, not `marked` yet; None where there is none."""
    file = _File(room)
    pickler = make(file, reducing)
    return (b"".join(file.pieces), pickler.holds_code) if _writes(pickler, content) else None


def _writes(pickler: _Pickler, content: Any) -> bool:
    try:
        pickler.dump(content)
    except NoRoom:
        raise
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return False
    return True
