"""The pickler for what has no module to be imported from on the other side.

cloudpickle takes functions and classes apart. On top of it this one

- says of each which name it has in its script, so that it is found there (`bgpy.codec.arrival`),
  and takes along what annotations and the names of nested classes refer to;
- keeps file, line and source of each function;
- takes what pickle would look up by a name in `__main__`: functions with a cache, `NewType`,
  `TypeVar`, constants with a ``__reduce__`` that gives their name;
- keeps ``__slots__``, which cloudpickle makes attributes of, and `cached_property`.
"""

from __future__ import annotations

import functools
import linecache
import re
import sys
import typing
import uuid
from collections.abc import Callable, Iterator, Set
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from bgpy.codec import arrival, class_numbers, enumerations, lines, past_hooks
from bgpy.codec.arrival import MAINS
from bgpy.codec.global_names import names_in
from bgpy.codec.identities import Identities
from bgpy.codec.lines import Told, known_of, lines_of
from bgpy.late import once
from bgpy.system.strikes import is_strike, is_strike_amid

_Cached = type(functools.cache(len))
_NAME = re.compile(r"[^\W\d]\w*")
_GUARD = re.compile(r"^if\s+.*__name__", re.MULTILINE)

_numbers: Identities[str] = Identities()


class _Script:
    """Stands in the pickle of tasks for the script that they come from."""

    def __reduce__(self) -> tuple[Any, ...]:
        main = sys.modules.get(MAINS[0])
        file = getattr(main, "__file__", None) or ""
        guarded = bool(file and _GUARD.search("".join(linecache.getlines(file))))
        return arrival.Script, (file, guarded)


class _Globals:
    """Stands in the pickle of tasks for the globals of their script's functions."""

    def __init__(self, script: _Script, basics: dict[str, Any]) -> None:
        self._script = script
        self._basics = basics

    def __reduce__(self) -> tuple[Any, ...]:
        return arrival.globals_of, (self._script, self._basics)


@once
def cloudpickle() -> ModuleType:
    """`cloudpickle`: 20 ms that most calls never need."""
    import cloudpickle

    script = sys.modules.get(MAINS[1])
    if script is not None:
        cloudpickle.register_pickle_by_value(script)  # as `__main__` is anyway
    module: ModuleType = cloudpickle
    return module


class _ByValue:
    """What the pickler does beside cloudpickle's, which is the other base of its class."""

    makers: Set[FunctionType] = frozenset()
    """What each of these pickles names: found without looking for it in its module."""
    holds_code = False
    """Whether a code object is in the pickle, which only this version of Python can run. The rest
    of what goes by value is made anew by functions, which any version has."""
    dump: Callable[[Any], None]  # of the other base

    def __init__(self, file: Any, tasks: bool = False, **options: Any) -> None:
        above: Any = super()
        above.__init__(file, **options)
        self._script = _Script() if tasks else None
        self._whole: dict[str, Told] | None = {} if tasks else None
        self._mains = [vars(sys.modules[name]) for name in MAINS if name in sys.modules]
        self._classes: set[int] = set()  # that are in the pickle, by their ids

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is FunctionType:
            return NotImplemented if obj in self.makers else self._function(obj)
        if kind is CodeType:
            return self._code(obj)
        if issubclass(kind, type):
            return self._class(obj)
        special = _SPECIAL.get(kind)
        if special is not None:
            return self._named(obj, special(obj))
        if kind.__module__ in MAINS:
            if enumerations.is_member(obj):
                return getattr, (kind, obj._name_)
            if _names_itself(obj):
                return self._named(obj, _constant(obj))
        return NotImplemented  # cloudpickle has nothing to say of any other, either

    def _code(self, code: CodeType) -> Any:
        self.holds_code = True
        cached = known_of(code).cached
        told = lines_of(code, self._whole)
        if cached is None:
            parts = cloudpickle().Pickler._dispatch_table[CodeType](code)[1]
            return lines.rebuilt, (parts, code.co_filename, told)
        return lines.located, (cached, told)

    def _function(self, function: FunctionType) -> Any:
        above: Any = super()
        # The loader knows the lines of what is no file: in a zip archive, say.
        linecache.lazycache(function.__code__.co_filename, function.__globals__)
        reduced = above.reducer_override(function)
        if reduced is NotImplemented:
            return reduced
        make, args, state, _, _, _ = reduced
        _add_names(function, state[1]["__globals__"])
        name, others = self._names(function)
        if self._script is None and name is None and not others:
            return reduced
        settled = (self._script, name, others, state)
        return make, args, settled, None, None, arrival.settle_function

    def _function_getnewargs(self, func: FunctionType) -> Any:
        above: Any = super()
        code, scope, *others = above._function_getnewargs(func)
        if self._script is None or not isinstance(scope, dict):
            return (code, scope, *others)
        if any(func.__globals__ is main for main in self._mains):
            scope = _Globals(self._script, dict(scope))
            known: Any = self
            known.globals_ref[id(func.__globals__)] = scope
        return (code, scope, *others)

    def _class(self, kind: type) -> Any:
        above: Any = super()
        if kind.__module__ in MAINS:
            class_numbers.number(kind)
        reduced = above.reducer_override(kind)
        if reduced is NotImplemented or len(reduced) < 6:
            return reduced
        self._classes.add(id(kind))
        make, args, (attributes, others), _, _, _ = reduced
        track = sys.modules[make.__module__]._lookup_class_or_track
        if args[0] is not type(kind):
            make = enumerations.made
            args, attributes = enumerations.taken_apart(kind, args, attributes, track)
        else:
            args, attributes = _whole(kind, args, attributes)
            if past_hooks.has_hooks(kind):
                make, args = past_hooks.made, past_hooks.taken_apart(kind, args, track)
        attributes.pop("__slotnames__", None)  # what copyreg has found out about it
        # In the order of the class, which its `vars` show; cloudpickle tells them by name.
        places = {name: place for place, name in enumerate(vars(kind))}
        attributes = dict(sorted(attributes.items(), key=lambda each: places.get(each[0], -1)))
        state = (attributes, others)
        settled = (self._script, *self._names(kind), state, arrival.origin())
        return arrival.begin_class, (make, args), settled, None, None, arrival.settle_class

    def _names(self, obj: Any) -> tuple[str | None, dict[str, Any]]:
        """The name of `obj` in its script, and what goes there with it."""
        if getattr(obj, "__module__", None) in MAINS:
            for main in self._mains:
                name, others = _names_in(main, obj, self._classes)
                if name is not None or others:
                    return name, others
        return None, {}

    def _named(self, obj: Any, reduced: Any) -> Any:
        if reduced is NotImplemented:
            return reduced
        make, args, state, complete = reduced
        parts = (_number(obj), make, args)
        settled = (self._script, *self._names(obj), complete, state)
        return arrival.once_here, parts, settled, None, None, arrival.settle


