"""Notices that a server runs other code than this program has loaded, and says so.

::

    initialize ─► tasks that the server has already, and the modules that they use
    call, execute, terminate ─► modules of the user's that the arguments name, and what those use;
                                functions and classes of the script that the arguments bring
    terminate that waits ─► the exit task by the name that it has here, and what it uses
    what connects ─► the files of an init file's modules, where server and client share them

A server tells the version of each module and part of its tasks once; the answers are kept as
long as it runs. `submit` waits for nobody: it compares with what is known. Nothing is said of
functions and classes that were loaded by different versions of Python: their code can't be
compared.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from types import FunctionType
from typing import TypeGuard

from bgpy.address import Address
from bgpy.calling.blocking.caller import Caller
from bgpy.codec import arrival, class_numbers, modules
from bgpy.codec.edits import edited
from bgpy.codec.fingerprint import are_different, of_parts, of_tasks
from bgpy.codec.loaded import ModuleSource, version
from bgpy.codec.payload import GLOBAL
from bgpy.codec.task_parts import TaskParts
from bgpy.codec.walk import SCRIPT
from bgpy.errors import BgpyError, CallTimeout, StaleCodeWarning
from bgpy.memory import Encoded, Payload
from bgpy.state import tokens
from bgpy.system.deadlines import deadline_in, seconds_left
from bgpy.system.ours import is_ours
from bgpy.system.strikes import is_strike
from bgpy.tasks import current

WAY_OUT = "terminate the server, start it again and initialise it"


def may_name_code(packed: Encoded) -> TypeGuard[Payload]:
    """Whether arguments may name functions or classes; most don't, and this must cost nothing.

    What goes by value always does.
    """
    if isinstance(packed, bytes):
        return False
    head = packed[0]
    return GLOBAL in head if head.__class__ is bytes else True


class Staleness:
    """Compares what this program has loaded with what one server has."""

    def __init__(self, caller: Caller, address: str) -> None:
        self._caller = caller
        self._address = address

    def look_at_tasks(
        self, parts: Mapping[str, str], sources: Mapping[str, ModuleSource], timeout: float | None
    ) -> None:
        """Warn if the tasks of an initialised server are not those whose `parts` these are."""
        ours = {name: version(source) for name, source in sources.items()}
        found = self._other_tasks(TaskParts(parts), ours, timeout)
        if found:
            _warn(
                f"the server at {self._address} has tasks already and keeps them, and they are not "
                f"the ones of this program; different: {', '.join(found)}. To replace them, "
                f"{WAY_OUT}",
                found,
            )
        told = {name.removeprefix(_PREFIX) for name in found}
        self._warn_of_kept([name for name in _classes() if name not in told], timeout)

    def look_at_sent(self, parts: Mapping[str, str], sources: Mapping[str, ModuleSource]) -> None:
        """Warn of modules that went to the server as their files are, and not as they were loaded.

        The tasks have been taken: what the server has of them and those modules is known now.
        """
        ours = {name: version(source) for name, source in sources.items()}
        self._caller.learn_hashes({**_of_tasks(parts), **ours})
        found = _named([name for name, source in sources.items() if source.edited])
        if found:
            _warn(
                "edited since this program imported them, so that the version it runs can't be "
                f"sent: {', '.join(found)}. The server at {self._address} has got the files as "
                "they are now: reload them here (importlib.reload), or start this program again",
                found,
            )

    def look_at_call(self, packed: Payload, timeout: float | None) -> float | None:
        """Warn if arguments name code that the server has in another version.

        Gives what is left of the `timeout` then.
        """
        deadline = deadline_in(timeout)
        self._look_at_named(packed, timeout)
        return seconds_left(deadline)

    def _look_at_named(self, packed: Payload, timeout: float | None) -> None:
        ours = self._named_in(packed)
        if not ours:
            return
        theirs: Mapping[str, str | None] = self._caller.known_hashes()
        if any(_is_open(name, theirs.get(name, ""), ours[name]) for name in ours):
            asked = self._asked({**ours, _HAS_TASKS: ""}, timeout)
            if asked is None:
                return
            if asked.get(_HAS_TASKS) is None:  # which it may get any time
                self._caller.learn_hashes(
                    {name: it for name, it in asked.items() if not name.startswith(modules.TASKS)}
                )
            theirs = asked
        if not self._compare(ours, theirs, timeout):
            self._look_at_classes(ours, timeout)

    def look_at_exit(self, told: tuple[str, str] | None, timeout: float | None) -> None:
        """Warn if the server's exit task, for whose response somebody waits, is not this program's.

        `told` are the module and name of the one that this client has initialised the server with.
        Of any other client's only one is known to be the same: that which is called `exit_task`
        in its script, as this program's is. In a server's own process that is its own.
        """
        exit_task = _function_at(*(told or _USUAL))
        if exit_task is None or (told is None and current.chain()):
            return
        tasks = TaskParts(of_tasks({"exit_task": exit_task}, data=False))
        ours = modules.versions({exit_task.__module__})
        if told is None:
            theirs = self._asked(tasks.asked, timeout)
            if theirs is None or theirs.get(_EXIT_TASK) != tasks.asked[_EXIT_TASK]:
                return
        found = self._other_tasks(tasks, ours, timeout)
        if found:
            _warn(
                f"the server at {self._address} will run the exit_task it was given, not this "
                f"program's; different: {', '.join(found)}. What this program's would respond or "
                "save is lost with the state: fetch it with call() before you terminate the server",
                found,
            )

    def look_at_submit(self, packed: Payload) -> None:
        """The same with what is known of the server's code."""
        ours = self._named_in(packed)
        if ours and not self._compare(ours, self._caller.known_hashes(), None, asks=False):
            self._look_at_classes(ours, None, asks=False)

    def _other_tasks(
        self, tasks: TaskParts, ours: Mapping[str, str], timeout: float | None
    ) -> list[str]:
        """The parts of tasks, and the modules, that the server has in another version or lacks."""
        theirs = self._asked({**tasks.asked, **ours}, timeout)
        if theirs is None:
            return []
        others = [name for name in ours if ours[name] != theirs.get(name)]
        if tasks.are_theirs(theirs):  # a module that it lacks may be its script
            others = [name for name in others if theirs.get(name) is not None]
        return tasks.others(theirs) + _named(self._with_other_code(others, timeout))

    def _named_in(self, packed: Payload) -> dict[str, str]:
        """The versions of the modules that arguments name, and of what they bring of the script."""
        head, _, code = packed
        parts = head if isinstance(head, tuple) else (head,)
        texts: set[str] = set()
        for part in parts:
            if isinstance(part, bytes):  # else it is an object's own memory
                texts |= modules.texts_in(part)
        found = modules.named_in(texts)
        ours = modules.versions(found) if found else {}
        # Also where no code is in it: a class may have none.
        by_value = code or arrival.__name__ in texts
        return {**ours, **_of_tasks(of_parts(texts))} if by_value else ours

    def _asked(
        self, names: Mapping[str, str], timeout: float | None
    ) -> Mapping[str, str | None] | None:
        """What the server says now of `names`; None if not in time, which the call will tell."""
        known = {
            name: found
            for name, found in self._caller.known_hashes().items()
            if names.get(name, found) == found
        }
        self._caller.learn_hashes(known)
        with suppress(CallTimeout):
            return self._caller.hashes(names, timeout)
        return None

    def _with_other_code(
        self, names: list[str], timeout: float | None, asks: bool = True
    ) -> list[str]:
        """Those of which not only comments and the look of the lines are others."""
        ours = modules.code_versions(name for name in names if not name.startswith(modules.TASKS))
        if not ours:
            return names
        theirs = self._asked(ours, timeout) if asks else self._caller.known_hashes()
        theirs = theirs or {}
        return [
            name
            for name in names
            if (code := modules.CODE + name) not in ours or theirs.get(code) != ours[code]
        ]

    def _compare(
        self,
        ours: Mapping[str, str],
        theirs: Mapping[str, str | None],
        timeout: float | None,
        asks: bool = True,
    ) -> bool:
        """Warn of what differs; gives whether anything does. It `asks` what isn't known."""
        # Of a module that it lacks the call itself will tell; what its tasks lack is new to it.
        other = [name for name in ours if theirs.get(name) and _differs(name, ours, theirs)]
        other = self._with_other_code(other, timeout, asks)
        kept = [name for name in other if name.startswith(modules.TASKS)]
        found = _named(other)
        if not found:
            return False
        runs = "The server's version of modules runs in the call. "
        if kept:
            own = (
                "The call brings this program's version of what is defined in its script, but the "
            )
            own += "server's tasks still use theirs. "
            runs = own if len(kept) == len(other) else own + runs
        _warn(
            f"the server at {self._address} has loaded another version than this program; "
            f"different: {', '.join(found)}. {runs}To replace what the server has, {WAY_OUT}",
            found,
        )
        return True

    def _look_at_classes(
        self, ours: Mapping[str, str], timeout: float | None, asks: bool = True
    ) -> None:
        """Warn of classes of the script that went to this server before they were defined anew.

        What is known to have gone there stands with the versions that the server has told. It
        `asks` what has come from others: from an earlier run of the script, above all.
        """
        prefix = modules.TASKS + _PREFIX
        script = vars(sys.modules[SCRIPT])
        classes = {
            name: ours[f"{prefix}{name}"]
            for name in (each.removeprefix(prefix) for each in ours if each.startswith(prefix))
            if class_numbers.is_called(script.get(name), name)
        }
        if not classes:
            return
        if asks:
            known = self._caller.known_hashes()
            first = [name for name in classes if not known.get(_SENT + name)]
            self._warn_of_kept(first, timeout)
        known = self._caller.known_hashes()
        gone = {f"{_SENT}{name}": found for name, found in classes.items()}
        found = [
            f"{SCRIPT}.{name.removeprefix(_SENT)}"
            for name in gone
            if (before := known.get(name)) and are_different(before, gone[name])
        ]
        self._caller.learn_hashes({**known, **gone})
        if found:
            _warn(
                f"defined anew since objects of it went to the server at {self._address}: "
                f"{', '.join(found)}. What the server has kept of the first class is no instance "
                "of the new one: put classes whose objects live in the state into a module",
                found,
            )

    def _warn_of_kept(self, names: list[str], timeout: float | None) -> None:
        """Warn of this script's classes of which its earlier runs have sent another version."""
        theirs = names and self._asked({modules.CLASSES + name: "" for name in names}, timeout)
        if not theirs:
            return
        script = vars(sys.modules[SCRIPT])
        found = [
            f"{_PREFIX}{name}"
            for name in names
            if (there := theirs.get(modules.CLASSES + name))
            and arrival.has_other(there, script[name])
        ]
        if found:
            _warn(
                f"the server at {self._address} has another version of classes of this script, "
                f"from an earlier run of it; different, or using what is: {', '.join(found)}. "
                "Objects of that version which it has kept are no instances of this program's "
                f"classes: put classes whose objects live in the state into a module, or {WAY_OUT}",
                found,
            )


