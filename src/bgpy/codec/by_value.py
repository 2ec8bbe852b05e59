"""The pickler for what has no module to be imported from on the other side.

cloudpickle takes functions and classes apart. On top of it this one

- says of each which name it has in its script, so that it is found there (`bgpy.codec.arrival`),
  and takes along what annotations and the names of nested classes refer to;
- keeps file, line and source of each function;
- takes what pickle would look up by a name in `__main__`: functions with a cache, `NewType`,
  `ParamSpec`, constants with a ``__reduce__`` that gives their name;
- keeps ``__slots__``, which cloudpickle makes attributes of, and `cached_property`.
"""

from __future__ import annotations

import functools
import linecache
import pickle
import re
import sys
import typing
import uuid
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from bgpy.codec import arrival
from bgpy.codec.arrival import MAINS
from bgpy.late import once
from bgpy.system.strikes import is_strike, is_strike_amid

LONGEST_TEXT = 2**20
"""Characters of a file that travels whole; of a longer one the functions' own lines do."""

_Cached = type(functools.cache(len))
_NAME = re.compile(r"[^\W\d]\w*")
_GUARD = re.compile(r"^if\s+.*__name__", re.MULTILINE)

_numbers: dict[int, tuple[weakref.ref[Any], str]] = {}
"""By its `id`, since its own ``__eq__`` and ``__hash__`` may say anything, each object that went
from here by a number, and that number; entries are put and taken whole."""


class _Script:
    """Stands in a pickle for the script that it comes from."""

    def __init__(self, tasks: bool) -> None:
        self._tasks = tasks

    def __reduce__(self) -> tuple[Any, ...]:
        main = sys.modules.get(MAINS[0])
        file = getattr(main, "__file__", None) or ""
        guarded = bool(self._tasks and file and _GUARD.search("".join(linecache.getlines(file))))
        return arrival.Script, (self._tasks, file, guarded)


class _Globals:
    """Stands in a pickle for the globals of a script's functions."""

    def __init__(self, script: _Script, basics: dict[str, Any]) -> None:
        self._script = script
        self._basics = basics

    def __reduce__(self) -> tuple[Any, ...]:
        return arrival.globals_of, (self._script, self._basics)


class _Lines:
    """Stands in a pickle for the name of a file, and brings lines of it along."""

    def __init__(self, file: str, start: int, lines: list[str], whole: bool) -> None:
        self.start = start
        self.end = start + len(lines)
        self._parts = (file, start, lines, whole)

    def __reduce__(self) -> tuple[Any, ...]:
        return arrival.show, self._parts


@once
def cloudpickle() -> ModuleType:
    """`cloudpickle`: 20 ms that most calls never need."""
    import cloudpickle

    script = sys.modules.get(MAINS[1])
    if script is not None:
        cloudpickle.register_pickle_by_value(script)  # as `__main__` is anyway
    module: ModuleType = cloudpickle
    return module


