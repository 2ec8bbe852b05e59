"""One exception as a pickle and back, whatever its class makes of being pickled.

Python's own way calls the class with the exception's ``args`` and sets its attributes one by
one. That fails for a constructor that takes something else, for a frozen dataclass, which
lets nobody set anything, and loses what stands in ``__slots__`` or in a field of a class
written in C (``ImportError.name``). So here

- a ``__reduce__`` that the class has itself is followed, if it works;
- else the class is called with the same arguments, if that gives the same ``args``;
- else the exception is made past its constructor, and attributes, slots and fields are set past
  the class's ``__setattr__``.

Exceptions within (in an attribute, or among the arguments) go the same way. What an exception
holds is set when the pickler knows it already, so attributes may lead back to it; where its
arguments do, it is made past its constructor.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from bgpy.codec import by_value
from bgpy.codec.by_value import of_tracked, tracked
from bgpy.codec.payload import decode, marked, names_script
from bgpy.codec.renamed import find
from bgpy.late import once
from bgpy.system.strikes import is_strike_amid

Packed = tuple[bytes, bool]
"""A pickle, and whether it holds bytecode."""

_ARGS = BaseException.__dict__["args"]
_OWN_WAYS = ("__reduce_ex__", "__reduce__")

_LEFT_BEHIND = {("AttributeError", "obj")}
"""Fields that don't travel, as in Python's own pickles: this one is the object that lacks the
attribute, of any size, and often one that can't be pickled."""


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

    Of a group it holds no members. Raises `NoRoom`.
    """
    return _pack(_content(error), room)


def pack_all(errors: Sequence[BaseException], room: Room) -> Packed | None:
    """One pickle of several exceptions, for `unpack_all`: what they share is in it once.

    None if one of them has none. Raises `NoRoom`.
    """
    return _pack([_content(error) for error in errors], room)


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
        group: Exception = _begin_group(module, qualname, number, message, members)
        _finish(group, state)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None  # not here, or not as it was
    return group


def set_past(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute that `BaseException` has, also where the class of `error` allows none."""
    BaseException.__dict__[name].__set__(error, value)


# The way out


def _content(error: BaseException) -> Any:
    """What is pickled: the exception, or the parts of a group without its members."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    return (*_name(error), error.message), _state(error)


def _name(error: BaseException) -> tuple[str, str, str | None]:
    """Module and name of the class, and its id where it has come or gone by value."""
    kind = type(error)
    return kind.__module__, kind.__qualname__, tracked(kind)


def _state(error: BaseException) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """The attributes of an exception, and what it holds elsewhere, by class and name."""
    attributes = dict(BaseException.__getattribute__(error, "__dict__"))
    held = {}
    for key, place in _places(type(error)):
        try:
            held[key] = place.__get__(error)
        except AttributeError as failure:  # nothing is in it
            if is_strike_amid(failure):
                raise
    return attributes, held


def _places(kind: type) -> Iterator[tuple[tuple[str, str], Any]]:
    """The slots and the fields in C of an exception's class and its bases."""
    for each in kind.__mro__:
        if each in (object, BaseException, BaseExceptionGroup):
            continue  # what these hold travels by itself
        for name, place in vars(each).items():
            is_field = isinstance(place, GetSetDescriptorType) and each.__module__ == "builtins"
            if is_field or isinstance(place, MemberDescriptorType):
                key = each.__qualname__, name
                if key not in _LEFT_BEHIND:
                    yield key, place


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


def _base(kind: type[BaseException]) -> Any:
    """The class of Python's own that an exception's class is made from."""
    return next(each for each in kind.__mro__ if each.__module__ == "builtins")


def _reduced(error: BaseException, past: bool) -> Any:
    """How an exception is pickled; `past` says past its class's own ways.

    All that may lead back to it is in the state, which comes when the pickler knows the
    exception. ``way`` is in both parts: it tells the second what the first has done.
    """
    if isinstance(error, BaseExceptionGroup):
        group = (*_name(error), error.message, list(error.exceptions))
        return _begin_group, group, _state(error), None, None, _finish
    if not isinstance(error, Exception):
        return NotImplemented
    args = _ARGS.__get__(error)
    state = _state(error)
    if past:
        return _blank, _name(error), (args, *state), None, None, _finish_blank
    theirs = _theirs(error)
    if theirs is not None:
        way: list[bool] = []
        begun = (way, theirs[:2], *_name(error), args, args)
        return _begin_their_way, begun, (way, theirs[2:], *state), None, None, _finish_their_way
    # Of the system's errors the arguments tell more than `args`: the file's name above all.
    given = _base(type(error)).__reduce__(error)[1]
    return _begin, (*_name(error), given, args), state, None, None, _finish


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
    def __init__(self, file: _File, past: bool) -> None:
        super().__init__(file, protocol=5)
        self._past = past

    def reducer_override(self, obj: Any) -> Any:
        return _reduced(obj, self._past) if isinstance(obj, BaseException) else NotImplemented


@once
def _carrying() -> Callable[[_File, bool], pickle.Pickler]:
    base: Any = by_value.pickler()

    class Carrying(base):  # type: ignore[misc]
        def __init__(self, file: _File, past: bool) -> None:
            super().__init__(file, protocol=5)
            self._past = past

        def reducer_override(self, obj: Any) -> Any:
            own = isinstance(obj, BaseException)
            reduced = _reduced(obj, self._past) if own else NotImplemented
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    return Carrying


