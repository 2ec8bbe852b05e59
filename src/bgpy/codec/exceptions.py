"""One exception as a pickle and back, whatever its class makes of being pickled.

Python's own way calls the class with the exception's ``args`` and sets its attributes one by
one. That fails for a constructor that takes something else, for a frozen dataclass, which
lets nobody set anything, and loses what stands in ``__slots__``. So here

- a ``__reduce__`` that the class has itself is followed, if it works;
- else the class is called with the same arguments, if that gives the same ``args``;
- else the exception is made past its constructor, and attributes and slots are set past
  the class's ``__setattr__``.

Exceptions within (in an attribute, or among the arguments) go the same way.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable
from io import BytesIO
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


def pack(error: BaseException) -> Packed | None:
    """The pickle of an exception without its cause, context and traceback; None if it has none.

    Of a group it holds no members.
    """
    try:
        parts = _parts(error)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None
    theirs = _theirs(error)
    if theirs is not None and (packed := _dump((*parts, theirs))) is not None:
        return packed
    return _dump((*parts, None))


def unpack(packed: Packed, members: list[Exception] | None) -> Exception | None:
    """The exception of a pickle, a group with these members; None if it can't be rebuilt here."""
    head, code = packed
    try:
        parts: Any = decode(head, (), code, "exception")
        return _revive(members, *parts)
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None  # not here, or not as it was


def set_past(error: BaseException, name: str, value: Any) -> None:
    """Set an attribute that `BaseException` has, also where the class of `error` allows none."""
    BaseException.__dict__[name].__set__(error, value)


Parts = tuple[str, str, str | None, Any, Any, dict[str, Any], dict[str, Any]]
"""Module and name of the class, its id where it has come or gone by value, what its constructor
may be given, ``args``, attributes, slots."""


def _parts(error: BaseException) -> Parts:
    kind = type(error)
    args: Any = _ARGS.__get__(error)
    given: Any = args
    if isinstance(error, BaseExceptionGroup):
        # Its members come beside it.
        args = given = (error.message,)
    else:
        # Of the system's errors it tells more than `args`: the file's name above all.
        reduced = BaseException.__reduce_ex__(error, 5) if not _has_own_way(kind) else None
        if isinstance(reduced, tuple) and reduced[0] is kind:
            given = reduced[1]
    slots = {}
    for name in _slots(kind):
        try:
            slots[name] = object.__getattribute__(error, name)
        except AttributeError as failure:
            if is_strike_amid(failure):
                raise
    state = dict(BaseException.__getattribute__(error, "__dict__"))
    return kind.__module__, kind.__qualname__, tracked(kind), given, args, state, slots


def _theirs(error: BaseException) -> Any:
    """What the class's own way to be pickled gives; None where it has none, or that fails."""
    if isinstance(error, BaseExceptionGroup) or not _has_own_way(type(error)):
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


def _revive(
    members: list[Exception] | None,
    module: str,
    qualname: str,
    number: str | None,
    given: Any,
    args: Any,
    state: dict[str, Any],
    slots: dict[str, Any],
    theirs: Any,
) -> Exception | None:
    """Make the exception that these parts tell of; None if its class is none.

    Pickles call this by its name.
    """
    kind = _class(module, qualname, number)
    error: Exception
    if not issubclass(kind, Exception if members is None else BaseExceptionGroup):
        return None
    if members is not None:
        error = _group(kind, args[0], members)
    else:
        made = None if theirs is None else _make_their_way(theirs)
        if made is not None and type(made) is not kind:
            return made  # their way gives another in its place
        error = _make(kind, given, args) if made is None else made
        if made is not None:
            state = {}
    error.__dict__.update(state)
    for name, value in slots.items():
        # Past a frozen class's own __setattr__, and private names as their class spells them.
        object.__setattr__(error, name, value)
    return error


def _class(module: str, qualname: str, number: str | None) -> Any:
    """The class of that name, which is what is caught here; else the one that went from here."""
    try:
        return find(module, qualname)
    except (ImportError, AttributeError) as failure:
        if is_strike_amid(failure):
            raise
        kind = None if number is None else of_tracked(number)
        if kind is None:
            raise
        return kind


def _group(kind: Any, message: str, members: list[Exception]) -> Any:
    if not issubclass(kind, Exception):
        kind = ExceptionGroup  # the members that end programs came as words
    group = BaseExceptionGroup.__new__(kind, message, members)
    _ARGS.__set__(group, (message, members))
    return group


def _make_their_way(theirs: Any) -> Exception | None:
    try:
        make, given, *state = theirs
        error = make(*given)
        if state and state[0] is not None:
            if _sets_state(type(error)):
                error.__setstate__(state[0])
            else:
                attributes = state[0][0] if isinstance(state[0], tuple) else state[0]
                error.__dict__.update(attributes or {})
    except Exception as failure:
        if is_strike_amid(failure):
            raise
        return None
    return error if isinstance(error, Exception) else None


def _sets_state(kind: type) -> bool:
    return any("__setstate__" in vars(each) for each in kind.__mro__ if each is not BaseException)


def _make(kind: type[Exception], given: Any, args: Any) -> Exception:
    try:
        error = kind(*given)
        if type(error) is kind and error.args == args:
            return error
    except Exception as failure:
        if is_strike_amid(failure):
            raise
    # The constructor takes something else than it hands to its base: only the base,
    # which is Python's own, makes it then.
    base: Any = next(each for each in kind.__mro__ if each.__module__ == "builtins")
    try:
        error = kind.__new__(kind, *given)
    except Exception as failure:
        if is_strike_amid(failure) or "__new__" not in vars(kind):
            raise
        error = base.__new__(kind, *given)
    base.__init__(error, *given)
    _ARGS.__set__(error, args)
    return error


def _slots(kind: type) -> list[str]:
    names: list[str] = copyreg._slotnames(kind)  # type: ignore[attr-defined]
    return names


def _reduced(error: BaseException) -> Any:
    """How an exception within another one is pickled."""
    if not isinstance(error, Exception) or isinstance(error, BaseExceptionGroup):
        return NotImplemented
    return _revive, (None, *_parts(error), _theirs(error))


class _Plain(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        return _reduced(obj) if isinstance(obj, BaseException) else NotImplemented


@once
def _carrying() -> type[pickle.Pickler]:
    base: Any = by_value.pickler()

    class Carrying(base):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            reduced = _reduced(obj) if isinstance(obj, BaseException) else NotImplemented
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    return Carrying


def _dump(parts: tuple[Any, ...]) -> Packed | None:
    packed = _dumped(_Plain, parts)
    if packed is not None and not names_script(packed):
        return packed, False
    carried = _dumped(_carrying(), parts)
    if carried is None or carried == packed:
        return None if packed is None else (packed, False)
    return marked(carried), True


def _dumped(pickler: Callable[..., pickle.Pickler], parts: tuple[Any, ...]) -> bytes | None:
    file = BytesIO()
    try:
        pickler(file, protocol=5).dump(parts)
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return None
    return file.getvalue()
