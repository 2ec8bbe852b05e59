"""The user's modules as this process has loaded them, which is what it runs.

A file may be edited after it was imported, so what lies on the disk need not be what runs. A
module's source is therefore read once and kept until it is reloaded, which gives it another
spec, or patched in place as IPython's autoreload does it, which gives its functions other code:
that is looked for only while its file is another than it was. Where the file may be newer than
the module when it is first looked at, the functions that were loaded are compared with those of
the file. If they are others, Python's own cached bytecode of the module is taken in place of its
source, if that is what was loaded.
"""

from __future__ import annotations

import functools
import marshal
import os
import sys
import time
import weakref
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

from bgpy.codec.fingerprint import PYTHON, of_code
from bgpy.digests import sha256
from bgpy.system.strikes import is_strike, is_strike_amid

_MOST_WRAPPERS = 100
"""Wrappers around a function that are looked through: one may be around itself."""

_Cached = type(functools.cache(len))

PYC_HEADER = 16
"""Bytes before the code in Python's cache: magic number, flags, time and size of the source."""


class ModuleSource(NamedTuple):
    """One module as it travels: its dotted name, the bytes of its file, where that lies."""

    name: str
    text: bytes
    file: str
    package: bool
    code: bytes = b""
    """Where its file has other lines by now: the module as Python has cached it."""
    edited: bool = False
    """Whether the file was edited since it was loaded, and what was loaded is lost."""


def digest(text: bytes) -> str:
    """The hash by which two versions of a module are told apart."""
    return sha256(text).hex()


def version(source: ModuleSource) -> str:
    """The hash of what is loaded; of what is lost, one that no other has."""
    if source.code:
        return f"code {digest(source.code[PYC_HEADER:])}"
    return f"edited {digest(source.text)}" if source.edited else digest(source.text)


@functools.lru_cache(256)
def code_version(source: ModuleSource) -> str:
    """The hash of what is loaded without comments and the look of its lines.

    Those of different versions of Python differ; of what is lost, it is the `version`.
    """
    code = _unmarshalled(source.code) if source.code else _compiled(source)
    return version(source) if source.edited or code is None else f"{PYTHON} {of_code(code)}"


class _Known(NamedTuple):
    """What was found of a module, and what it had then."""

    spec: ModuleSpec
    source: ModuleSource | None
    file: tuple[int, int] | None = None
    """Time in ns and size of its file."""
    functions: tuple[tuple[weakref.ref[FunctionType], CodeType], ...] = ()
    """Each with its code."""


_known: dict[str, _Known] = {}
"""By the names of modules; entries are put and read whole."""


def source_of(name: str) -> ModuleSource | None:
    """The source of a module of the user's as it is loaded here; None for any other module."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if not isinstance(module, ModuleType) or not isinstance(spec, ModuleSpec):
        return None
    known = _known.get(name)
    if known is not None and known.spec is spec and not _is_patched(known):
        return known.source
    found = _Known(spec, None)
    if spec.name == name and is_users(name, spec.origin):
        try:
            file = _time_in_ns_and_size(str(spec.origin))  # first: what is read may be newer
            found = _Known(spec, _read(module, spec), file, _with_code(module))
        except OSError as error:
            if is_strike(error):
                raise
            return None
    _known[name] = found
    return found.source


def _is_patched(known: _Known) -> bool:
    """Whether functions of a module have got other code since its file was edited.

    Each call that names the module asks; to ask the system for the file would take far longer.
    """
    for function, code in known.functions:
        there = function()
        if there is not None and there.__code__ is not code:
            source = known.source
            return source is not None and _time_in_ns_and_size(source.file) != known.file
    return False


def _with_code(module: ModuleType) -> tuple[tuple[weakref.ref[FunctionType], CodeType], ...]:
    return tuple((weakref.ref(each), each.__code__) for each in _functions(module))


def _time_in_ns_and_size(file: str) -> tuple[int, int] | None:
    """Of a file that is here."""
    try:
        status = os.stat(file)
    except (OSError, ValueError) as error:
        if is_strike(error):
            raise
        return None
    return status.st_mtime_ns, status.st_size


def is_users(name: str, origin: str | None) -> bool:
    """Whether a module is the user's: of a source file, and not installed."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("__main__", "__mp_main__", "bgpy"):
        return False
    if origin is None or not origin.endswith(".py"):
        return False
    # The folder's name alone: `sysconfig`, which knows where packages of this Python
    # are, needs a descriptor for that, and on 3.13 never recovers where there was none.
    folders = os.path.normcase(origin).split(os.sep)
    return "site-packages" not in folders and "dist-packages" not in folders


