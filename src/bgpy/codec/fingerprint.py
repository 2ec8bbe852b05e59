"""One fingerprint of code, for all that compares it: the same in every run of the same code.

What counts is what the code does and what it was written with: the instructions and plain
constants of functions, what classes are made of, and for a module of the user's its source.
What doesn't: file names and line numbers, the order of sets, the addresses in a `repr`. Of
objects that are no constants the class counts and the functions that are put into them, as
decorators do; constants are plain values, containers and dataclasses of such, and some of
Python's own classes, such as ranges, paths and patterns.

Tasks have a fingerprint for each of their parts, so that a difference has a name::

    {"init_task": ..., "exec_task": ..., "exit_task": ...,    the functions as they were given
     "__main__.step": ..., "__main__.LIMIT": ...}             what they use of their script

What they use by a name that is not its own, as an imported module or function, stands for what it
is called: its code is told by its own name.

Instructions are those of one release of Python, which stands before each; see `are_different`.
The versions of the modules that they use are told by `bgpy.codec.loaded`.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping, Set
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

from bgpy.codec.held import held_in
from bgpy.codec.identities import Identities
from bgpy.codec.walk import (
    CACHED,
    NOT_OF_CLASSES,
    PLAIN,
    SCRIPT,
    SCRIPTS,
    Walk,
    code_bytes,
    is_code,
    is_one_of,
    joined,
)
from bgpy.digests import sha256
from bgpy.system.strikes import is_strike_amid

PYTHON = sys.version.split()[0] + "O" * sys.flags.optimize
"""Stands before the fingerprints that this process takes of tasks and what they use: a patch
release may compile the same lines to other instructions, and ``-O`` does."""


AS_SCRIPT = "as script:"
"""Before the names of parts of tasks whose modules were looked at as if they were the script: one
program may import the file that another runs."""


def of_code(code: CodeType) -> str:
    """The fingerprint of one code object with those within it."""
    return _hashed(code_bytes(code))


def of_tasks(tasks: Mapping[str, Callable[..., Any]], data: bool = True) -> dict[str, str]:
    """The fingerprints of tasks, by name, and of all that they use of their script.

    Without `data` only of its code: variables change as they are used. What the script's
    functions and classes hold by now counts as in `of_parts`. Tasks of modules have another set,
    after `AS_SCRIPT`, which they would have if those modules were the script.
    """
    found = _of_tasks(Walk(), tasks, data)
    homes = {_home(task) for task in tasks.values()}.difference(SCRIPTS)
    homes = {each for each in homes if each.partition(".")[0] not in sys.stdlib_module_names}
    if not homes:
        return found
    own = Walk(own=(*SCRIPTS, *sorted(homes)))
    return found | {AS_SCRIPT + name: it for name, it in _of_tasks(own, tasks, data).items()}


def as_script(parts: Mapping[str, str]) -> dict[str, str]:
    """Of what `of_tasks` says, that which is the same for a file that is run and one imported.

    Without the names that Python gives to each module, as ``__name__``: those are others.
    """
    told = {name: found for name, found in parts.items() if name.startswith(AS_SCRIPT)}
    found = {name.removeprefix(AS_SCRIPT): it for name, it in told.items()} or dict(parts)
    return {name: it for name, it in found.items() if not name.startswith(f"{SCRIPT}.__")}


def _of_tasks(
    walk: Walk, tasks: Mapping[str, Callable[..., Any]], data: bool = True
) -> dict[str, str]:
    found = {name: _marked(walk.part(task)) for name, task in tasks.items()}
    while walk.todo:
        name, value = walk.todo.popitem()
        part = _marked(walk.part(value, name))
        if _is_part(value) and walk.goes_by(name, value):
            part = _kept(value, functools.partial(str, part))
        if data or is_code(value):
            found[name] = part
    return found


def _home(task: Any) -> str:
    """The module that a task comes from; that of its class, where it is an object of one."""
    while is_one_of(type(task), (MethodType, functools.partial)):
        task = task.__func__ if type(task) is MethodType else task.func
    kind = type(task)
    module = (task if kind is FunctionType or issubclass(kind, type) else kind).__module__
    return module if type(module) is str else SCRIPT


def of_class(kind: type) -> str | None:
    """The fingerprint of a script's class with all that it uses of the script.

    None where something in there is no code and no plain constant, so that a change of it would
    not be seen.
    """
    walk = Walk(vars(sys.modules[kind.__module__]))
    walk.value(kind)
    found = {}
    while walk.todo:
        name, value = walk.todo.popitem()
        found[name] = walk.part(value, name)
    if walk.is_vague:
        return None
    # By its name, too: others that it uses may use it in turn, and are made of the same then.
    own = kind.__qualname__.encode()
    return _marked(joined("class", [own, *(joined(each, [found[each]]) for each in sorted(found))]))


def of_parts(names: Set[str]) -> dict[str, str]:
    """The fingerprints of the script's functions and classes that go by these names.

    Each is what `of_tasks` says of it under that name, and is taken anew only if it was defined
    anew or something in it was replaced: what a function has changed in its defaults since is
    no other version of it.
    """
    script = vars(sys.modules[SCRIPT])
    walk = Walk(script)
    values = {f"{SCRIPT}.{name}": script.get(name) for name in script.keys() & names}
    return {name: _of_part(walk, name, value) for name, value in values.items() if _is_part(value)}


def are_different(one: str, other: str) -> bool:
    """Whether two fingerprints of tasks, or of what they use, are known to be of different code.

    Those that different releases of Python have taken are the same where no instructions are in
    them; otherwise nothing is known.
    """
    (python, _, found), (another, _, others) = one.partition(" "), other.partition(" ")
    return python == another and found != others


def _of_part(walk: Walk, name: str, value: Any) -> str:
    if not walk.goes_by(name, value):
        return _marked(walk.part(value, name))
    return _kept(value, lambda: _marked(walk.part(value, name)))


def _kept(value: Any, take: Callable[[], str]) -> str:
    """The fingerprint that was taken of a part, or the one taken now if it is another by now."""
    known, made_of = _parts.get(value), _made_of(value)
    if known is not None and known[0].is_same(made_of):
        return known[1]
    found = take()
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
        if is_one_of(type(value), PLAIN):
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
    if kind is not FunctionType and not issubclass(kind, (type, CACHED)):
        return False
    module = value.__module__
    return type(module) is str and module in SCRIPTS


def _made_of(value: Any) -> _MadeOf:
    """What is replaced where the code of a function or class changes in place.

    The data in them isn't: a class may count its objects, a closure its calls.
    """
    if issubclass(type(value), type):
        named = [each for name, each in vars(value).items() if name not in NOT_OF_CLASSES]
        members = [each for each in named if is_code(each)]
        codes = [each.__code__ for each in members if type(each) is FunctionType]
        return _told([*value.__bases__, *members, *codes])
    function = value.__wrapped__ if type(value) is CACHED else value
    if type(function) is not FunctionType:
        return _told([function])
    cells = [each for each in map(held_in, function.__closure__ or ()) if is_code(each)]
    defaults = (function.__defaults__, *(function.__defaults__ or ()), function.__kwdefaults__)
    return _told([function.__code__, *defaults, *cells])


_parts: Identities[tuple[_MadeOf, str]] = Identities()
"""What each function and class of the script was made of, and the fingerprint taken of it then."""


def _hashed(text: bytes) -> str:
    return sha256(text).hex()[:32]


def _marked(text: bytes) -> str:
    return f"{PYTHON} {_hashed(text)}"
