"""Compares the tasks of this program with those that a server has, part by part.

A file may be imported by one program and run by another: its functions are then a module's here
and a script's there, but the same code. So tasks of modules have a second set of fingerprints,
taken as if those modules were the script (`bgpy.codec.fingerprint.AS_SCRIPT`), and where one side
has them, these are compared. A file that is imported by two names is of that kind, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from bgpy.codec.fingerprint import AS_SCRIPT, are_different, as_script
from bgpy.codec.modules import TASKS

Hashes = Mapping[str, str | None]
"""What a server has told of names."""


class TaskParts:
    """What `fingerprint.of_tasks` says of this program's tasks, to be compared."""

    def __init__(self, parts: Mapping[str, str]) -> None:
        self._parts = {name: it for name, it in parts.items() if not name.startswith(AS_SCRIPT)}
        self._as_script = as_script(parts)
        self._are_of_modules = len(self._parts) < len(parts)
        both = self._as_script | {AS_SCRIPT + name: it for name, it in self._as_script.items()}
        self.asked = {TASKS + name: found for name, found in (both | self._parts).items()}
        """What the server is asked for, and what it has if its tasks are these."""

    def others(self, theirs: Hashes) -> list[str]:
        """The parts that the server has in another version; those it lacks, if there are none."""
        if self._are_of_modules and _are_of_modules(theirs):
            return [] if self.are_theirs(theirs) else _others(self._parts, theirs)
        return self._others_as_script(theirs)

    def are_theirs(self, theirs: Hashes) -> bool:
        """Whether the server has these tasks, be it by another name of their module.

        Modules that it lacks then are none that its tasks use.
        """
        return not self._others_as_script(theirs)

    def _others_as_script(self, theirs: Hashes) -> list[str]:
        parts = self._as_script if self._are_of_modules or _are_of_modules(theirs) else self._parts
        return _others(parts, theirs, AS_SCRIPT if _are_of_modules(theirs) else "")


def _are_of_modules(theirs: Hashes) -> bool:
    """Whether the server's tasks come from modules."""
    return any(it is not None and name.startswith(TASKS + AS_SCRIPT) for name, it in theirs.items())


def _others(parts: Mapping[str, str], theirs: Hashes, before: str = "") -> list[str]:
    there = {name: theirs.get(f"{TASKS}{before}{name}") for name in parts}
    found = [name for name, it in there.items() if it and are_different(parts[name], it)]
    # What uses a name that the server lacks is another there, as a rule, and told already.
    return found or [name for name, it in there.items() if not it]