@once
def pickler() -> Callable[..., _ByValue]:
    """The class of the pickler; beside what `pickle.Pickler` takes, whether these are ``tasks``."""
    base: Any = cloudpickle().Pickler

    class ByValue(_ByValue, base):  # type: ignore[misc]
        makers = frozenset(
            value
            for module in (arrival, enumerations, lines, past_hooks, sys.modules[base.__module__])
            for value in vars(module).values()
            if isinstance(value, FunctionType) and value.__module__ == module.__name__
        )

    return ByValue


def _add_names(function: FunctionType, known: dict[str, Any]) -> None:
    """Add what only bodies of classes within a function look up to its globals that are `known`.

    cloudpickle doesn't look there.
    """
    scope = function.__globals__
    for name in names_in(function.__code__):
        if name not in known and name in scope:
            known[name] = scope[name]


def _names_in(main: dict[str, Any], obj: Any, known: set[int]) -> tuple[str | None, dict[str, Any]]:
    """The name of `obj` in its script, and what else of it code will look for by name.

    The classes of which the ids are `known` have told theirs themselves.
    """
    told = (getattr(obj, "__qualname__", None), getattr(obj, "__name__", None))
    qualname = next((each for each in told if isinstance(each, str)), None)
    if qualname is None:
        return None, {}
    name = qualname if main.get(qualname) is obj else None
    others = {each: main[each] for each in _annotated(obj) if _is_type(main.get(each))}
    if name is None and "." in qualname:
        outer = main.get(qualname.partition(".")[0])
        if isinstance(outer, type) and id(outer) not in known and _within(outer, qualname) is obj:
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
    if typing.NamedTuple in bases:  # which would make its fields anew, from annotations
        bases = kind.__bases__
        keywords["__orig_bases__"] = vars(kind)["__orig_bases__"]
    if "__slots__" not in vars(kind):
        return (make, name, bases, keywords, *others), attributes
    names = [name for name, value in vars(kind).items() if isinstance(value, MemberDescriptorType)]
    given: Any = vars(kind)["__slots__"]
    told = given if isinstance(given, (tuple, list, dict)) else (given,)
    names += [each for each in ("__dict__", "__weakref__") if each in told]
    keywords["__slots__"] = tuple(names)
    kept = {key: value for key, value in attributes.items() if key not in {*names, "__slots__"}}
    if given != keywords["__slots__"] and type(given) in (str, tuple, list, dict):
        kept["__slots__"] = given  # which `inspect` reads: a dict has what is said of each
    return (make, name, bases, keywords, *others), kept


def _number(obj: Any) -> str | None:
    """By which the other side knows `obj` again; None where it can't be kept."""
    number = _numbers.get(obj)
    if number is None:
        try:
            number = _numbers.first(obj, uuid.uuid4().hex)
        except TypeError as error:
            if is_strike(error):
                raise
            return None
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
    if getattr(obj, "__infer_variance__", False):
        extra["infer_variance"] = True
    if hasattr(obj, "has_default") and obj.has_default():
        extra["default"] = obj.__default__
    names = obj.__name__, *getattr(obj, "__constraints__", ())
    return arrival.named, (type(obj), names, extra, obj.__module__), None, None


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
    typing.TypeVar: _parameters,
    typing.ParamSpec: _parameters,
    typing.TypeVarTuple: _parameters,
    functools.cached_property: _property,
    WeakKeyDictionary: _weak_keys,
}

if sys.version_info >= (3, 12):
    _SPECIAL[typing.TypeAliasType] = _alias
