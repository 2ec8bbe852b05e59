"""What functions, classes and values are made of, as bytes: the same in every run of the same code.

What counts, and what doesn't, is told in `bgpy.codec.fingerprint`. Nothing here runs code of the
user's: what an object says of itself may be anything, as a proxy's is, or differ in each run.

Values may be of any size and lead back to themselves: each is looked at once in a part, where it
leads back to itself it says so, and of what has too many items only type and size count.
"""

from __future__ import annotations

import enum
import functools
import re
from collections import defaultdict, deque, namedtuple
from collections.abc import Collection, Iterable
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    ModuleType,
)
from typing import Any, TypeGuard

from bgpy.codec.global_names import attributes_set_in, names_in, steps_without
from bgpy.codec.held import held_by, held_in
from bgpy.digests import sha256

SCRIPT = "__main__"
SCRIPTS = (SCRIPT, "__mp_main__")

DEEPEST_VALUE = 50
"""Constants within constants that are looked at."""

MOST_ITEMS = 10_000
"""Of a larger constant, with all that is in it, only type and size count: it is data, not code."""

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
CACHED = type(functools.cache(len))

_FIELD = type(vars(namedtuple("_Any", ["any"]))["any"])
"""Of the descriptors of a named tuple."""

_CONTAINERS = (tuple, list, set, frozenset, dict, deque)

_MADE_OF_PLAIN = {
    *("builtins.range", "builtins.bytearray", "datetime.timedelta", "decimal.Decimal"),
    *("fractions.Fraction", "pathlib.PosixPath", "pathlib.WindowsPath"),
    *("pathlib.PurePosixPath", "pathlib.PureWindowsPath"),
    *("pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("pathlib._local.PurePosixPath", "pathlib._local.PureWindowsPath"),
}
"""Classes of Python's own whose objects are constants, made of plain ones as pickle does it."""

_TOLD_BY_CODE = ("builtins", "dataclasses", "typing", "types", "enum", "functools", "_abc")
"""Modules of classes whose objects, in a class, hold nothing that its code doesn't show."""

NOT_OF_CLASSES = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__slotnames__", "_abc_impl"),
    *("__firstlineno__", "__static_attributes__"),
    *("__annotate__", "__annotate_func__", "__annotations_cache__"),
}


