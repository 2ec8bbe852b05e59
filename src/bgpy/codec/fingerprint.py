"""One fingerprint of code, for all that compares it: the same in every run of the same code.

What counts is what the code does and what it was written with: the instructions and plain
constants of functions, what classes are made of, and for a module of the user's its source.
What doesn't: file names and line numbers, the order of sets, the addresses in a `repr`,
and objects that are no plain constants, of which only the type does.

Tasks have a fingerprint for each of their parts, so that a difference has a name::

    {"init_task": ..., "exec_task": ..., "exit_task": ...,    the functions as they were given
     "__main__.step": ..., "__main__.LIMIT": ...}             what they use of their script

Instructions are those of one release of Python, which stands before each; see `are_different`.
The versions of the modules that they use are told by `bgpy.codec.loaded`.
"""

from __future__ import annotations

import enum
import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Set
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeGuard

from bgpy.codec.identities import Identities
from bgpy.digests import sha256
from bgpy.system.strikes import is_strike_amid

SCRIPT = "__main__"
PYTHON = sys.version.split()[0] + "O" * sys.flags.optimize
"""Stands before the fingerprints that this process takes of tasks and what they use: a patch
release may compile the same lines to other instructions, and ``-O`` does."""

SCRIPTS = (SCRIPT, "__mp_main__")

DEEPEST_VALUE = 50
"""Constants within constants that are looked at."""

MOST_ITEMS = 10_000
"""Of a larger constant only type and size count: it is data, not code."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_CONTAINERS = (tuple, list, set, frozenset, dict)
_Cached = type(functools.cache(len))

_TOLD_BY_CODE = ("builtins", "dataclasses", "typing", "types", "enum", "_abc")
"""Modules of classes whose objects, in a class, hold nothing that its code doesn't show."""

_NOT_OF_CLASSES = {
    *("__dict__", "__weakref__", "__module__", "__doc__", "__slotnames__", "_abc_impl"),
    *("__firstlineno__", "__static_attributes__"),
    *("__annotate__", "__annotate_func__", "__annotations_cache__"),
}


def of_code(code: CodeType) -> str:
    """The fingerprint of one code object with those within it."""
    return _hashed(_code(code))