class Edits:
    """Whether a server's init file was edited since it was loaded, as far as its record tells."""

    def __init__(self) -> None:
        self._told: tuple[str, list[str]] = "", []
        """Of which server, by its incarnation, and which modules."""

    def look(self, place: Address) -> None:
        """Warn if it was, and that has not been told yet."""
        try:
            token = tokens.find(None, place)
        except (BgpyError, OSError) as error:  # connecting tells it
            if is_strike(error):
                raise
            return
        if token is not None and token.record is not None:
            edits, told = edited(token.record.modules), self._told
            self._told = token.record.incarnation, edits
            if edits and self._told != told:
                warn_of_edits(place, token.record.started, edits)


def warn_of_edits(address: object, started: str, edits: list[str]) -> None:
    """Warn that a running server's init file, or modules that it uses, were edited since."""
    found = _named(edits)
    _warn(
        f"edited since the server at {address} loaded it: {', '.join(found)}. The server runs "
        f"what it loaded when it was started, at {started}. To replace that, terminate the "
        "server and start it again",
        found,
    )


_SENT = "sent:"
"""Before the name of a class of the script, among what is known of a server."""

_PREFIX = f"{SCRIPT}."

_USUAL = ("__main__", "exit_task")
"""Where a script's exit task is found, as far as another program can know."""