def _read(module: ModuleType, spec: ModuleSpec) -> ModuleSource:
    sent: ModuleSource | None = getattr(spec.loader, "module_source", None)
    if sent is not None:
        return sent
    file = str(spec.origin)
    with open(file, "rb") as opened:
        text = opened.read()
        stat = os.fstat(opened.fileno())
    source = ModuleSource(spec.name, text, file, spec.submodule_search_locations is not None)
    # What another loader makes of a file (pytest of its asserts) is not what the file compiles to.
    if stat.st_mtime < _began or type(spec.loader) is not SourceFileLoader:
        return source
    return _as_loaded(source, module, spec, stat)


def _as_loaded(
    source: ModuleSource, module: ModuleType, spec: ModuleSpec, stat: os.stat_result
) -> ModuleSource:
    """`source`, if it may be what was loaded; else the cached code, if that is."""
    there = _compiled(source)
    cached = _cached(spec)
    fresh = cached[8:PYC_HEADER] == _time_and_size(stat)
    if there is not None and _holds(there, module):
        if fresh or not cached or sys.dont_write_bytecode:
            return source
        # Whoever had imported the file as it is now would have cached that.
        before = _unmarshalled(cached)
        if before is None or of_code(before) == of_code(there) or not _holds(before, module):
            return source
        return source._replace(text=b"", code=cached)
    before = None if fresh else _unmarshalled(cached)
    if before is not None and _holds(before, module):
        return source._replace(text=b"", code=cached)
    return source._replace(edited=True)


def _compiled(source: ModuleSource) -> CodeType | None:
    try:
        return compile(source.text, source.file, "exec", dont_inherit=True)
    except Exception as error:
        if is_strike_amid(error):
            raise
        return None


def _cached(spec: ModuleSpec) -> bytes:
    """What Python has cached of a module by its file's time; empty where it hasn't."""
    try:
        with open(spec.cached or "", "rb") as file:
            found = file.read()
    except OSError as error:
        if is_strike(error):
            raise
        return b""
    return found if found[4:8] == bytes(4) and len(found) > PYC_HEADER else b""


def _time_and_size(stat: os.stat_result) -> bytes:
    numbers = (int(stat.st_mtime), stat.st_size)
    return b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers)


def _unmarshalled(cached: bytes) -> CodeType | None:
    try:
        code = marshal.loads(memoryview(cached)[PYC_HEADER:])
    except Exception as error:
        if is_strike_amid(error):
            raise
        return None
    return code if isinstance(code, CodeType) else None


def _holds(code: CodeType, module: ModuleType) -> bool:
    """Whether each function that was loaded with `module` is one of its `code`."""
    there = set(map(of_code, _within(code)))
    file = getattr(module, "__file__", None)
    codes = [each.__code__ for each in _functions(module)]
    return all(of_code(each) in there for each in codes if each.co_filename == file)


def _within(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _within(each)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods that a module has defined."""
    for value in list(vars(module).values()):
        members = [value]
        if issubclass(type(value), type) and value.__module__ == module.__name__:
            members = list(vars(value).values())
        for each in members:
            function = _unwrapped(each)
            if function is not None:
                yield function


def _unwrapped(value: Any) -> FunctionType | None:
    """The function that a member of a module or class is, or holds; None for any other object.

    Only what Python's own types hold is looked at: other objects would run code of their own.
    """
    for _ in range(_MOST_WRAPPERS):
        kind = type(value)
        if kind is FunctionType:
            # What `functools.wraps` notes: the wrapper's own code lies in another file.
            following = vars(value).get("__wrapped__")
            if following is None:
                return cast(FunctionType, value)
            value = following
        elif issubclass(kind, property):
            value = value.fget
        elif issubclass(kind, (classmethod, staticmethod, _Cached)):
            value = value.__wrapped__
        elif issubclass(kind, functools.cached_property):
            value = value.func
        else:
            break
    return None


def _beginning() -> float:
    """When this process began, in seconds since the epoch; 0 where that can't be seen."""
    if sys.platform != "linux":
        return 0.0
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/uptime", "rb") as file:
            up = float(file.read().split()[0])
        return time.time() - up + ticks / os.sysconf("SC_CLK_TCK") - 1
    except (OSError, ValueError, IndexError, AttributeError) as error:
        if isinstance(error, OSError) and is_strike(error):
            raise
        return 0.0


_began = _beginning()