class Walk:
    """Looks at values; what belongs to a script is left to be looked at under its own name."""

    def __init__(
        self, script: dict[str, Any] | None = None, own: Collection[str] = SCRIPTS
    ) -> None:
        """`script` are its globals, where they are known; the first of its functions has them.

        `own` are the names of the modules that are looked at as the script.
        """
        self.todo: dict[str, Any] = {}
        self._noted: set[str] = set()
        self._met: set[int] = set()  # code without a name, in this part
        self._known: dict[int, tuple[Any, bytes]] = {}  # other values in this part, kept for it
        self._script = script
        self._own = own
        self.is_vague = False
        """Whether something was met of which there is more than was looked at."""

    def part(self, value: Any, name: str = "") -> bytes:
        """A value that has a fingerprint of its own; it is looked into if `name` is its own."""
        self._met.clear()
        self._known.clear()
        if name and self.name_in_script(value) == name:
            return self._definition(value, 0)
        return self.value(value)

    def goes_by(self, name: str, value: Any) -> bool:
        """Whether what the script has by that name has no other name of its own there."""
        return self.name_in_script(value) in (name, None)

    def value(self, value: Any, depth: int = 0) -> bytes:
        """What there is to say of a value where it is used."""
        kind = type(value)
        if is_one_of(kind, PLAIN):
            # Not in decimals, of which Python writes no more than 4300 for an integer.
            return joined(kind.__name__, [_text(hex(value) if kind is int else repr(value))])
        if depth > DEEPEST_VALUE:
            self.is_vague = True
            return b"deeper"
        name = self.name_in_script(value)
        if name is not None:
            return joined("name", [_text(name)])
        if _may_be_named(value):
            if self._is_of_module(value):
                return joined("name", [_text(f"{value.__module__}.{value.__qualname__}")])
            return self._once(value, depth)
        if issubclass(kind, ModuleType):
            return joined("module", [_text(value.__name__)])
        return self._composed(value, depth + 1)

    def _definition(self, value: Any, depth: int) -> bytes:
        """What a function, class or constant of a script's is made of."""
        if type(value) is FunctionType:
            return self._function(value, depth)
        if issubclass(type(value), type):
            return self._class(value, depth)
        return self._composed(value, depth + 1)

    def _once(self, value: Any, depth: int) -> bytes:
        """The definition of what has no name to be found by; where it is met again, its name."""
        if id(value) in self._met:
            return joined("name", [_text(value.__qualname__)])
        self._met.add(id(value))
        return self._definition(value, depth)

    def _composed(self, value: Any, depth: int) -> bytes:
        """A value by its class and what it holds; what leads back to it finds that it does."""
        if is_one_of(type(value), PLAIN):
            return self.value(value)
        known = self._known.get(id(value))
        if known is None:
            self._known[id(value)] = value, b"circle"
            known = self._known[id(value)] = value, sha256(self._composition(value, depth))
        return known[1]

    def _composition(self, value: Any, depth: int) -> bytes:
        kind = type(value)
        if issubclass(kind, enum.Enum):
            return self._of("enum", depth, value._name_ or value._value_, kind)
        if issubclass(kind, _CONTAINERS):
            return self._container(value, depth)
        if issubclass(kind, (functools.partial, functools.partialmethod)):
            return self._of("partial", depth, value.func, value.args, value.keywords)
        if kind is MethodType:
            return self._of("method", depth, value.__func__, value.__self__)
        if kind is BuiltinFunctionType:
            return joined("name", [_text(f"{value.__module__}.{value.__qualname__}")])
        if issubclass(kind, (classmethod, staticmethod)):
            return joined(kind.__name__, [self._definition(value.__wrapped__, depth)])
        if kind is CACHED:
            return self._cached(value, depth)
        if issubclass(kind, property):
            return self._of("property", depth, value.fget, value.fset, value.fdel)
        if issubclass(kind, functools.cached_property):
            return self._of("cached_property", depth, value.func)
        if kind is _FIELD:
            return b"field"  # which one, its class's ``_fields`` tell
        if kind is re.Pattern:
            return self._of("pattern", depth, value.pattern, value.flags)
        if f"{kind.__module__}.{kind.__qualname__}" in _MADE_OF_PLAIN:
            return self._of("constant", depth, kind, *value.__reduce_ex__(4)[1])
        return self._object(value, depth)

    def _of(self, kind: str, depth: int, *parts: Any) -> bytes:
        return joined(kind, [self.value(each, depth) for each in parts])

    def _cached(self, value: Any, depth: int) -> bytes:
        parameters = [self.value(each, depth) for each in value.cache_parameters().values()]
        return joined("cached", [self._definition(value.__wrapped__, depth), *parameters])

    def _container(self, value: Any, depth: int) -> bytes:
        kind = type(value)
        told = self._of("of", depth, kind)
        if _is_large(value):
            self.is_vague = True
            return joined("large", [told, _text(len(_within(value)))])
        if issubclass(kind, dict):
            pairs = list(dict.items(value))
            items = sorted(self._of("item", depth, *pair) for pair in pairs)
        else:
            items = [self.value(each, depth) for each in _within(value)]
        if kind is defaultdict:
            items.append(self.value(value.default_factory, depth))
        is_sorted = issubclass(kind, (set, frozenset))
        return joined("container", [told, *(sorted(items) if is_sorted else items)])

    def _object(self, value: Any, depth: int) -> bytes:
        """Any other object: its class, the code that it holds, and the fields of a dataclass.

        Called as a task it is what its class is; what a decorator has put into it is code.
        """
        kind = type(value)
        fields = _fields(kind)
        held = {
            name: self.value(each, depth) if name in fields else self._code_held(each, depth)
            for name, each in held_by(value)
        }
        is_told = kind.__module__ in _TOLD_BY_CODE
        if not is_told and (not fields or held.keys() - fields.keys()):
            self.is_vague = True
        told = [joined(name, [each]) for name, each in sorted(held.items()) if each]
        return joined("object", [self.value(kind, depth), *told])

    def _code_held(self, value: Any, depth: int) -> bytes:
        """The script's code in an attribute, and the name of any other; empty for data."""
        while type(value) in (MethodType, functools.partial, CACHED):
            value = value.__wrapped__ if type(value) is CACHED else _function_of(value)
        if not _may_be_named(value):
            return b""
        if value.__module__ in self._own:
            return self.value(value, depth)
        return _text(f"{value.__module__}.{value.__qualname__}")

    def _function(self, function: FunctionType, depth: int) -> bytes:
        if function.__globals__.get("__name__") in self._own:
            self._script = function.__globals__
            for name in names_in(function.__code__):
                if name in function.__globals__:
                    self._use(name, function.__globals__[name])
        others = (function.__defaults__, function.__kwdefaults__)
        parts = [code_bytes(function.__code__), *self._cells(function, depth + 1)]
        return joined("function", parts + [self.value(each, depth + 1) for each in others])

    def _cells(self, function: FunctionType, depth: int) -> list[bytes]:
        """What a closure holds; of `functools.singledispatch`, without what it finds out."""
        if function.__globals__.get("__name__") == "functools" and "registry" in vars(function):
            pairs = list(vars(function)["registry"].items())
            return sorted(self._of("item", depth, *pair) for pair in pairs)
        cells = [(cell, held_in(cell)) for cell in function.__closure__ or ()]
        return [b"empty" if value is cell else self.value(value, depth) for cell, value in cells]

    def _use(self, name: str, value: Any) -> None:
        """A global of the script: looked at later, by its own name and by this one."""
        own, used = self.name_in_script(value), f"{SCRIPT}.{name}"
        if own != used:
            self._note(used, value)

    def _note(self, name: str, value: Any) -> None:
        if name not in self._noted:
            self._noted.add(name)
            self.todo[name] = value

    def _class(self, kind: type, depth: int) -> bytes:
        parts = [
            _text(kind.__qualname__),
            *(self.value(base, depth + 1) for base in kind.__bases__),
        ]
        left_out = NOT_OF_CLASSES | _variables(kind)
        for name, value in sorted(vars(kind).items()):
            if name not in left_out:
                parts += (_text(name), self.value(value, depth + 1))
        return joined("class", parts)

    def name_in_script(self, value: Any) -> str | None:
        """The name under which a script's function or class is looked at, which it is then."""
        if not _may_be_named(value) or value.__module__ not in self._own:
            return None
        own = value.__qualname__
        script = value.__globals__ if type(value) is FunctionType else self._script
        if not own.isidentifier() or (script is not None and script.get(own) is not value):
            return None  # a lambda, a part of another function or class, or inside a decorated one
        self._note(f"{SCRIPT}.{own}", value)
        return f"{SCRIPT}.{own}"

    def _is_of_module(self, value: Any) -> bool:
        """Whether a function or class goes by the name that it has in its module."""
        return value.__module__ not in self._own and "<" not in value.__qualname__


