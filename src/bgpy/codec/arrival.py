"""Where the names of another process's script go when its code arrives.

Functions and classes of a script travel by value, since their module is called `__main__` on
both sides and is another one here. Much of Python looks for them by that name all the same:
pickle and process pools, `typing.get_type_hints`, `inspect`, tracebacks. So

- in a server's own process, which runs no program, `__main__` **is** the script whose tasks the
  server has: their globals are its globals. What comes with later calls, of the same script
  or another, keeps globals of its own, and is put there where no name of the tasks' is;
- in a program's process `__main__` is the program's, and nothing is put there.

Pickles call the functions here by their names, so those are part of what both sides agree on.
Decoding happens in the task thread, or in whichever thread wants a value; `_lock` protects the
names that came with calls, is held for dictionary look-ups, and is reentrant, since the
collector or a handler may decode meanwhile. A forked child has a new one: the thread that held
the old one isn't there.
"""

from __future__ import annotations

import functools
import os
import sys
import uuid
from abc import ABCMeta
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from weakref import WeakSet, WeakValueDictionary

from bgpy.codec import class_numbers
from bgpy.codec.identities import Identities
from bgpy.digests import sha256
from bgpy.forks import OwnLock

MAINS = ("__main__", "__mp_main__")
"""What the module of a script is called, also in processes that `multiprocessing` starts."""

THIS_PROCESS = uuid.uuid4().hex
"""Tells this process, and those that it forks, from others that classes come from."""

_lock = OwnLock()

_main: ModuleType | None = None
_of_calls: set[str] = set()  # names in `_main` that came with calls
_here: WeakValueDictionary[str, Any] = WeakValueDictionary()
_origins: Identities[str] = Identities()  # of each guest: its `origin`, from where it came first
_guests: WeakSet[type] = WeakSet()  # classes that came, unlike those that came back


def origin() -> str:
    """This process and its script, as classes that go from here tell them."""
    return f"{THIS_PROCESS} {script_here()}"


def script_here() -> str:
    """What this process's script is called in each run of it, as a hash of its file.

    A notebook has a file where what runs it tells that. What has none is another in each run.
    """
    main = vars(sys.modules.get(MAINS[0], object))
    told = (
        main.get("__file__"),
        main.get("__vsc_ipynb_file__"),
        os.environ.get("JPY_SESSION_NAME"),
    )
    return _hash(next((each for each in told if each and type(each) is str), THIS_PROCESS))


@functools.lru_cache(4)
def _hash(script: str) -> str:
    return sha256(script.encode(errors="surrogatepass")).hex()[:16]


def sent(name: str) -> str | None:
    """The classes by that name that scripts have sent here, as long as they are there.

    A line for each, of its script and what is told of it; None where there is none.
    """
    kinds = class_numbers.of_name(name)
    origins = [(kind, it) for kind in kinds if (it := _origins.get(kind)) is not None]
    lines = (f"{it.partition(' ')[2]} {class_numbers.told(kind)}" for kind, it in origins)
    return "\n".join(sorted(lines)) or None


def has_other(theirs: str, kind: type) -> bool:
    """Whether a server that has `sent` this has another version of this script's class."""
    ours, here = class_numbers.told(kind), script_here()
    lines = (each.partition(" ") for each in theirs.split("\n"))
    return any(
        script == here and class_numbers.is_other(ours, number) for script, _, number in lines
    )


def adopt_main() -> None:
    """Give `__main__` to the scripts whose tasks come: this process runs no program.

    Call it anew for each set of tasks: what came before is forgotten.
    """
    global _main
    made = ModuleType(MAINS[0])
    # A process pool's children look for no file by that name; see `_find_again`.
    made.__spec__ = ModuleSpec(MAINS[0], None)
    with _lock.here:
        _of_calls.clear()
        _main = made
        sys.modules.update(dict.fromkeys(MAINS, made))


def is_adopted() -> bool:
    """Whether `__main__` is a script's that came: this is a server's own process."""
    return _main is not None


class Script:
    """The script that a server's tasks came from; what comes with calls has none."""

    def __init__(self, file: str, guarded: bool) -> None:
        """`guarded` says that the script's `file` may be imported by another process."""
        if _main is not None:
            adopt_main()
            _find_again(file, guarded)
        self.globals: dict[str, Any] = {} if _main is None else vars(_main)


def _take(script: Script | None, name: str | None, others: dict[str, Any], arrived: Any) -> None:
    """Put what has arrived, and what goes with it, where code looks for the script's names."""
    if _main is None:
        return
    named = others if name is None else {**others, name: arrived}
    with _lock.here:
        names = vars(_main)
        for each, value in named.items():
            if script is None:
                if each in names and each not in _of_calls:
                    continue
                _of_calls.add(each)
            names[each] = value


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
    if _main is not None:
        script.globals["__spec__"] = spec
    return script.globals


# What is completed when its parts are there, and put where it is looked for. A state holds the
# script, the name that it has there, other names that go with it, and how it is completed.


def settle(
    arrived: Any,
    settled: tuple[
        Script | None, str | None, dict[str, Any], Callable[[Any, Any], object] | None, Any
    ],
) -> None:
    """Complete anything by a function that came with it."""
    script, name, others, complete, state = settled
    if complete is not None:
        complete(arrived, state)
    _take(script, name, others, arrived)


def settle_function(
    arrived: Any, settled: tuple[Script | None, str | None, dict[str, Any], Any]
) -> None:
    """Complete a function as cloudpickle does, which has made it."""
    script, name, others, state = settled
    sys.modules["cloudpickle.cloudpickle"]._function_setstate(arrived, state)
    for each, value in others.items():  # what came with a call has globals of its own
        arrived.__globals__.setdefault(each, value)
    _take(script, name, others, arrived)


def begin_class(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """The class of these parts, which is the same one if it has come, or gone from here, before."""
    known = class_numbers.of_number(args[-2], args[1])
    if known is not None:
        return known
    made = make(*args)
    _guests.add(made)
    return made


def settle_class(
    arrived: Any, settled: tuple[Script | None, str | None, dict[str, Any], Any, str]
) -> None:
    """Complete a class as cloudpickle does.

    One that was defined here, and has only come back, is as it should be. So is one that came
    from another process before: its functions go on using the globals that they came with.
    """
    script, name, others, state, came_from = settled
    first = _origins.get(arrived) or came_from
    if arrived in _guests and first.partition(" ")[0] == came_from.partition(" ")[0]:
        _set_attributes(arrived, *state)
        _origins.put(arrived, came_from)
    _take(script, name, others, arrived)


def _set_attributes(kind: type, attributes: dict[str, Any], _: Any) -> None:
    """Set the attributes of a class past its metaclass, which may let nobody set any."""
    registered = attributes.pop("_abc_impl", ())
    for name, value in attributes.items():
        type.__setattr__(kind, name, value)
    if "__firstlineno__" in attributes:  # which Python drops as other attributes are set
        type.__setattr__(kind, "__firstlineno__", attributes["__firstlineno__"])
    for each in registered:
        ABCMeta.register(kind, each)  # type: ignore[arg-type]


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