def of_tasks(tasks: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    """The fingerprints of tasks, by name, and of all that they use of their script."""
    walk = _Walk()
    found = {name: _marked(walk.part(task)) for name, task in tasks.items()}
    while walk.todo:
        name, value = walk.todo.popitem()
        found[name] = _marked(walk.part(value, defined=True))
        if _is_part(value):
            _parts.put(value, (_made_of(value), found[name]))
    return found


def of_class(kind: type) -> str | None:
    """The fingerprint of a script's class with all that it uses of the script.

    None where something in there is no code and no plain constant, so that a change of it would
    not be seen.
    """
    walk = _Walk()
    walk.value(kind)
    found = {}
    while walk.todo:
        name, value = walk.todo.popitem()
        found[name] = walk.part(value, defined=True)
    if walk.is_vague:
        return None
    return _marked(_joined("class", [_joined(name, [found[name]]) for name in sorted(found)]))


def of_parts(names: Set[str]) -> dict[str, str]:
    """The fingerprints of the script's functions and classes that go by these names.

    Each is what `of_tasks` says of it under that name, and is taken anew only if it was defined
    anew or something in it was replaced: what a function has changed in its defaults since is
    no other version of it.
    """
    script = vars(sys.modules[SCRIPT])
    found = {name: script.get(name) for name in script.keys() & names}
    return {f"{SCRIPT}.{name}": _of_part(value) for name, value in found.items() if _is_part(value)}


def are_different(one: str, other: str) -> bool:
    """Whether two fingerprints of tasks, or of what they use, are known to be of different code.

    Those that different releases of Python have taken are the same where no instructions are in
    them; otherwise nothing is known.
    """
    (python, _, found), (another, _, others) = one.partition(" "), other.partition(" ")
    return python == another and found != others


def _of_part(value: Any) -> str:
    known, made_of = _parts.get(value), _made_of(value)
    if known is not None and known[0].is_same(made_of):
        return known[1]
    found = _marked(_Walk().part(value, defined=True))
    _parts.put(value, (made_of, found))
    return found


class _MadeOf(NamedTuple):
    """What a function or class was made of, told so that nothing leads back to it.

    Its members do: methods by the cell of ``__class__``, a function that calls itself by its
    closure. Whatever is held here would be held as long as the function or class, which would
    then hold itself. So of each there is a weak reference, of plain constants themselves, and
    of the rest (lists, dicts, descriptors of C's) its place in memory, which another may have
    after two replacements at least.
    """

    marks: list[Any]
    """Weak references and plain constants, compared by identity: an object has one reference."""
    places: list[int]

    def is_same(self, other: _MadeOf) -> bool:
        """Whether nothing was replaced between these two."""
        pairs = zip(self.marks, other.marks, strict=False)
        return (
            len(self.marks) == len(other.marks)
            and self.places == other.places
            and all(one is another for one, another in pairs)
        )


def _told(values: Iterable[Any]) -> _MadeOf:
    made_of = _MadeOf([], [])
    for value in values:
        if _is_one_of(type(value), _PLAIN):
            made_of.marks.append(value)
            continue
        try:
            made_of.marks.append(weakref.ref(value))
        except TypeError as error:
            if is_strike_amid(error):
                raise
            made_of.places.append(id(value))
    return made_of


def _is_part(value: Any) -> bool:
    """Whether a value of a script's is its code, and no data."""
    kind = type(value)
    if kind is not FunctionType and not issubclass(kind, (type, _Cached)):
        return False
    module = value.__module__
    return type(module) is str and module in SCRIPTS


def _made_of(value: Any) -> _MadeOf:
    """What is replaced where a function or class changes in place."""
    if issubclass(type(value), type):
        members = [each for name, each in vars(value).items() if name not in _NOT_OF_CLASSES]
        codes = [each.__code__ for each in members if type(each) is FunctionType]
        return _told([*value.__bases__, *members, *codes])
    function = value.__wrapped__ if type(value) is _Cached else value
    if type(function) is not FunctionType:
        return _told([function])
    cells = [_held(cell) for cell in function.__closure__ or ()]
    defaults = (function.__defaults__, *(function.__defaults__ or ()), function.__kwdefaults__)
    return _told([function.__code__, *defaults, *cells])


def _held(cell: CellType) -> Any:
    """What a cell of a closure holds, or one that is empty itself."""
    try:
        return cell.cell_contents
    except ValueError as error:
        if is_strike_amid(error):
            raise
        return cell


_parts: Identities[tuple[_MadeOf, str]] = Identities()
"""What each function and class of the script was made of, and the fingerprint taken of it then."""


def _hashed(text: bytes) -> str:
    return sha256(text).hex()[:32]


def _marked(text: bytes) -> str:
    return f"{PYTHON} {_hashed(text)}"


def _joined(kind: str, parts: Iterable[bytes]) -> bytes:
    """Parts after their kind, each with its length: no two rows of parts look alike."""
    texts = [kind.encode(), *parts]
    return b"".join(b"%d:%b" % (len(each), each) for each in texts)


def _text(value: object) -> bytes:
    return str(value).encode("utf-8", "surrogatepass")


def _code(code: CodeType) -> bytes:
    # From 3.13 on the body of a class holds the number of its first line.
    line = code.co_firstlineno if "__firstlineno__" in code.co_names else None
    consts = [
        _code(each)
        if isinstance(each, CodeType)
        else _plain(None if type(each) is int and each == line else each)
        for each in code.co_consts
    ]
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    texts = (*counts, code.co_qualname, *map(_row, names))
    return _joined("code", [*map(_text, texts), code.co_code, code.co_exceptiontable, *consts])


def _row(names: tuple[str, ...]) -> str:
    return " ".join(names)


def _plain(value: Any, depth: int = 0) -> bytes:
    """A constant as the compiler makes them: plain, or tuples and frozen sets of such."""
    return _Walk().value(value, depth)


class _Walk:
    """Looks at values; what belongs to a script is left to be looked at under its own name."""

    def __init__(self) -> None:
        self.todo: dict[str, Any] = {}
        self._noted: set[str] = set()
        self._met: set[int] = set()  # without a name, in this part
        self._script: dict[str, Any] | None = None
        self.is_vague = False
        """Whether something was met of which there is more than was looked at."""

    def part(self, value: Any, defined: bool = False) -> bytes:
        """A value that has a fingerprint of its own; `defined` says that it is looked into."""
        self._met.clear()
        return self.definition(value) if defined else self.value(value)

    def value(self, value: Any, depth: int = 0) -> bytes:
        """What there is to say of a value where it is used."""
        kind = type(value)
        if _is_one_of(kind, _PLAIN):
            return _joined(kind.__name__, [_text(repr(value))])
        if depth > DEEPEST_VALUE:
            self.is_vague = True
            return b"deeper"
        name = self._name_in_script(value)
        if name is not None:
            return _joined("name", [_text(name)])
        if _is_code(value):
            if _is_of_module(value):
                return _joined("name", [_text(f"{value.__module__}.{value.__qualname__}")])
            return self._once(value, depth)
        if issubclass(type(value), ModuleType):
            return _joined("module", [_text(value.__name__)])
        return self._composed(value, depth + 1)

    def definition(self, value: Any, depth: int = 0) -> bytes:
        """What a function, class or constant of a script's is made of."""
        if type(value) is FunctionType:
            return self._function(value, depth)
        if issubclass(type(value), type):
            return self._class(value, depth)
        return self._composed(value, depth + 1)

    def _once(self, value: Any, depth: int) -> bytes:
        """The definition of what has no name to be found by; where it is met again, its name."""
        if id(value) in self._met:
            return _joined("name", [_text(value.__qualname__)])
        self._met.add(id(value))
        return self.definition(value, depth)

    def _composed(self, value: Any, depth: int) -> bytes:
        # By its type: what an object says of itself runs the user's code, as a proxy's would.
        kind = type(value)
        if _is_one_of(kind, _PLAIN):
            return self.value(value)
        if issubclass(kind, enum.Enum):
            return _joined("enum", [_text(value.name), self.value(kind, depth)])
        if _is_one_of(kind, _CONTAINERS):
            return self._container(value, depth)
        if issubclass(kind, functools.partial):
            return self._of("partial", depth, value.func, value.args, value.keywords)
        if kind is MethodType:
            return self._of("method", depth, value.__func__, value.__self__)
        if kind is BuiltinFunctionType:
            return _joined("name", [_text(f"{value.__module__}.{value.__qualname__}")])
        if issubclass(kind, (classmethod, staticmethod, _Cached)):
            return _joined(kind.__name__, [self.definition(value.__wrapped__, depth)])
        if issubclass(kind, property):
            return self._of("property", depth, value.fget, value.fset, value.fdel)
        if issubclass(kind, functools.cached_property):
            return self._of("cached_property", depth, value.func)
        # Any other object tells by its type; called as a task it is what its class is.
        self.is_vague = self.is_vague or kind.__module__ not in _TOLD_BY_CODE
        return self._of("object", depth, kind)

    def _of(self, kind: str, depth: int, *parts: Any) -> bytes:
        return _joined(kind, [self.value(each, depth) for each in parts])

    def _container(self, value: Any, depth: int) -> bytes:
        kind = type(value).__name__
        if len(value) > MOST_ITEMS:
            self.is_vague = True
            return _joined(kind, [_text(len(value))])
        if isinstance(value, dict):
            pairs = [
                _joined("item", (self.value(key, depth), self.value(each, depth)))
                for key, each in list(value.items())
            ]
            return _joined(kind, sorted(pairs))
        items = [self.value(each, depth) for each in list(value)]
        return _joined(kind, sorted(items) if isinstance(value, (set, frozenset)) else items)

    def _function(self, function: FunctionType, depth: int) -> bytes:
        if function.__globals__.get("__name__") in SCRIPTS:
            self._script = function.__globals__
            for name in sorted(_names_used(function.__code__)):
                if name in function.__globals__:
                    self._use(name, function.__globals__[name])
        held = [(cell, _held(cell)) for cell in function.__closure__ or ()]
        cells = [
            b"empty" if value is cell else self.value(value, depth + 1) for cell, value in held
        ]
        others = (function.__defaults__, function.__kwdefaults__)
        parts = [_code(function.__code__), *cells]
        return _joined("function", parts + [self.value(each, depth + 1) for each in others])

    def _use(self, name: str, value: Any) -> None:
        """A global of the script: looked at later, unless it is only a name for something else."""
        if issubclass(type(value), ModuleType) or self._name_in_script(value) is not None:
            return
        if _is_code(value) and _is_of_module(value):
            return
        self._note(f"{SCRIPT}.{name}", value)

    def _note(self, name: str, value: Any) -> None:
        if name not in self._noted:
            self._noted.add(name)
            self.todo[name] = value

    def _class(self, kind: type, depth: int) -> bytes:
        parts = [
            _text(kind.__qualname__),
            *(self.value(base, depth + 1) for base in kind.__bases__),
        ]
        for name, value in sorted(vars(kind).items()):
            if name not in _NOT_OF_CLASSES:
                parts += (_text(name), self.value(value, depth + 1))
        return _joined("class", parts)

    def _name_in_script(self, value: Any) -> str | None:
        """The name under which a script's function or class is looked at, which it is then."""
        if not _is_code(value) or value.__module__ not in SCRIPTS:
            return None
        own = value.__qualname__
        script = value.__globals__ if type(value) is FunctionType else self._script
        if not own.isidentifier() or (script is not None and script.get(own) is not value):
            return None  # a lambda, a part of another function or class, or inside a decorated one
        self._note(f"{SCRIPT}.{own}", value)
        return f"{SCRIPT}.{own}"


def _is_code(value: object) -> TypeGuard[FunctionType | type]:
    return issubclass(type(value), (FunctionType, type))


def _is_one_of(kind: type, kinds: Iterable[type]) -> bool:
    """Whether `kind` is among `kinds`; `in` would ask what its metaclass compares as equal."""
    return any(kind is each for each in kinds)


def _is_of_module(value: Any) -> bool:
    """Whether a function or class goes by the name that it has in its module."""
    return value.__module__ not in SCRIPTS and "<" not in value.__qualname__


def _names_used(code: CodeType) -> set[str]:
    names = set(code.co_names)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            names |= _names_used(each)
    return names