def joined(kind: str, parts: Iterable[bytes]) -> bytes:
    """Parts after their kind, each with its length: no two rows of parts look alike."""
    texts = [kind.encode(), *parts]
    return b"".join(b"%d:%b" % (len(each), each) for each in texts)


def code_bytes(code: CodeType) -> bytes:
    """The instructions and constants of a code object and of those within it.

    From 3.13 on the body of a class sets the number of its first line, and the attributes that its
    methods set in an order of its own.
    """
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    texts = (*counts, code.co_qualname, *map(_row, names))
    if "__firstlineno__" in code.co_names:
        steps = steps_without(code, ("__firstlineno__", "__static_attributes__"))
        does = [joined(step, [_within_code(const) for const in consts]) for step, *consts in steps]
    else:
        does = [code.co_code, *map(_within_code, code.co_consts)]
    return joined("code", [*map(_text, texts), code.co_exceptiontable, *does])


def _within_code(const: object) -> bytes:
    return code_bytes(const) if isinstance(const, CodeType) else _constant(const)


def is_code(value: Any) -> bool:
    """Whether a value is a function, a class, a module, or what does as one in a class."""
    kind = type(value)
    return issubclass(kind, _CODE) or any("__get__" in vars(each) for each in kind.__mro__)


_CODE = (type, ModuleType, functools.partial, BuiltinFunctionType)


