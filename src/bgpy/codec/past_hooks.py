"""Classes made anew without the hooks that a script has for the making of its classes.

A metaclass's ``__new__`` and ``__init__``, and the ``__init_subclass__`` of a base, have run
where the class was defined, and what they did is in what travels: attributes of the class, and
the script's registers. To run them again would do it twice, and they can't be run as they were:
what they were given stands nowhere in the class. Those of libraries run as ever.

Pickles call `made` by its name, so that is part of what both sides agree on.
"""

from __future__ import annotations

import typing
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

from bgpy.codec.walk import SCRIPTS

_BASES: Any = type.__dict__["__bases__"]
_HOOK = "__init_subclass__"


def has_hooks(kind: Any) -> bool:
    """Whether a class can't be made anew as it was by what its class statement called."""
    return type(kind).__module__ in SCRIPTS or _loses_bases(kind) or _is_hooked(kind.__bases__)


def taken_apart(kind: Any, args: tuple[Any, ...], track: Any) -> tuple[Any, ...]:
    """What `made` takes; `args` are told by cloudpickle."""
    metaclass, name, _, names, number, *_ = args
    original = vars(kind).get("__orig_bases__")
    names = names if original is None else {**names, "__orig_bases__": original}
    return metaclass, name, kind.__bases__, names, number, track


def made(
    metaclass: Any,
    name: str,
    bases: tuple[Any, ...],
    names: dict[str, Any],
    number: str | None,
    track: Callable[[str | None, Any], Any],
) -> Any:
    """The class, or the one that is here by that number; cloudpickle's `track` knows."""
    make = next(each for each in metaclass.__mro__ if each.__module__ not in SCRIPTS)
    make = type if metaclass is _TYPED_DICT else make
    if _is_hooked(bases):
        return track(number, _past(make, metaclass, name, bases, names))
    return track(number, make.__new__(metaclass, name, bases, dict(names)))


def _past(make: Any, metaclass: Any, name: str, bases: tuple[Any, ...], names: Any) -> Any:
    """A class that no base has been told of; `make` has a metaclass's ``__new__``."""
    if not any(_HOOK in vars(each) for base in bases for each in base.__mro__[:-1]):
        return make.__new__(metaclass, name, bases, dict(names))
    kind = make.__new__(metaclass, name, (_shield(bases[0]), *bases), dict(names))
    _BASES.__set__(kind, bases)
    return kind


class _Example(typing.TypedDict):
    """One of its kind."""


_TYPED_DICT: Any = type(_Example)


def _loses_bases(kind: Any) -> bool:
    """Up to 3.11 nothing tells of what a `TypedDict` inherits, nor has it to."""
    return type(kind) is _TYPED_DICT and "__orig_bases__" not in vars(kind)


def _is_hooked(bases: tuple[Any, ...]) -> bool:
    """Whether a class with these bases is told to the script when it is made."""
    return any(
        each.__module__ in SCRIPTS and _HOOK in vars(each)
        for base in bases
        for each in base.__mro__
    )


def _shield(base: Any) -> Any:
    """What comes before the bases of a class while it is made, and does what `object` does.

    Python exchanges bases only for such as are alike: it is made from what the first of the
    bases is made from, and its objects have what theirs have beyond that.
    """
    under = base.__base__
    while under is not object and _layout(base) == _layout(under):
        base, under = under, under.__base__
    has = {"__dict__": base.__dictoffset__, "__weakref__": base.__weakrefoffset__}
    had = {"__dict__": under.__dictoffset__, "__weakref__": under.__weakrefoffset__}
    slots = tuple(each for each in has if has[each] and not had[each])
    names = {"__slots__": slots, _HOOK: classmethod(_nothing)}
    metaclass = ABCMeta if issubclass(type(under), ABCMeta) else type
    return _past(metaclass, type(under), "Shield", (under,), names)


def _layout(kind: Any) -> tuple[int, int, int]:
    return kind.__basicsize__, kind.__dictoffset__, kind.__weakrefoffset__


def _nothing(*_: Any) -> None:
    """Do what the hook of `object` does."""
