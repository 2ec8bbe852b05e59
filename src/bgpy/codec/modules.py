"""The user's modules across the wire: found, compared and sent as source.

The client finds the modules of its user that the tasks use and asks the server for
a hash of each. What is missing there, or another version, travels as source and is
installed under its own name: on both sides a class then has the same name and is the
same class, whichever way an object of it travels, and a traceback shows its lines.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import linecache
import marshal
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from types import CodeType, ModuleType
from typing import Any, cast

from bgpy.codec import arrival
from bgpy.codec.edits import Stamp, stamps
from bgpy.codec.loaded import (
    PYC_HEADER,
    ModuleSource,
    code_version,
    digest,
    source_of,
    version,
)
from bgpy.system.strikes import is_strike, is_strike_amid

TASKS = "tasks:"
"""Before the name of a part of a server's tasks, among the names of modules."""

CODE = "code:"
"""Before the name of a module of which only the code counts, not the comments."""

CLASSES = "classes:"
"""Before the name of a class of a script, of which a server may have other versions."""

MOST_SEARCHED = 2**16
"""Bytes of a pickle in which names of modules are looked for."""

MOST_KEPT = 1000
"""Sets of modules whose versions are kept."""

_NAMED = re.compile(rb"\x8c.([\w.]*[\x94\xc2-\xf4])", re.DOTALL)
"""A short text in a pickle, as names are, up to its end or to its first letter beyond ASCII."""

_BEYOND_ASCII = bytes(range(0xC2, 0xF5))
_TO_LINES = bytes.maketrans(b"\x94" + _BEYOND_ASCII, b"\n" * (1 + len(_BEYOND_ASCII)))
_LETTERS = re.compile(rb"\x8c(.)(?=[\w.]*[\xc2-\xf4])", re.DOTALL)


def used_by(functions: Iterable[Any]) -> dict[str, ModuleSource]:
    """The user's modules that `functions` use, by name: theirs, and what those name in turn.

    Not among them are the standard library, installed packages and modules without
    a source file, which are named by reference.
    """
    spaces = [space for function in functions for space in _namespaces(function)]
    return _reached({_module_of(value) for space in spaces for value in list(space.values())})


def versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of the user's modules among `names`, and of those that they use in turn.

    Which those are is kept until one of them is loaded anew: calls with code ask each time.
    """
    key = frozenset(names)
    kept = _kept_versions.get(key)
    if kept is not None and all(source_of(name) is source for name, source in kept[0].items()):
        return kept[1]
    sources = _reached(key)
    found = {name: version(source) for name, source in sources.items()}
    if len(_kept_versions) >= MOST_KEPT:
        _kept_versions.clear()
    _kept_versions[key] = sources, found
    return found


_kept_versions: dict[frozenset[str], tuple[dict[str, ModuleSource], dict[str, str]]] = {}
"""By the modules asked for, the sources and versions of all that they use; put and read whole."""


def code_versions(names: Iterable[str]) -> dict[str, str]:
    """By what a server is asked for it, the version of the code of modules that are loaded here."""
    found = {name: source_of(name) for name in names}
    return {CODE + name: code_version(source) for name, source in found.items() if source}


def texts_in(head: bytes) -> set[str]:
    """The short texts in the first 64 KiB of a pickle, among them all names of code in it."""
    texts = b"".join(_NAMED.findall(head, 0, MOST_SEARCHED))
    # All at once: a pickle has many names, few of which are modules'.
    names = set(texts.translate(_TO_LINES).decode("ascii").split("\n"))
    if texts.translate(None, _BEYOND_ASCII) != texts:
        for found in _LETTERS.finditer(head, 0, MOST_SEARCHED):
            text = head[found.end() : found.end() + found[1][0]]
            names.add(text.decode(errors="replace"))
    return names


def named_in(texts: Set[str]) -> list[str]:
    """The modules of the user's among those texts."""
    return [name for name in texts & sys.modules.keys() if source_of(name) is not None]


def _reached(names: Iterable[str]) -> dict[str, ModuleSource]:
    found: dict[str, ModuleSource] = {}
    todo = list(names)
    while todo:
        for each in _with_parents(todo.pop()):
            if each not in found and (source := source_of(each)) is not None:
                found[each] = source
                todo += {_module_of(value) for value in list(vars(sys.modules[each]).values())}
    return found


def decoded(text: bytes) -> str:
    """The source in the bytes of a module's file, by the encoding that it declares."""
    from importlib.util import decode_source  # 2 ms that clients never need

    return decode_source(text)


