"""An exception made anew from the parts that its pickle holds, in two steps.

::

    begin_anew        the class is called, if that gives the same ``args``; else past it
    begin_their_way   what the class's own ``__reduce__`` names is called; else as above
    begin_blank       past the constructors, without ``args``
    begin_group       past the constructor, with the members
        │  the exception is known to the pickler now: its state may lead back to it
        ▼
    finish_anew, finish_their_way, finish_blank: attributes, slots and fields in C

An exception that has left something behind is finished by `bgpy.codec.worded`.

Pickles call these by their names, so those are part of what both sides agree on.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from bgpy.codec.class_numbers import of_number
from bgpy.codec.renamed import find
from bgpy.system.strikes import is_strike_amid

ARGS = BaseException.__dict__["args"]
"""Where the arguments of an exception are, whatever its class calls `args`."""

_LEFT_BEHIND = {("AttributeError", "obj")}
"""Fields that don't travel, as in Python's own pickles: this one is the object that lacks the
attribute, of any size, and often one that can't be pickled."""


_PLAIN = (bool, int, float, complex, str, bytes)


class StandIn:
    """In the place of an argument that couldn't travel; it has the same texts."""

    def __init__(self, represented: str, text: str) -> None:
        self._represented = represented
        self._text = text

    def __repr__(self) -> str:
        return self._represented

    def __str__(self) -> str:
        return self._text


def begin_anew(module: str, qualname: str, number: str | None, given: Any, args: Any) -> Exception:
    """An exception of that class, made by its constructor if that gives these `args`."""
    kind = _class(module, qualname, number)
    try:
        error: Exception = kind(*given)
        if type(error) is kind and _are_same(ARGS.__get__(error), args):
            return error
    except Exception as failure:
        if is_strike_amid(failure):
            raise
    # The constructor takes something else than it hands to its base.
    error = _new(kind, given)
    base_of(kind).__init__(error, *given)
    ARGS.__set__(error, args)
    return error


def _are_same(ones: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    """Whether two rows hold the same objects, or plain ones with the same values.

    A class's own ``__eq__`` isn't asked: it may say anything, or raise.
    """
    return len(ones) == len(others) and all(
        one is other or (type(one) is type(other) and _is_plain(one) and bool(one == other))
        for one, other in zip(ones, others, strict=True)
    )


def _is_plain(value: Any) -> bool:
    return any(type(value) is each for each in _PLAIN)


def _new(kind: Any, given: Any) -> Any:
    try:
        return kind.__new__(kind, *given)
    except Exception as failure:
        if is_strike_amid(failure) or "__new__" not in vars(kind):
            raise
    return base_of(kind).__new__(kind, *given)


def finish_anew(error: BaseException, state: Any) -> None:
    """Set attributes, slots and fields: past a frozen class's own `__setattr__`."""
    attributes, held = state
    BaseException.__getattribute__(error, "__dict__").update(attributes)
    known = dict(places(type(error)))
    for key, value in held.items():
        if key not in known:
            # Another version of the class, or of Python.
            object.__setattr__(error, key[1], value)
        elif value is not None or _is_filled(error, known[key]):
            _put(error, known[key], value)


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


def begin_blank(module: str, qualname: str, number: str | None) -> Exception:
    """An exception of that class, made past its constructors."""
    kind = _class(module, qualname, number)
    error: Exception = base_of(kind).__new__(kind)
    return error


def finish_blank(error: BaseException, state: Any) -> None:
    args, attributes, held = state
    ARGS.__set__(error, args)
    finish_anew(error, (attributes, held))


def begin_their_way(
    way: list[bool],
    theirs: tuple[Any, Any],
    module: str,
    qualname: str,
    number: str | None,
    given: Any,
    args: Any,
) -> Exception:
    """What the class's own way gives, which may be another exception; else as `begin_anew`."""
    make, theirs_given = theirs
    try:
        error = make(*theirs_given)
        if isinstance(error, Exception):
            way.append(True)
            return error
    except Exception as failure:
        if is_strike_amid(failure):
            raise
    return begin_anew(module, qualname, number, given, args)


def finish_their_way(error: BaseException, state: Any) -> None:
    way, theirs, attributes, held = state
    if not way or not _set_their_state(error, *theirs):
        finish_anew(error, (attributes, held))
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


def begin_group(
    module: str, qualname: str, number: str | None, message: str, members: list[Exception]
) -> Any:
    """A group of these members, past its constructor."""
    kind = _class(module, qualname, number, BaseExceptionGroup)
    if not issubclass(kind, Exception) and all(isinstance(each, Exception) for each in members):
        kind = ExceptionGroup  # the members that end programs came as words
    group = BaseExceptionGroup.__new__(kind, message, members)
    ARGS.__set__(group, (message, members))
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
        kind = None if number is None else of_number(number, qualname)
        if kind is None:
            raise
    if not issubclass(kind, base):
        raise TypeError(f"{module}.{qualname} is no {base.__name__} here")
    return kind


def places(kind: type) -> Iterator[tuple[tuple[str, str], Any]]:
    """The slots and the fields in C of an exception's class and its bases."""
    for each in kind.__mro__:
        if each is object or each is BaseException or each is BaseExceptionGroup:
            continue  # what these hold travels by itself
        for name, place in vars(each).items():
            is_field = isinstance(place, GetSetDescriptorType) and each.__module__ == "builtins"
            if is_field or isinstance(place, MemberDescriptorType):
                key = each.__qualname__, name
                if key not in _LEFT_BEHIND:
                    yield key, place


def base_of(kind: type[BaseException]) -> Any:
    """The class of Python's own that an exception's class is made from."""
    return next(each for each in kind.__mro__ if each.__module__ == "builtins")
