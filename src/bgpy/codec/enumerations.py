"""Enumerations of a script, made anew with the same members.

::

    taken_apart ─► made: the class with its members, past the user's ``__new__`` and ``__init__``
                         (they are functions of the class, which come when it is there)
                    └─► cloudpickle's state: methods and what else the class holds

cloudpickle makes members from their values alone. So those lose what ``__init__`` or ``__new__``
has given them, there are no aliases and no flags of several bits, and a class that is a date as
well can't be made.

Pickles call `made` by its name, so that is part of what both sides agree on.
"""

from __future__ import annotations

import copyreg
import enum
from collections.abc import Callable
from typing import Any

from bgpy.codec.held import held_by

Members = dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]]
"""By name, in their order: the value, what the other base of the class (`int`, say) is made from,
and the attributes. Aliases stand there as well."""

_MADE_WITH_THE_CLASS = {
    *("_member_names_", "_member_map_", "_value2member_map_"),
    *("_unhashable_values_", "_hashable_values_", "_unhashable_values_map_"),
    *("_flag_mask_", "_singles_mask_", "_all_bits_", "_inverted_"),
}

_OF_EACH_MEMBER = {"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"}

_NEXT_VALUE = "_generate_next_value_"


def taken_apart(
    kind: Any, args: tuple[Any, ...], attributes: dict[str, Any], track: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `made` takes, and the attributes that are set next; cloudpickle tells of both."""
    bases, name, qualname, _, module, number, *_ = args
    told: dict[int, Any] = {}
    for member in kind.__members__.values():
        if id(member) not in told:
            held = {each: value for each, value in held_by(member) if each not in _OF_EACH_MEMBER}
            told[id(member)] = member._value_, _given(kind._member_type_, member), held
    members = {each: told[id(member)] for each, member in kind.__members__.items()}
    left_out = _MADE_WITH_THE_CLASS | members.keys()
    kept = {each: value for each, value in attributes.items() if each not in left_out}
    following = vars(kind).get(_NEXT_VALUE)
    if following is not None and getattr(following, "__module__", None) != enum.__name__:
        kept[_NEXT_VALUE] = following
    boundary = vars(kind).get("_boundary_")
    return (bases, name, qualname, members, module, boundary, type(kind), number, track), kept


def is_member(obj: Any) -> bool:
    """Whether `obj` is found in its enumeration by its name: a value may equal no copy of itself.

    Flags of several bits may have no name, and a class may say itself how they are pickled.
    """
    kind: Any = type(obj)
    if not issubclass(kind, enum.Enum) or kind.__reduce_ex__ is not enum.Enum.__reduce_ex__:
        return False
    return kind.__members__.get(obj._name_) is obj


def _given(base: Any, member: Any) -> tuple[Any, ...]:
    """What `base` makes its part of a member from; where it doesn't say, that is nothing."""
    if base is object:
        return ()
    if hasattr(base, "__getnewargs__"):
        return tuple(base.__getnewargs__(member))
    make, args, *_ = base.__reduce_ex__(member, 2)
    return tuple(args[1:] if make is copyreg.__newobj__ else args)  # type: ignore[attr-defined]


class _Member:
    """Stands for a member in the body of its class."""

    def __init__(self, value: Any, given: tuple[Any, ...], held: dict[str, Any]) -> None:
        self.value = value
        self.given = given
        self.held = held


def _new(kind: Any, told: Any) -> Any:
    member = told[0] if isinstance(told, tuple) else told  # a class that is a tuple is given one
    base = kind._member_type_
    obj = base.__new__(kind, *member.given)
    obj._value_ = member.value
    for name, value in member.held.items():
        object.__setattr__(obj, name, value)
    return obj


def _init(*_: Any) -> None:
    """Do nothing: the attributes are set."""


def made(
    bases: tuple[type, ...],
    name: str,
    qualname: str,
    members: Members,
    module: str,
    boundary: Any,
    metaclass: Any,
    number: str | None,
    track: Callable[[str | None, Any], Any],
) -> Any:
    """The enumeration, or the one that is here by that number; cloudpickle's `track` knows."""
    options = {} if boundary is None else {"boundary": boundary}
    body = metaclass.__prepare__(name, bases, **options)
    for each, told in members.items():
        body[each] = _Member(*told)
    body["__new__"], body["__init__"] = _new, _init
    kind = metaclass.__new__(metaclass, name, bases, body, **options)
    for each in ("__init__", "__new_member__"):
        if vars(kind).get(each) in (_new, _init):
            type.__delattr__(kind, each)
    kind.__module__, kind.__qualname__ = module, qualname
    return track(number, kind)