@once
def pickler() -> Callable[..., pickle.Pickler]:
    """The class of the pickler; beside what `pickle.Pickler` takes, whether these are ``tasks``."""
    base: Any = cloudpickle().Pickler
    code_parts: Callable[[CodeType], Any] = base._dispatch_table[CodeType]
    # What each of these pickles names: found without looking for it in its module.
    makers = {
        value
        for module in (arrival, sys.modules[base.__module__], sys.modules[__name__])
        for value in vars(module).values()
        if isinstance(value, FunctionType) and value.__module__ == module.__name__
    }

    class ByValue(base):  # type: ignore[misc]
        def __init__(self, file: Any, tasks: bool = False, **options: Any) -> None:
            super().__init__(file, **options)
            self._tasks = tasks
            self._script = _Script(tasks)
            self._mains = [vars(sys.modules[name]) for name in MAINS if name in sys.modules]
            self._lines: dict[str, list[_Lines]] = {}

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if kind is CodeType:
                return arrival.located, (code_parts(obj)[1], self._shown(obj))
            if kind is FunctionType:
                if obj in makers:
                    return NotImplemented
                reduced = super().reducer_override(obj)
                return reduced if reduced is NotImplemented else self._placed(obj, reduced)
            if issubclass(kind, type):
                return self._class(obj)
            special = _SPECIAL.get(kind)
            if special is not None:
                return self._named(obj, special(obj))
            if kind.__module__ in MAINS and _names_itself(obj):
                return self._named(obj, _constant(obj))
            return super().reducer_override(obj)

        def _function_getnewargs(self, func: FunctionType) -> Any:
            code, scope, *others = super()._function_getnewargs(func)
            if isinstance(scope, dict) and any(func.__globals__ is main for main in self._mains):
                scope = _Globals(self._script, dict(scope))
                self.globals_ref[id(func.__globals__)] = scope
            return (code, scope, *others)

        def _class(self, kind: type) -> Any:
            reduced = super().reducer_override(kind)
            if reduced is NotImplemented or len(reduced) < 6:
                return reduced
            make, args, state, _, _, complete = reduced
            attributes, others = state
            if args[0] is type(kind):  # else it is an enumeration, which is made otherwise
                args, attributes = _whole(kind, args, attributes)
            attributes.pop("__slotnames__", None)  # what copyreg has found out about it
            number = args[-2]
            reduced = (
                arrival.begin_class,
                (make, _Known(number), args),
                (attributes, others),
                None,
                None,
                complete,
            )
            return self._placed(kind, reduced)

        def _placed(self, obj: Any, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
            """The same, put in its script's place when it is complete."""
            make, args, state, _, _, complete = reduced
            name: str | None = None
            others: dict[str, Any] = {}
            for main in self._mains:
                if getattr(obj, "__module__", None) in MAINS:
                    name, others = _names(obj, main)
                if name is not None or others:
                    break
            settled = (self._script, name, others, complete, state)
            return make, args, settled, None, None, arrival.settle

        def _named(self, obj: Any, reduced: Any) -> Any:
            if reduced is NotImplemented:
                return super().reducer_override(obj)
            make, args, state, complete = reduced
            number = _number(obj)
            parts = arrival.once_here, (number, make, args), state, None, None, complete
            return self._placed(obj, parts)

        def _shown(self, code: CodeType) -> Any:
            """The file of `code`, with the lines that are to be seen of it."""
            file = "".join(code.co_filename)
            start, end = code.co_firstlineno - 1, _last_line(code)
            for each in self._lines.get(file, ()):
                if each.start <= start and end <= each.end:
                    return each
            lines = linecache.getlines(file)
            if not lines or start >= len(lines):
                return file
            whole = self._tasks and sum(map(len, lines)) <= LONGEST_TEXT
            if not whole and sum(map(len, lines[start:end])) > LONGEST_TEXT:
                return file
            made = (
                _Lines(file, 0, lines, True)
                if whole
                else _Lines(file, start, lines[start:end], False)
            )
            self._lines.setdefault(file, []).append(made)
            return made

    return ByValue


class _Known:
    """Stands in a pickle for a class that is on the other side already, or None."""

    def __init__(self, number: str) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return of_tracked, (self._number,)


def tracked(kind: type) -> str | None:
    """The id of a class that was sent or came by value; None for any other.

    cloudpickle keeps it, so that a class which comes back is the same one.
    """
    module = sys.modules.get("cloudpickle.cloudpickle")
    if module is None:
        return None
    try:
        found: str | None = module._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(kind)
    except Exception as error:  # its metaclass lets nobody look it up
        if is_strike_amid(error):
            raise
        return None
    return found


def of_tracked(number: str) -> type | None:
    """The class of an id that `tracked` gave, here or on the other side; None if it isn't here."""
    module = sys.modules.get("cloudpickle.cloudpickle")
    found: type | None = None
    if module is not None:
        found = module._DYNAMIC_CLASS_TRACKER_BY_ID.get(number)
    return found


def _names(obj: Any, main: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """The name of `obj` in its script, and what else of it code will look for by name."""
    told = (getattr(obj, "__qualname__", None), getattr(obj, "__name__", None))
    qualname = next((each for each in told if isinstance(each, str)), None)
    if qualname is None:
        return None, {}
    name = qualname if main.get(qualname) is obj else None
    others = {each: main[each] for each in _annotated(obj) if _is_type(main.get(each))}
    outer = main.get(qualname.partition(".")[0])
    if name is None and isinstance(outer, type) and _within(outer, qualname) is obj:
        others[outer.__qualname__] = outer
    return name, others


def _annotated(obj: Any) -> Iterator[str]:
    """The names in the annotations of a function or class that are texts."""
    annotations = vars(obj).get("__annotations__") if isinstance(obj, type) else None
    if isinstance(obj, FunctionType):
        annotations = obj.__annotations__
    if isinstance(annotations, dict):
        for value in annotations.values():
            if isinstance(value, str):
                yield from _NAME.findall(value)


def _is_type(value: Any) -> bool:
    """Whether `value` is what stands in annotations: nothing else is worth the sending."""
    kind = type(value)
    return value is not None and (
        issubclass(kind, (type, ModuleType)) or kind.__module__ in ("typing", "types")
    )


def _within(outer: Any, qualname: str) -> Any:
    for part in qualname.split(".")[1:]:
        outer = getattr(outer, part, None)
    return outer


def _whole(kind: type, args: Any, attributes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The parts of a class that is made with its qualified name and its slots.

    cloudpickle leaves out the one, and makes plain attributes of the others.
    """
    make, name, bases, keywords, *others = args
    keywords = {**keywords, "__qualname__": kind.__qualname__}
    if "__slots__" not in vars(kind):
        return (make, name, bases, keywords, *others), attributes
    names = [name for name, value in vars(kind).items() if isinstance(value, MemberDescriptorType)]
    given: Any = vars(kind)["__slots__"]
    told = given if isinstance(given, (tuple, list, dict)) else (given,)
    names += [each for each in ("__dict__", "__weakref__") if each in told]
    keywords["__slots__"] = tuple(names)
    kept = {key: value for key, value in attributes.items() if key not in {*names, "__slots__"}}
    return (make, name, bases, keywords, *others), kept


@functools.lru_cache(maxsize=1000)
def _last_line(code: CodeType) -> int:
    """The last line of a code object, its first being 1."""
    last = max((end or 0 for _, end, _, _ in code.co_positions()), default=0)
    inner = [_last_line(each) for each in code.co_consts if isinstance(each, CodeType)]
    return max(code.co_firstlineno, last, *inner, 0)


def _number(obj: Any) -> str | None:
    """By which the other side knows `obj` again; None where it can't be kept."""
    key = id(obj)
    known = _numbers.get(key)
    if known is not None and known[0]() is obj:
        return known[1]
    try:
        # With the table, which the end of the program may have taken from this module.
        following = weakref.ref(obj, functools.partial(_numbers.pop, key))
    except TypeError as error:
        if is_strike(error):
            raise
        return None
    if known is not None:
        _numbers.pop(key, None)  # of an object that is gone
    _, number = _numbers.setdefault(key, (following, uuid.uuid4().hex))
    arrival.note(number, obj)
    return number


# What is made by a call: function, arguments, state, and how that is set


def _cached(obj: Any) -> Any:
    if obj.__module__ not in MAINS and _is_found(obj):
        return NotImplemented
    attributes = {name: value for name, value in vars(obj).items() if name != "__wrapped__"}
    parameters = obj.cache_parameters()
    return arrival.cached, (obj.__wrapped__, parameters), attributes, arrival.set_attributes


def _is_found(obj: Any) -> bool:
    module = sys.modules.get(obj.__module__ or "")
    return _within(module, f".{obj.__qualname__}") is obj


def _new_type(obj: Any) -> Any:
    if obj.__module__ not in MAINS:
        return NotImplemented
    extra: dict[str, Any] = {}
    args = (type(obj), (obj.__qualname__, obj.__supertype__), extra, obj.__module__)
    return arrival.named, args, None, None


def _parameters(obj: Any) -> Any:
    if obj.__module__ not in MAINS:
        return NotImplemented
    extra = {}
    if hasattr(obj, "__covariant__"):
        extra = {"bound": obj.__bound__, "covariant": obj.__covariant__}
        extra["contravariant"] = obj.__contravariant__
    return arrival.named, (type(obj), (obj.__name__,), extra, obj.__module__), None, None


def _alias(obj: Any) -> Any:
    if obj.__module__ not in MAINS:
        return NotImplemented
    extra = {"type_params": obj.__type_params__}
    args = (type(obj), (obj.__name__, obj.__value__), extra, obj.__module__)
    return arrival.named, args, None, None


def _property(obj: Any) -> Any:
    if not hasattr(obj, "lock"):
        return NotImplemented
    return arrival.cached_property, (obj.func, obj.attrname), None, None


def _weak_keys(obj: Any) -> Any:
    """`functools.singledispatch` has one: what it holds is found anew."""
    return WeakKeyDictionary, (), None, None


def _names_itself(obj: Any) -> bool:
    """Whether an object of a script's own class is pickled as the name of a constant."""
    kind: Any = type(obj)
    if kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__:
        return False
    try:
        return isinstance(obj.__reduce_ex__(5), str)
    except Exception as error:
        if is_strike_amid(error):
            raise
        return False  # its own error is shown when it is pickled


def _constant(obj: Any) -> Any:
    state: Any = object.__getstate__(obj)
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    attributes = {**(attributes or {}), **(slots or {})}
    return arrival.blank, (type(obj),), attributes, arrival.set_attributes


_SPECIAL: dict[type, Callable[[Any], Any]] = {
    _Cached: _cached,
    typing.NewType: _new_type,
    typing.ParamSpec: _parameters,
    typing.TypeVarTuple: _parameters,
    functools.cached_property: _property,
    WeakKeyDictionary: _weak_keys,
}

if sys.version_info >= (3, 12):
    _SPECIAL[typing.TypeAliasType] = _alias