class Catalogue:
    """What a server has: answers for hashes, and takes in the modules that clients send."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # the poller asks while the task thread installs
        self._asked: set[str] = set()
        self._tasks: dict[str, str] = {}
        self.stamps: dict[str, Stamp] = {}
        """Of the modules that the tasks use; see `bgpy.codec.edits`."""
        self._finder = _Finder()

    def hashes(self, names: Iterable[str]) -> dict[str, str | None]:
        """The version of each module, None where there is none; nothing is imported.

        Of one that is loaded it is what was loaded, also where the file has changed since. A
        name after `TASKS` asks for the fingerprint of a part of the server's tasks, one after
        `CODE` for that of a module's code, and one after `CLASSES` for what `arrival.sent`
        tells of classes by that name.
        """
        with self._lock:
            return {name: self._hash(name) for name in names}

    def runs(self, parts: Mapping[str, str], modules: Iterable[str]) -> None:
        """Note the fingerprints of the tasks that the server has now, and the modules they use.

        Those are looked at now: later their files may have changed.
        """
        loaded = _reached(modules)
        with self._lock:
            self._tasks = dict(parts)
            self._asked.update(loaded)
            self.stamps = stamps(loaded.values())

    def _hash(self, name: str) -> str | None:
        if name.startswith(TASKS):
            return self._tasks.get(name[len(TASKS) :])
        if name.startswith(CLASSES):
            return arrival.sent(name[len(CLASSES) :])
        if name.startswith(CODE):
            return self._code(name[len(CODE) :])
        if name in self._finder.sources and name not in sys.modules:
            return version(self._finder.sources[name])
        loaded = source_of(name)
        found = _hash_of(name) if loaded is None and name not in sys.modules else None
        if loaded is not None:
            found = version(loaded)
        if found is not None:
            self._asked.add(name)  # what is no module isn't kept: anyone can ask for anything
        return found

    def _code(self, name: str) -> str | None:
        source = source_of(name) if name in sys.modules else self._finder.sources.get(name)
        return None if source is None else code_version(source)

    def install(self, sources: Sequence[ModuleSource]) -> None:
        """Make `sources` importable here, in place of older versions of them."""
        if not sources:
            return
        with self._lock:
            if self._finder not in sys.meta_path:
                sys.meta_path.insert(0, self._finder)
            # Anew: the finder may be walking through the sources in another thread.
            self._finder.sources = self._finder.sources | {each.name: each for each in sources}
            names = {each.name for each in sources}
            if not names.isdisjoint(sys.modules):
                # What else the tasks use may hold on to the older version: imported anew.
                names.update(self._asked, self._finder.sources)
        for name in names:
            sys.modules.pop(name, None)
        for source in sources:
            _show(source)


def _show(source: ModuleSource) -> None:
    """Have tracebacks and `inspect` show a module as it was sent, whatever its file holds here."""
    if source.code:
        return
    try:
        lines = decoded(source.text).splitlines(keepends=True)
    except (SyntaxError, UnicodeDecodeError) as error:
        if is_strike_amid(error):
            raise
        return  # importing it will tell
    # Without a time the entry is no file's, so that no check of the cache drops it.
    linecache.cache[source.file] = (len(source.text), None, lines, source.file)


class _Finder:
    """Finds modules among the sources that came over the wire, before all others."""

    def __init__(self) -> None:
        self.sources: dict[str, ModuleSource] = {}

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self.sources.get(name)
        if source is None:
            return self._namespace(name, path)
        spec = importlib.machinery.ModuleSpec(
            name, cast(Any, _Loader(source)), origin=source.file, is_package=source.package
        )
        spec.has_location = True
        if source.package:
            spec.submodule_search_locations = [os.path.dirname(source.file)]
        return spec

    def _namespace(self, name: str, path: Any) -> importlib.machinery.ModuleSpec | None:
        """A package without a file, if something below it came and it is not here."""
        below = [each for other, each in self.sources.items() if other.startswith(f"{name}.")]
        if not below or _find(name, path, but=self) is not None:
            return None
        # Its folders, where they are on this machine: package data lies there.
        folders = {_folder_of(name, each) for each in below}
        loader = importlib.machinery.NamespaceLoader(name, sorted(folders), _finds_nothing)
        spec = importlib.machinery.ModuleSpec(name, cast(Any, loader), is_package=True)
        spec.submodule_search_locations = cast(Any, loader)._path
        return spec


def _folder_of(package: str, below: ModuleSource) -> str:
    """Where `package` lies, as the file of a module below it tells."""
    folder = os.path.dirname(below.file)
    for _ in range(below.name.count(".") - package.count(".") - (not below.package)):
        folder = os.path.dirname(folder)
    return folder


def _finds_nothing(name: str, path: Any) -> None:
    """What a namespace package asks when `sys.path` has changed: its folders stay."""


class _Loader:
    """A loader by its methods; `importlib.abc`, which names them, takes 8 ms to import.

    What lies beside a module's file is read from there, if it is on this machine.
    """

    def __init__(self, source: ModuleSource) -> None:
        self.module_source = source
        self.name = source.name
        self.path = source.file

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.get_code(self.name), vars(module))

    def get_code(self, name: str) -> CodeType:
        source = self.module_source
        if not source.code:
            code: CodeType = compile(source.text, self.path, "exec", dont_inherit=True)
            return code
        if source.code[:4] != importlib.util.MAGIC_NUMBER:
            raise ImportError(
                f"the file of module {name} was edited after the client had imported it, and what "
                "the client has loaded is bytecode of another Python: reload the module there",
                name=name,
            )
        return cast(CodeType, marshal.loads(memoryview(source.code)[PYC_HEADER:]))

    def get_source(self, name: str) -> str:
        return decoded(self.module_source.text)

    def get_filename(self, name: str) -> str:
        return self.path

    def is_package(self, name: str) -> bool:
        return self.module_source.package

    def get_data(self, path: str) -> bytes:
        """The bytes of a file beside the module: `pkgutil.get_data` asks for them."""
        with open(path, "rb") as file:
            return file.read()

    def get_resource_reader(self, name: str) -> Any:
        """What `importlib.resources` asks for the files beside the module."""
        from importlib.readers import FileReader  # 12 ms, and who asks has imported them

        return FileReader(cast(Any, self))


def _namespaces(function: Any) -> list[dict[str, Any]]:
    """Where the names that a function uses are looked up, and the function itself."""
    inner = getattr(function, "__wrapped__", None)  # which may be anything, and false
    inner = getattr(function, "func", function) if inner is None else inner
    inner = getattr(inner, "__func__", inner)
    namespaces = [{"function": inner, "type": type(inner)}]
    if hasattr(inner, "__globals__"):
        namespaces.append(inner.__globals__)
    cells = getattr(inner, "__closure__", None)
    for cell in cells if type(cells) is tuple else ():
        try:
            namespaces.append({"cell": cell.cell_contents})
        except ValueError:
            continue  # a cell that is not filled yet names nothing
    return namespaces


def _module_of(value: Any) -> str:
    """The name of the module that `value` is, or comes from; empty where it tells none."""
    try:
        if isinstance(value, ModuleType):
            return value.__name__
        name = getattr(value, "__module__", None)
    except Exception as error:
        if is_strike_amid(error):
            raise
        name = None  # a proxy of something that isn't there now
    if not isinstance(name, str):
        name = getattr(type(value), "__module__", "")
    return name if isinstance(name, str) else ""


def _with_parents(name: str) -> Iterator[str]:
    # One by one: of a long name all of them together would take the square of its length.
    parts = name.split(".")
    return (".".join(parts[: count + 1]) for count in range(len(parts)))


def _hash_of(name: str) -> str | None:
    """Find a module's file without importing its parents, which would run their code."""
    if not all(name.split(".")):
        return None
    path: Any = None
    spec = None
    for each in _with_parents(name):
        spec = _find(each, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        with open(spec.origin, "rb") as file:
            return digest(file.read())
    except OSError as error:
        if is_strike(error):
            raise
        return None


def _find(
    name: str, path: Any, but: _Finder | None = None
) -> importlib.machinery.ModuleSpec | None:
    for finder in sys.meta_path:
        if finder is but:
            continue
        try:
            spec = _ask(finder, name, path)
        except Exception as error:
            if is_strike_amid(error):
                raise
            continue  # one of another program's, which a name that no module has may surprise
        if spec is not None:
            return spec
    return None


def _ask(finder: Any, name: str, path: Any) -> importlib.machinery.ModuleSpec | None:
    try:
        found = finder.find_spec(name, path)
    except (KeyError, ModuleNotFoundError):
        # A package without a file, below one that isn't imported: `path` knows that one. Up
        # to 3.14 Python raises `KeyError` then.
        found = finder.find_spec(name.rpartition(".")[2], path)
    return cast("importlib.machinery.ModuleSpec | None", found)
