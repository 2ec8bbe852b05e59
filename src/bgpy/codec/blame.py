"""Which part of an object can't be pickled, as a way that leads to it, and what to do about it.

::

    args['run'] -> function load -> global 'DB' -> attribute 'lock'

Each object on the way is taken apart as pickle does it, and the first of its parts that can't be
pickled is the next. An object that holds all its parts well is itself to blame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from bgpy.codec import by_value
from bgpy.codec.global_names import names_in
from bgpy.codec.patience import NoPatience, Nowhere, Patience, is_out_of_band, is_plain
from bgpy.errors import Advice
from bgpy.system.ours import is_ours
from bgpy.system.strikes import is_strike_amid

_Cached = type(functools.cache(len))

LONGEST_WAY = 20
"""Parts on the way to the one that is named."""

LONGEST_KEY = 100
"""Characters of a key on that way."""


class _Key(NamedTuple):
    """A part of the way that shows a key, once it is known to be on it."""

    before: str
    key: Any
    after: str = ""


Part = tuple[str | _Key, Any]
"""How the way goes on, and the object that it leads to."""

_WHOLE = (dict, list, tuple, set, frozenset, FunctionType, MethodType)
"""Classes of what has no other parts than those that are looked at first."""

_OF_ARGS = (
    "send what it is made from, and make it in the server: in init_task, which returns it as the "
    "state or in it, or in the task that needs it"
)
_INSTEAD = {
    "tasks": "make it in init_task, which runs in the server, and return it as the state or in it",
    "args": _OF_ARGS,
    "exit_args": _OF_ARGS,
    "response": "respond with what the caller needs of it; it can stay in the state",
}


def blame(obj: Any, what: str) -> tuple[str, Advice | None]:
    """The way to the innermost part of `obj` that can't be pickled, and what to do about it.

    `what` is the name of `obj`: ``args``, ``response`` or ``tasks``. Where the
    user's code that is asked meanwhile raises anything, or looking takes longer than
    `LONGEST_LOOK`, the way is told as far as it is known.
    """
    way, in_function = what, type(obj) is FunctionType
    try:
        way += _function(obj)
        for told, part in islice(_way(obj, Patience()), LONGEST_WAY):
            obj = part
            in_function = in_function or type(obj) is FunctionType
            way += (_shown(told) if isinstance(told, _Key) else told) + _function(obj)
        if is_ours(type(obj).__module__):
            return way, None  # its own error says what to do
    except BaseException as error:
        if _is_not_of_it(error):
            raise
    # What a function uses can be made where it runs; a response comes from there.
    text = _INSTEAD.get("tasks" if in_function and what != "response" else what)
    return way, None if text is None else Advice(text, text)


def _is_not_of_it(error: BaseException) -> bool:
    """Whether an error has nothing to do with what is looked at: it came from a signal."""
    return isinstance(error, KeyboardInterrupt) or is_strike_amid(error)


def _function(obj: Any) -> str:
    return f" -> function {obj.__qualname__}" if type(obj) is FunctionType else ""


def _way(obj: Any, patience: Patience) -> Iterator[Part]:
    """From each part that can't be pickled to the next one within it."""
    seen = {id(obj): obj}
    while True:
        # One pickler for all parts of an object: what several of them hold is looked at once.
        options: Any = {"protocol": 5, "buffer_callback": is_out_of_band}
        dump = by_value.pickler()(Nowhere(patience), **options).dump
        new = (part for part in _parts(obj) if id(part[1]) not in seen)
        found = next((part for part in new if not _travels(part[1], dump, patience)), None)
        if found is None:
            return
        yield found
        obj = found[1]
        seen[id(obj)] = obj


def _travels(obj: Any, dump: Callable[[Any], None], patience: Patience) -> bool:
    patience.check()
    if is_plain(obj):
        return True
    try:
        dump(obj)
    except NoPatience:
        raise
    except BaseException as error:  # the user's code, which may raise anything
        if _is_not_of_it(error):
            raise
        return False
    return True