def is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    """Whether `kind` is among `kinds`; `in` would ask what its metaclass compares as equal."""
    return any(kind is each for each in kinds)


def _constant(value: Any) -> bytes:
    """A constant as the compiler makes them: plain, or tuples and frozen sets of such."""
    return Walk().value(value)


def _text(value: object) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


def _row(names: tuple[str, ...]) -> str:
    return " ".join(names)


def _may_be_named(value: object) -> TypeGuard[FunctionType | type]:
    return issubclass(type(value), (FunctionType, type))


def _variables(kind: type) -> set[str]:
    """The attributes of a class that hold data and are set on it by its own methods.

    A class may count its objects, or keep its only one: what is in there changes as it is used.
    """
    functions = [each for each in map(_unwrapped, vars(kind).values()) if each is not None]
    codes = [each.__code__ for each in functions if _may_set_on(kind, each.__code__)]
    names = {name for code in codes for name in attributes_set_in(code)}
    return {name for name in names & vars(kind).keys() if not is_code(vars(kind)[name])}


def _may_set_on(kind: type, code: CodeType) -> bool:
    """Whether a method gets hold of its class."""
    first = code.co_varnames[:1] if code.co_argcount else ()
    names = {*first, *code.co_freevars, *code.co_names}
    return not names.isdisjoint(("cls", "__class__", kind.__name__))


def _unwrapped(value: Any) -> FunctionType | None:
    function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    return function if type(function) is FunctionType else None


def _function_of(value: Any) -> Any:
    return value.__func__ if type(value) is MethodType else value.func


def _within(value: Any) -> list[Any]:
    """What a container or an object of a dataclass holds, whatever its class says."""
    if is_one_of(type(value), PLAIN):
        return []
    for kind in _CONTAINERS:
        if issubclass(type(value), kind):
            items = list(kind.__iter__(value))
            return [*items, *dict.values(value)] if kind is dict else items
    fields = _fields(type(value))
    return [each for name, each in held_by(value) if name in fields] if fields else []


def _length(value: Any) -> int:
    """Of a container, whatever its class says; 0 for anything else."""
    return next((each.__len__(value) for each in _CONTAINERS if issubclass(type(value), each)), 0)


def _is_large(value: Any) -> bool:
    """Whether there is too much in a container to be looked at."""
    seen: set[int] = set()
    todo = [value]
    count = 0
    while todo:
        each = todo.pop()
        if id(each) not in seen:
            seen.add(id(each))
            if _length(each) > MOST_ITEMS:
                return True  # without a copy of it
            within = _within(each)
            count += len(within)
            if count > MOST_ITEMS:
                return True
            todo += within
    return False


def _fields(kind: type) -> dict[str, Any]:
    """The fields of a dataclass, by name; of any other class there are none."""
    for each in kind.__mro__:
        found = vars(each).get("__dataclass_fields__")
        if type(found) is dict:
            return found
    return {}
