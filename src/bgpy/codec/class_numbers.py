"""The number by which a class of a script is known on both sides: the same in every run of it.

cloudpickle numbers each class at random when it is first sent, and by that number a class that
comes back is the same one. But a script that is run again would have other numbers than those
that a server got from its first run, and its own objects would come back as objects of a class
that only looks the same. So a class that its script has by its name is numbered by what it is
made of, and by what it uses of the script. Where that can't be told for sure, the number is
cloudpickle's.

Two classes of one number are never both here by name: the one that was defined last stands for
them. What is done to a class once it has its number (a counter in it, say) gives it no other.
"""

from __future__ import annotations

import sys
from typing import Any

from bgpy.codec import fingerprint
from bgpy.codec.walk import SCRIPT, SCRIPTS
from bgpy.system.strikes import is_strike_amid

_MARK = "script "
"""Begins the numbers that are made here."""


def number(kind: type) -> str | None:
    """The number of a class that has one; else, of a script's by its name, the one it gets now."""
    known = tracked(kind)
    if known is not None or not _script_has(kind):
        return known
    made = _fingerprint(kind)
    return None if made is None else _keep(kind, _MARK + made)


def tracked(kind: type) -> str | None:
    """The number of a class that was sent or came by value; None for any other."""
    module = _cloudpickle()
    if module is None:
        return None
    try:
        found: str | None = module._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(kind)
    except Exception as error:  # its metaclass lets nobody look it up
        if is_strike_amid(error):
            raise
        return None
    return found


def told(kind: type) -> str:
    """What is known of a script's class, for `is_other`; it is given no number for that."""
    found = tracked(kind)
    if found is None and _script_has(kind):
        found = _MARK + (_fingerprint(kind) or "")
    return found or ""


def of_name(name: str) -> list[type]:
    """The classes of scripts by that name that have come or gone and are still there."""
    module = _cloudpickle()
    there = () if module is None else module._DYNAMIC_CLASS_TRACKER_BY_ID.valuerefs()
    return [kind for each in there if is_called(kind := each(), name)]


def is_other(ours: str, theirs: str) -> bool:
    """Whether two classes, of which this is told, are known to be of different code."""
    return (
        ours.startswith(_MARK)
        and theirs.startswith(_MARK)
        and fingerprint.are_different(ours.removeprefix(_MARK), theirs.removeprefix(_MARK))
    )


def of_number(told: str, name: object) -> type | None:
    """The class of a number; `name` is that of the class, by which the script may have it."""
    module = _cloudpickle()
    if module is None:
        return None
    found: type | None = module._DYNAMIC_CLASS_TRACKER_BY_ID.get(told)
    if found is None and told.startswith(_MARK) and isinstance(name, str):
        own = vars(sys.modules[SCRIPT]).get(name)
        if isinstance(own, type) and number(own) == told:
            return own
    return found


def _cloudpickle() -> Any:
    return sys.modules.get("cloudpickle.cloudpickle")


def _fingerprint(kind: type) -> str | None:
    try:
        return fingerprint.of_class(kind)
    except Exception as error:  # of the user's code that was looked at
        if is_strike_amid(error):
            raise
        return None


def is_called(kind: object, name: str) -> bool:
    """Whether this is a class of a script's by that name; its metaclass isn't asked."""
    if not issubclass(type(kind), type):
        return False
    own: Any = type.__getattribute__
    module = own(kind, "__module__")
    return type(module) is str and module in SCRIPTS and own(kind, "__qualname__") == name


def _script_has(kind: type) -> bool:
    script = sys.modules.get(kind.__module__) if kind.__module__ in SCRIPTS else None
    return script is not None and vars(script).get(kind.__qualname__) is kind


def _keep(kind: type, made: str) -> str | None:
    module = _cloudpickle()
    try:
        with module._DYNAMIC_CLASS_TRACKER_LOCK:
            kept: str = module._DYNAMIC_CLASS_TRACKER_BY_CLASS.setdefault(kind, made)
            if kept == made:
                module._DYNAMIC_CLASS_TRACKER_BY_ID[made] = kind
    except Exception as error:  # its metaclass lets nobody keep it
        if is_strike_amid(error):
            raise
        return None
    return kept