def _parts(obj: Any) -> Iterator[Part]:
    """The parts of an object, as far as that can be seen without running much of its code."""
    kind = type(obj)
    if issubclass(kind, dict):
        for key, value in dict.items(obj):
            yield _Key("[", key, "]"), value
            if not is_plain(key):
                yield _Key(" -> key ", key), key
    elif issubclass(kind, list):
        yield from ((f"[{index}]", value) for index, value in enumerate(list.__iter__(obj)))
    elif issubclass(kind, tuple):
        yield from ((f"[{index}]", value) for index, value in enumerate(tuple.__iter__(obj)))
    elif issubclass(kind, set):
        yield from ((_Key(" -> element ", each), each) for each in set.__iter__(obj))
    elif issubclass(kind, frozenset):
        yield from ((_Key(" -> element ", each), each) for each in frozenset.__iter__(obj))
    elif kind is FunctionType:
        yield from _parts_of_function(obj)
    elif kind is MethodType:
        yield from ((" -> object of the method", obj.__self__), ("", obj.__func__))
    elif kind is functools.partial:
        yield from (("", obj.func), (" -> arguments of the partial", obj.args))
        yield " -> keywords of the partial", obj.keywords
    elif issubclass(kind, (classmethod, staticmethod, _Cached)):
        yield "", getattr(obj, "__wrapped__", None)
    elif issubclass(kind, property):
        yield from (("", each) for each in (obj.fget, obj.fset, obj.fdel))
    elif issubclass(kind, type):
        yield from (("", base) for base in obj.__bases__)
        members = list(vars(obj).items())
        yield from ((f" -> class {obj.__qualname__}{_member(*each)}", each[1]) for each in members)
    yield from _parts_of_reduced(obj)


def _member(name: str, value: Any) -> str:
    return "" if isinstance(value, FunctionType) else f" -> attribute {name!r}"


def _parts_of_function(function: FunctionType) -> Iterator[Part]:
    """The globals that its code and the code within it names, and what else travels with it."""
    scope = function.__globals__
    for name in names_in(function.__code__):
        if name in scope:
            yield f" -> global {name!r}", scope[name]
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield f" -> variable {name!r}", cell.cell_contents
        except ValueError:  # it has no value yet
            continue
    for value in function.__defaults__ or ():
        yield " -> a default", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f" -> default of {name!r}", value
    for name, value in vars(function).items():
        yield f" -> attribute {name!r}", value


def _parts_of_reduced(obj: Any) -> Iterator[Part]:
    """What pickle gets to see of an object: what it is made from, and its state."""
    kind = type(obj)
    if issubclass(kind, type) or any(kind is each for each in _WHOLE):
        return
    reduced = _reduced(obj)
    if reduced is None:
        return
    _, args, *more = reduced
    state = more[0] if more else None
    for each in state if isinstance(state, tuple) else (state,):  # of slots there are two
        if isinstance(each, dict):
            yield from ((_Key(" -> attribute ", name), value) for name, value in each.items())
        elif each is not None:
            yield " -> its state", each
    made_from = " -> what it is made from"
    yield from (("" if each is type(obj) else made_from, each) for each in args or ())
    for index, each in enumerate(more[1] or () if len(more) > 1 else ()):
        yield f"[{index}]", each
    for key, value in more[2] or () if len(more) > 2 else ():
        yield _Key("[", key, "]"), value


def _reduced(obj: Any) -> tuple[Any, ...] | None:
    try:
        reduced: Any = obj.__reduce_ex__(5)
    except BaseException as error:  # the user's code, which may raise anything
        if _is_not_of_it(error):
            raise
        return None  # it can't be taken apart: it is to blame
    return reduced if isinstance(reduced, tuple) and len(reduced) > 1 else None


def _shown(told: _Key) -> str:
    try:
        shown = repr(told.key)
    except BaseException as error:  # the user's code, which may raise anything
        if _is_not_of_it(error):
            raise
        shown = f"<{type(told.key).__qualname__}>"
    cut = shown if len(shown) <= LONGEST_KEY else f"{shown[:LONGEST_KEY]}..."
    return f"{told.before}{cut}{told.after}"
