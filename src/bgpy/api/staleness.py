"""Notices that a server runs other code than this program has loaded, and says so.

::

    initialize ─► tasks that the server has already, and the modules that they use
    call, execute ─► modules of the user's that the arguments name, and what those use

A server tells the version of each module and part of its tasks once; the answers are kept as
long as it runs. `submit` waits for nobody: it compares with what is known.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress

from bgpy.calling.blocking.caller import Caller
from bgpy.codec import modules
from bgpy.codec.loaded import ModuleSource, version
from bgpy.errors import CallTimeout, StaleCodeWarning
from bgpy.memory import Payload

_GLOBAL = 0x93
"""The byte in each pickle that names a function or class."""

WAY_OUT = "terminate the server, start it again and initialise it"


def may_name_code(packed: Payload) -> bool:
    """Whether arguments may name functions or classes; most don't, and this must cost nothing.

    What goes by value always does.
    """
    head = packed[0]
    return _GLOBAL in head if head.__class__ is bytes else True


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
        asked = {modules.TASKS + name: found for name, found in parts.items()}
        theirs = self._asked({**asked, **ours}, timeout)
        if theirs is None:
            return
        found = [name[len(modules.TASKS) :] for name in asked if asked[name] != theirs.get(name)]
        found += _named(name for name in ours if ours[name] != theirs.get(name))
        if found:
            _warn(
                f"the server at {self._address} has tasks already and keeps them, and they are not "
                f"the ones of this program; different: {', '.join(found)}. To replace them, "
                f"{WAY_OUT}",
                found,
            )

    def look_at_sent(self, sources: Mapping[str, ModuleSource]) -> None:
        """Warn of modules that went to the server as their files are, and not as they were loaded.

        The tasks have been taken: what the server has of those modules is known now.
        """
        self._caller.learn_hashes({name: version(source) for name, source in sources.items()})
        found = _named(name for name, source in sources.items() if source.edited)
        if found:
            _warn(
                f"edited since this program imported them, and what it has loaded is lost: "
                f"{', '.join(found)}. The server at {self._address} has the files as they are now: "
                "import them anew here (importlib.reload), or start this program again",
                found,
            )

    def look_at_call(self, packed: Payload, timeout: float | None) -> None:
        """Warn if arguments name modules that the server has in another version."""
        ours = self._named_in(packed)
        if not ours:
            return
        theirs = self._caller.known_hashes()
        if any(ours[name] != theirs.get(name) for name in ours):
            asked = self._asked(ours, timeout)
            if asked is not None:
                self._compare(ours, asked)

    def look_at_submit(self, packed: Payload) -> None:
        """The same with what is known of the server's modules."""
        ours = self._named_in(packed)
        if ours:
            self._compare(ours, self._caller.known_hashes())

    def _named_in(self, packed: Payload) -> dict[str, str]:
        head = packed[0]
        parts = head if isinstance(head, tuple) else (head,)
        # What is no bytes is an object's own memory.
        texts = [part for part in parts if isinstance(part, bytes)]
        found = {name for text in texts for name in modules.named_in(text)}
        return modules.versions(found) if found else {}

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

    def _compare(self, ours: Mapping[str, str], theirs: Mapping[str, str | None]) -> None:
        # Of a module that it lacks the call itself will tell.
        found = _named(name for name in ours if theirs.get(name) not in (None, ours[name]))
        if found:
            _warn(
                f"the server at {self._address} has another version than this program has loaded "
                f"of {', '.join(found)}, and the call runs with the server's. To replace it, "
                f"{WAY_OUT}",
                found,
            )


def _named(names: Iterable[str]) -> list[str]:
    return [f"module {name}" for name in sorted(names)]


def _warn(text: str, differences: list[str]) -> None:
    """Warn at the line of the program's that has called bgpy."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__")):
        level, frame = level + 1, frame.f_back
    warnings.warn(StaleCodeWarning(text, tuple(differences)), stacklevel=level)


def _is_ours(name: object) -> bool:
    return isinstance(name, str) and name.startswith("bgpy.") and "example" not in name
