"""An exception that brings its text along, since its class can't make it any more.

A class of the user's may make the text from what was left behind: a response, say. Such an
exception becomes one of a subclass, `Worded`, which is caught as its class, and gives the text
that it had. It keeps text and class on all ways that it may go on: to the next caller, through
Python's own pickle (to a process pool) and `copy`.

Each class has one such subclass, however many exceptions come. Neither the class's own
``__init_subclass__`` nor its metaclass is told of it: those may keep registers, or refuse.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from bgpy.codec.class_numbers import tracked
from bgpy.codec.revival import (
    ARGS,
    base_of,
    begin_blank,
    begin_group,
    finish_anew,
    finish_blank,
    places,
)
from bgpy.system.strikes import is_strike_amid

BROUGHT = "__bgpy_text__"
"""The attribute that has the text."""

MOST_SUBCLASSES = 256
"""Subclasses that are kept for the next exception, though none of theirs is left."""

_kept: deque[type] = deque(maxlen=MOST_SUBCLASSES)


class Worded:
    """Comes before a class, and says what its exceptions said where they were raised."""

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        """Tell no class of the user's: it has made none."""

    def __str__(self) -> str:
        text = BaseException.__getattribute__(self, "__dict__").get(BROUGHT)
        return super().__str__() if text is None else text

    def __reduce_ex__(self, protocol: Any) -> Any:
        error: Any = self
        group = isinstance(error, BaseExceptionGroup)
        grouped = (error.message, list(error.exceptions)) if group else ()
        attributes, held = state_of(error)
        state = str(error), None if group else ARGS.__get__(error), attributes, held
        return begin_worded, (*name_of(error), *grouped), state

    def __setstate__(self, state: Any) -> None:
        error: Any = self
        text, args, attributes, held = state
        _finish(error, args, attributes, held)
        BaseException.__getattribute__(error, "__dict__")[BROUGHT] = text


def begin_worded(*named: Any) -> Any:
    """As `begin_blank`, or `begin_group`; Python's own pickle and `copy` come here."""
    error: Any = begin_blank(*named) if len(named) == 3 else begin_group(*named)
    _wear(error)
    return error


def finish_partly(error: BaseException, state: Any) -> None:
    """As `finish_anew`, and `finish_blank` where there are ``args``; with the same text as before.

    Python's own classes make theirs from arguments, of which the stand-ins have the texts.
    """
    text, args, attributes, held = state
    _finish(error, args, attributes, held)
    if text is not None:
        keep_text(error, text)


def _finish(error: BaseException, args: Any, attributes: Any, held: Any) -> None:
    if args is None:
        finish_anew(error, (attributes, held))
    else:
        finish_blank(error, (args, attributes, held))


def keep_text(error: BaseException, text: str, is_cut: bool = False) -> None:
    """Have `error` say `text`, where it is of a class of the user's that says something else.

    Where `text` may be cut off, a class that says more is right.
    """
    if base_of(type(error)) is type(error):
        return
    says = text_of(error)
    if says is None or (not says.startswith(text) if is_cut else says != text):
        BaseException.__getattribute__(error, "__dict__")[BROUGHT] = text
        _wear(error)


def text_of(error: BaseException) -> str | None:
    """What `error` says; None if its class can't make that."""
    try:
        return str(error)
    except BaseException as failure:  # the user's code, which may raise anything
        if isinstance(failure, Exception) and is_strike_amid(failure):
            raise
        return None


def _wear(error: BaseException) -> None:
    if not is_worded(error):
        object.__setattr__(error, "__class__", _subclass(type(error)))


def _subclass(kind: Any) -> type:
    for known in type.__subclasses__(kind):
        if known.__bases__[0] is Worded:
            return known
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    # Not by calling the metaclass, which may be the user's.
    made: type = type.__new__(type(kind), kind.__name__, (Worded, kind), {"__slots__": (), **names})
    _kept.append(made)
    return made


def is_worded(error: BaseException) -> bool:
    """Whether `error` brings its text along."""
    return Worded in type(error).__mro__


def name_of(error: BaseException) -> tuple[str, str, str | None]:
    """Module and name of the class, and its id where it has come or gone by value."""
    kind: Any = type(error)
    if is_worded(error):
        kind = kind.__mro__[kind.__mro__.index(Worded) + 1]
    return kind.__module__, kind.__qualname__, tracked(kind)


def state_of(error: BaseException) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
    """The attributes of an exception, and what it holds elsewhere, by class and name.

    Without a text that it brings along: `str` gives that.
    """
    attributes = dict(BaseException.__getattribute__(error, "__dict__"))
    attributes.pop(BROUGHT, None)
    held = {}
    for key, place in places(type(error)):
        try:
            held[key] = place.__get__(error)
        except AttributeError as failure:  # nothing is in it
            if is_strike_amid(failure):
                raise
    return attributes, held
