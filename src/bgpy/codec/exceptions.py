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
from typing import Any

from bgpy.codec import absent, by_value
from bgpy.codec.by_value import tracked
from bgpy.codec.left_behind import Parts, Sorting, noted
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
    finish_partly,
    finish_their_way,
    places,
)
from bgpy.errors import DecodeError
from bgpy.late import once
from bgpy.system.strikes import is_strike_amid

Packed = tuple[bytes, bool]
"""A pickle, and whether it holds bytecode."""

_OWN_WAYS = ("__reduce_ex__", "__reduce__")


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


def pack(error: BaseException, room: Room | None = None) -> Packed | None:
    """The pickle of an exception without its cause, context and traceback; None if it has none.

    Of a group it holds no members. What can't be pickled of an exception is left out, and named in
    a note. Raises `NoRoom`.
    """
    return _pack(lambda way: way.content(error), room)


def pack_all(errors: Sequence[BaseException], room: Room) -> Packed | None:
    """One pickle of several exceptions, for `unpack_all`: what they share is in it once.

    None if one of them has none. Raises `NoRoom`.
    """
    return _pack(lambda way: [way.content(error) for error in errors], room)


def unpack(packed: Packed, members: list[Exception] | None) -> Exception | None:
    """The exception of a pickle, a group with these members; None if it can't be rebuilt here."""
    content = _unpack(packed)
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
        finish_anew(group, state)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None  # not here, or not as it was
    return group


def set_past(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute that `BaseException` has, also where the class of `error` allows none."""
    BaseException.__dict__[name].__set__(error, value)


def _unpack(packed: Packed) -> Any:
    head, code = packed
    try:
        return decode(head, (), code, "exception")
    except DecodeError as failure:
        if not isinstance(failure.__cause__, (ImportError, AttributeError)):
            return None  # not as it was
        return _unpack_partly(unmarked(head) if code else head)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None


def _unpack_partly(head: bytes | memoryview) -> Any:
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
    return content


# The way out


def _name(error: BaseException) -> tuple[str, str, str | None]:
    """Module and name of the class, and its id where it has come or gone by value."""
    kind = type(error)
    return kind.__module__, kind.__qualname__, tracked(kind)


def _state(error: BaseException) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """The attributes of an exception, and what it holds elsewhere, by class and name."""
    attributes = dict(BaseException.__getattribute__(error, "__dict__"))
    held = {}
    for key, place in places(type(error)):
        try:
            held[key] = place.__get__(error)
        except AttributeError as failure:  # nothing is in it
            if is_strike_amid(failure):
                raise
    return attributes, held


def _theirs(error: BaseException) -> tuple[Any, ...] | None:
    """What the class's own way to be pickled gives; None where it has none, or that fails."""
    if not _has_own_way(type(error)):
        return None
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
        return (*_name(error), error.message), (noted(parts), parts.held)

    def reduced(self, error: BaseException) -> Any:
        """The parts of `error`, as ``reducer_override`` gives them."""
        if isinstance(error, BaseExceptionGroup):
            parts = self._parts(error, ())
            group = (*_name(error), error.message, list(error.exceptions))
            return begin_group, group, (noted(parts), parts.held), None, None, finish_anew
        if not isinstance(error, Exception):
            return NotImplemented
        # Of the system's errors the arguments tell more than `args`: the file's name above all.
        parts = self._parts(error, base_of(type(error)).__reduce__(error)[1])
        theirs = None if self._past else self._theirs(error)
        if theirs is not None:
            return _their_way(error, theirs, parts)
        state = noted(parts), parts.held
        partly = (_text(error), parts.args if self._past else None, *state) if parts.left else None
        if self._past:
            begin: tuple[Any, ...] = begin_blank, _name(error)
            finish: tuple[Any, Any] = finish_blank, (parts.args, *state)
        else:
            begin = begin_anew, (*_name(error), parts.given, parts.args)
            finish = finish_anew, state
        set_state, settled = finish if partly is None else (finish_partly, partly)
        return (*begin, settled, None, None, set_state)

    def _parts(self, error: BaseException, given: tuple[Any, ...]) -> Parts:
        parts = Parts(given, ARGS.__get__(error), *_state(error))
        return parts if self._sorting is None else self._sorting.of(error, parts)

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
    begun = (way, theirs[:2], *_name(error), parts.given, parts.args)
    state = (way, theirs[2:], parts.attributes, parts.held)
    return begin_their_way, begun, state, None, None, finish_their_way


def _text(error: BaseException) -> str | None:
    try:
        return str(error)
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return None


class _File:
    """What a pickler writes to."""

    def __init__(self, room: Room | None) -> None:
        self.pieces: list[bytes] = []
        self._room = room

    def write(self, piece: Any) -> int:
        size = memoryview(piece).nbytes  # an array's own memory comes as a `PickleBuffer`
        if self._room is not None:
            self._room.take(size)
        self.pieces.append(bytes(piece))
        return size


class _Plain(pickle.Pickler):
    def __init__(self, file: _File, reducing: _Reducing) -> None:
        super().__init__(file, protocol=5)
        self._reduced = reducing.reduced

    def reducer_override(self, obj: Any) -> Any:
        return self._reduced(obj) if isinstance(obj, BaseException) else NotImplemented


@once
def _carrying() -> Callable[[_File, _Reducing], pickle.Pickler]:
    base: Any = by_value.pickler()

    class Carrying(base):  # type: ignore[misc]
        def __init__(self, file: _File, reducing: _Reducing) -> None:
            super().__init__(file, protocol=5)
            self._reduced = reducing.reduced

        def reducer_override(self, obj: Any) -> Any:
            own = isinstance(obj, BaseException)
            reduced = self._reduced(obj) if own else NotImplemented
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    return Carrying


def _pack(content: Callable[[_Reducing], Any], room: Room | None) -> Packed | None:
    """The pickle of what `content` gives, in the first way that works."""
    for reducing in _ways(room):
        packed = _dump(content(reducing), reducing, room)
        if packed is not None:
            return packed
    return None


def _ways(room: Room | None) -> Iterator[_Reducing]:
    yield _Reducing(False, None)
    yield _Reducing(True, None)

    def travels(value: Any) -> bool:
        plain = _dumped(_Plain, value, sorted_, room) is not None
        return plain or _dumped(_carrying(), value, sorted_, room) is not None

    sorting = Sorting(travels)
    sorted_ = _Reducing(False, sorting)
    yield sorted_
    yield _Reducing(True, sorting)


def _dump(content: Any, reducing: _Reducing, room: Room | None) -> Packed | None:
    packed = _dumped(_Plain, content, reducing, room)
    if packed is not None and not names_script(packed):
        return packed, False
    carried = _dumped(_carrying(), content, reducing, room)
    if carried is None or carried == packed:
        return None if packed is None else (packed, False)
    return marked(carried), True


def _dumped(
    pickler: Callable[[_File, _Reducing], pickle.Pickler],
    content: Any,
    reducing: _Reducing,
    room: Room | None,
) -> bytes | None:
    file = _File(room)
    try:
        pickler(file, reducing).dump(content)
    except NoRoom:
        raise
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return None
    return b"".join(file.pieces)
