"""Where the names and the lines of another process's script go when its code arrives.

Functions and classes of a script travel by value, since their module is called `__main__` on
both sides and is another one here. Much of Python looks for them by that name all the same:
pickle and process pools, `typing.get_type_hints`, `inspect`, tracebacks. So

- in a server's own process, which runs no program, `__main__` **is** the script whose tasks the
  server has: their globals are its globals. What comes with later calls, of the same script
  or another, keeps globals of its own, and is put there where no name of the tasks' is;
- in a program's process `__main__` is the program's, and nothing is put there;
- source lines go to `linecache`, under the name of their file or cell, where tracebacks and
  `inspect` look. Where that name has other lines here, they go under ``name (2)``.

Pickles call the functions here by their names, so those are part of what both sides agree on.
Decoding happens in the task thread, or in whichever thread wants a value; `_lock` protects the
tables, is held for dictionary look-ups and the reading of a file that `linecache` doesn't
know, and is reentrant, since the collector or a handler may decode meanwhile.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any
from weakref import WeakSet, WeakValueDictionary

MAINS = ("__main__", "__mp_main__")
"""What the module of a script is called, also in processes that `multiprocessing` starts."""

MOST_TEXTS = 1000
"""Files and cells of which lines are kept; the tasks' own come on top."""

_lock = threading.RLock()
_main: ModuleType | None = None
_of_calls: set[str] = set()  # names in `_main` that came with calls
_texts: OrderedDict[str, bool] = OrderedDict()  # what is in linecache from here: is it whole?
_here: WeakValueDictionary[str, Any] = WeakValueDictionary()
_guests: WeakSet[type] = WeakSet()  # classes that came, unlike those that came back


def adopt_main() -> None:
    """Give `__main__` to the scripts whose tasks come: this process runs no program.

    Call it anew for each set of tasks: what came before is forgotten.
    """
    global _main
    made = ModuleType(MAINS[0])
    # A process pool's children look for no file by that name; see `_find_again`.
    made.__spec__ = ModuleSpec(MAINS[0], None)
    with _lock:
        _of_calls.clear()
        _main = made
        sys.modules.update(dict.fromkeys(MAINS, made))


class Script:
    """The script that one payload came from."""

    def __init__(self, tasks: bool, file: str, guarded: bool) -> None:
        """`tasks` says that the server's tasks are in it; `guarded` that it may be imported."""
        self.tasks = tasks and _main is not None
        if self.tasks:
            adopt_main()
            _find_again(file, guarded)
        self.globals: dict[str, Any] = vars(_main) if self.tasks else {}

    def take(self, name: str, value: Any) -> None:
        """Put `value` where code looks for the script's `name`."""
        if _main is None:
            return
        with _lock:
            names = vars(_main)
            if not self.tasks:
                if name in names and name not in _of_calls:
                    return
                _of_calls.add(name)
            names[name] = value


def _find_again(file: str, guarded: bool) -> None:
    """Let the children of process pools import the script, as they do in the script itself.

    Only where its file is here, and has the guard without which each child would run it all.
    """
    if guarded and _main is not None and os.path.isfile(file):
        _main.__spec__ = None
        _main.__file__ = file


def globals_of(script: Script, basics: dict[str, Any]) -> dict[str, Any]:
    """The globals of a script's functions, beginning with those that each module has."""
    spec = script.globals.get("__spec__")
    for name, value in basics.items():
        if not (name == "__file__" and name in script.globals):
            script.globals[name] = value
    if script.tasks:
        script.globals["__spec__"] = spec
    return script.globals


Settled = tuple[Script, str | None, dict[str, Any], Callable[[Any, Any], object] | None, Any]
"""Script, the name that it has there, other names that go with it, how its state is set, state."""


def settle(arrived: Any, settled: Settled) -> None:
    """Complete what has arrived, and put it where it is looked for."""
    script, name, others, complete, state = settled
    if complete is not None and not (isinstance(arrived, type) and _is_own(arrived)):
        complete(arrived, state)
    for other, value in others.items():
        script.take(other, value)
    if name is not None:
        script.take(name, arrived)


def begin_class(make: Callable[..., Any], known: type | None, args: tuple[Any, ...]) -> Any:
    """The class of these parts, which is the same one if it has come, or gone from here, before."""
    made = make(*args)
    if known is None:
        _guests.add(made)
    return made


def _is_own(kind: type) -> bool:
    """Whether a class was defined here, and has only come back: it is as it should be."""
    return kind not in _guests


def once_here(number: str | None, make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What goes by that number, made at its first arrival."""
    if number is None:
        return make(*args)
    found = _here.get(number)
    return _here.setdefault(number, make(*args)) if found is None else found


def note(number: str, value: Any) -> None:
    """Note that `value` has gone from here by that number, so that it is the same if it returns."""
    _here.setdefault(number, value)


# What is made by a call of its own


def cached(function: Any, parameters: dict[str, Any]) -> Any:
    """A function with `functools.lru_cache`, its cache empty."""
    return functools.lru_cache(**parameters)(function)


def named(
    kind: Callable[..., Any], args: tuple[Any, ...], extra: dict[str, Any], module: str
) -> Any:
    """One of the things of `typing` that are called by their names."""
    made = kind(*args, **extra)
    try:
        made.__module__ = module
    except AttributeError:
        pass  # then it can't be found by its name, and need not be
    return made


def cached_property(function: Any, name: str | None) -> Any:
    """A `functools.cached_property`, which up to 3.11 holds a lock."""
    made: Any = functools.cached_property(function)
    made.attrname = name
    return made


def blank(kind: Any) -> Any:
    """An object of `kind` whose attributes are set next."""
    return kind.__new__(kind)


def set_attributes(made: Any, attributes: dict[str, Any]) -> None:
    """Set attributes past the class's own ``__setattr__``."""
    for name, value in attributes.items():
        object.__setattr__(made, name, value)


# Lines


def located(args: tuple[Any, ...], shown: str) -> CodeType:
    """The code object of these parts, in the file that is `shown`."""
    return CodeType(*args).replace(co_filename=shown)


def show(file: str, start: int, lines: list[str], whole: bool) -> str:
    """Have `linecache` show `lines` of `file` from `start` on (0 is the first); gives its name.

    `whole` says that they are all of a file of the tasks, whose name it is from now on.
    """
    with _lock:
        if whole and _main is not None:
            _texts[file] = True
            _enter(file, lines)
            return file
        shown, count = file, 1
        while not _fits(shown, start, lines):
            count += 1
            shown = f"{file} ({count})"
        return shown


def _fits(shown: str, start: int, lines: list[str]) -> bool:
    """Whether `lines` stand, or now stand, at their place under the name `shown`."""
    if shown not in _texts:
        linecache.checkcache(shown)
    known = linecache.getlines(shown)
    end = start + len(lines)
    if known[start:end] == lines:
        return True
    if known and _texts.get(shown, True):
        return False  # a file that is here, or one whose lines are all known
    known = [*known, *["\n"] * (end - len(known))]
    there = known[start:end]
    if any(old not in ("\n", new) for old, new in zip(there, lines, strict=True)):
        return False
    known[start:end] = lines
    _texts[shown] = False
    _texts.move_to_end(shown)
    _enter(shown, known)
    partial = [name for name, is_whole in _texts.items() if not is_whole]
    for name in partial[:-MOST_TEXTS]:
        del _texts[name]
        linecache.cache.pop(name, None)
    return True


def _enter(shown: str, lines: list[str]) -> None:
    # Without a time the entry is no file's, so that no check of the cache drops it.
    linecache.cache[shown] = (sum(map(len, lines)), None, lines, shown)