def _pack(content: Any, room: Room | None) -> Packed | None:
    packed = _dump(content, False, room)
    return _dump(content, True, room) if packed is None else packed


def _dump(content: Any, past: bool, room: Room | None) -> Packed | None:
    packed = _dumped(_Plain, content, past, room)
    if packed is not None and not names_script(packed):
        return packed, False
    carried = _dumped(_carrying(), content, past, room)
    if carried is None or carried == packed:
        return None if packed is None else (packed, False)
    return marked(carried), True


def _dumped(
    pickler: Callable[[_File, bool], pickle.Pickler], content: Any, past: bool, room: Room | None
) -> bytes | None:
    file = _File(room)
    try:
        pickler(file, past).dump(content)
    except NoRoom:
        raise
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return None
    return b"".join(file.pieces)


# The way in: pickles call these by their names


def _unpack(packed: Packed) -> Any:
    head, code = packed
    try:
        return decode(head, (), code, "exception")
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None  # not here, or not as it was


def _begin(module: str, qualname: str, number: str | None, given: Any, args: Any) -> Exception:
    """An exception of that class, made by its constructor if that gives these `args`."""
    kind = _class(module, qualname, number)
    try:
        error: Exception = kind(*given)
        if type(error) is kind and error.args == args:
            return error
    except Exception as failure:
        if is_strike_amid(failure):
            raise
    # The constructor takes something else than it hands to its base.
    error = _new(kind, given)
    _base(kind).__init__(error, *given)
    _ARGS.__set__(error, args)
    return error


def _new(kind: Any, given: Any) -> Any:
    try:
        return kind.__new__(kind, *given)
    except Exception as failure:
        if is_strike_amid(failure) or "__new__" not in vars(kind):
            raise
    return _base(kind).__new__(kind, *given)


def _finish(error: BaseException, state: Any) -> None:
    """Set attributes, slots and fields: past a frozen class's own `__setattr__`."""
    attributes, held = state
    BaseException.__getattribute__(error, "__dict__").update(attributes)
    places = dict(_places(type(error)))
    for key, value in held.items():
        if key not in places:
            # Another version of the class, or of Python.
            object.__setattr__(error, key[1], value)
        elif value is not None or _is_filled(error, places[key]):
            _put(error, places[key], value)


def _is_filled(error: BaseException, place: Any) -> bool:
    """Whether a slot or field doesn't read as None; an empty slot doesn't."""
    try:
        return place.__get__(error) is not None
    except AttributeError as failure:
        if is_strike_amid(failure):
            raise
        return True


def _put(error: BaseException, place: Any, value: Any) -> None:
    try:
        place.__set__(error, value)
    except (AttributeError, TypeError) as failure:  # read-only: the constructor has set it
        if is_strike_amid(failure):
            raise


def _blank(module: str, qualname: str, number: str | None) -> Exception:
    """An exception of that class, made past its constructors."""
    kind = _class(module, qualname, number)
    error: Exception = _base(kind).__new__(kind)
    return error


def _finish_blank(error: BaseException, state: Any) -> None:
    args, attributes, held = state
    _ARGS.__set__(error, args)
    _finish(error, (attributes, held))


def _begin_their_way(
    way: list[bool],
    theirs: tuple[Any, Any],
    module: str,
    qualname: str,
    number: str | None,
    given: Any,
    args: Any,
) -> Exception:
    """What the class's own way gives, which may be another exception; else as `_begin`."""
    make, theirs_given = theirs
    try:
        error = make(*theirs_given)
        if isinstance(error, Exception):
            way.append(True)
            return error
    except Exception as failure:
        if is_strike_amid(failure):
            raise
    return _begin(module, qualname, number, given, args)


def _finish_their_way(error: BaseException, state: Any) -> None:
    way, theirs, attributes, held = state
    if not way or not _set_their_state(error, *theirs):
        _finish(error, (attributes, held))
    elif "__notes__" in attributes:  # which are added from outside: no class tells of them
        error.__dict__.setdefault("__notes__", attributes["__notes__"])


def _set_their_state(error: Any, state: Any = None) -> bool:
    try:
        if state is None:
            return True
        if _sets_state(type(error)):
            error.__setstate__(state)
        else:
            error.__dict__.update((state[0] if isinstance(state, tuple) else state) or {})
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return False
    return True


def _sets_state(kind: type) -> bool:
    return any("__setstate__" in vars(each) for each in kind.__mro__ if each is not BaseException)


def _begin_group(
    module: str, qualname: str, number: str | None, message: str, members: list[Exception]
) -> Any:
    """A group of these members, past its constructor."""
    kind = _class(module, qualname, number, BaseExceptionGroup)
    if not issubclass(kind, Exception) and all(isinstance(each, Exception) for each in members):
        kind = ExceptionGroup  # the members that end programs came as words
    group = BaseExceptionGroup.__new__(kind, message, members)
    _ARGS.__set__(group, (message, members))
    return group


def _class(
    module: str, qualname: str, number: str | None, base: type[BaseException] = Exception
) -> Any:
    """The class of that name, which is what is caught here; else the one that went from here."""
    try:
        kind: Any = find(module, qualname)
    except (ImportError, AttributeError) as failure:
        if is_strike_amid(failure):
            raise
        kind = None if number is None else of_tracked(number)
        if kind is None:
            raise
    if not issubclass(kind, base):
        raise TypeError(f"{module}.{qualname} is no {base.__name__} here")
    return kind