_EXIT_TASK = f"{modules.TASKS}exit_task"

_HAS_TASKS = f"{modules.TASKS}exec_task"
"""What a server has a fingerprint of if it has tasks."""


def _of_tasks(parts: Mapping[str, str]) -> dict[str, str]:
    """Fingerprints by the names that a server is asked for."""
    return {modules.TASKS + name: found for name, found in parts.items()}


def name_of(task: object) -> tuple[str, str] | None:
    """The module and the name by which a task is found again, where it has such."""
    return (task.__module__, task.__qualname__) if type(task) is FunctionType else None


def _classes() -> list[str]:
    """The names of the classes of this script that it has by their names."""
    values = list(vars(sys.modules[SCRIPT]).items())
    return [name for name, it in values if class_numbers.is_called(it, name)]


def _function_at(module: str, name: str) -> FunctionType | None:
    """The function that goes by that name now; it may have been defined anew."""
    found = vars(sys.modules.get(module, object)).get(name)
    return found if type(found) is FunctionType else None


def _differs(name: str, ours: Mapping[str, str], theirs: Mapping[str, str | None]) -> bool:
    """Whether the server's version of a module or part of its tasks, or that it has none, is known
    to be another than this program's."""
    one, other = ours[name], theirs.get(name)
    if other is not None and name.startswith(modules.TASKS):
        return are_different(one, other)
    return one != other


def _is_open(name: str, theirs: str | None, ours: str) -> bool:
    """Whether the server has to be asked: a module it may have by now, of its tasks nothing new."""
    return theirs != ours and not (theirs is None and name.startswith(modules.TASKS))


def _named(names: list[str]) -> list[str]:
    """As people know them, those of the script first."""
    parts = sorted(name.removeprefix(modules.TASKS) for name in names if modules.TASKS in name)
    return [*parts, *(f"module {name}" for name in sorted(names) if modules.TASKS not in name)]


def _warn(text: str, differences: list[str]) -> None:
    """Warn at the line of the program's that has called bgpy."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and is_ours(frame.f_globals.get("__name__")):
        level, frame = level + 1, frame.f_back
    if is_ours(frame.f_globals.get("__name__")):
        level += 1
    warnings.warn(StaleCodeWarning(text, tuple(differences)), stacklevel=level)
