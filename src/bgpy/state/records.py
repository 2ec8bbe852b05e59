"""The folder of a server: what it leaves on disk so that others find it.

::

    $BGPY_HOME, else the platform's state folder for "bgpy"
    └── <machine>                      homes are shared between machines; processes aren't
        ├── certificate.pem            key and certificate of its servers that speak TLS
        ├── sockets                    Unix sockets of servers that were given no address
        ├── tokens                     of servers elsewhere, by address (``bgpy add``)
        └── servers
            └── 127.0.0.1-54321        the address, made safe as a file name; mode 0700
                ├── guard              held briefly by any process that reads or changes these
                ├── lock               held by the server as long as it lives
                ├── record.json        identifies that server (`Record`)
                ├── token              its token
                ├── ended.json         the record of the last one, with how it ended if it knew
                └── log                what it printed; stays when it ends

A record is *alive* when the lock is held **and** its process isn't known to be gone: the lock
alone may be held by a child that the server forked, and the pid alone may belong to another
process by now. Where the process can't be seen (``/proc`` hides it, it is in another pid
namespace, this process has no descriptor left), the lock decides. To test the lock a process
takes it for a moment, under the guard only: a server that starts just then waits for the
guard, instead of mistaking the tester for a running server.

A server that ends itself removes its token and leaves its record as ``ended.json``, in which it
says how it ended, or why it could not start; whoever kills it by its handle says so there. One that
crashes or is killed leaves record and token. Whoever looks at its address puts them away, and each
server that starts does so for all addresses: the token is removed, the record becomes
``ended.json``. From that file ``bgpy doctor`` tells how the last server ended, until the next one
is there.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from bgpy.address import Address, wildcards
from bgpy.late import json
from bgpy.state.folders import Folder, exists_privately, places, server_folders
from bgpy.system import files
from bgpy.system.locks import guarded, is_held
from bgpy.system.processes import ProcessId, boot_id, pid_namespace
from bgpy.system.strikes import is_strike

IN_ORDER = "ended in order"
"""How the words begin that a server leaves of its end if all of its tasks have run."""


@dataclass(frozen=True)
class Record:
    """Identifies the server at an address; the server writes it when it is ready."""

    host: str
    port: int
    pid: int
    start_time: str
    """`start_time` of the pid: tells the process from a later one with the same pid."""
    boot_id: str
    """`boot_id` in hexadecimal."""
    python: str
    version: str
    incarnation: str
    """Made anew at each start, in hexadecimal."""
    log_file: str | None = None
    init_file: str | None = None
    pid_namespace: int = 0
    """`pid_namespace` of the process, the only one in which its pid is valid; 0 if unknown."""
    started: str = ""
    """The local time at which it was written, ``2026-01-31 23:59:59``."""
    folder: str = ""
    """The working directory of the process, that of its starter."""
    script: str = ""
    """The script that has started the server; empty where there was none."""
    ended: str = ""
    """How and when the server ended, for people; empty while it runs, or if it couldn't say."""
    modules: dict[str, Any] = field(default_factory=dict, hash=False)
    """The modules that its init file's tasks use, by name, with what `bgpy.codec.edits` needs."""

    @classmethod
    def of_this_process(
        cls,
        address: tuple[str, int],
        incarnation: bytes,
        version: str,
        log_file: str | None = None,
        init_file: str | None = None,
        script: str = "",
    ) -> Record:
        """The record of a server at that address, in the process that calls this."""
        process = ProcessId.of(os.getpid())
        return cls(
            *address,
            process.pid,
            process.start_time or "",
            boot_id().hex(),
            ".".join(map(str, sys.version_info[:3])),
            version,
            incarnation.hex(),
            log_file,
            init_file,
            pid_namespace(),
            time.strftime("%Y-%m-%d %H:%M:%S"),
            _working_directory(),
            script,
        )

    def origin(self) -> str:
        """Which server it is, for people: what started it, where and when; empty if unknown."""
        what = self.script or self.init_file
        parts = (what, self.folder and f"in {self.folder}", self.started and f"at {self.started}")
        return ", ".join(part for part in parts if part)

    def is_gone(self) -> bool:
        """Whether the process that wrote this record is known to be gone."""
        if self._is_of_another_boot():
            return True
        if self._is_of_another_namespace():
            return False  # that pid means another process here
        return ProcessId(self.pid, self.start_time).is_gone()

    def fate(self) -> str:
        """What became of a server that is dead and has left this record, for people."""
        if self.ended:
            return f"it {self.ended}"
        if self._is_of_another_boot():
            return (
                f"it (process {self.pid}) ran before this machine was last started, and ended "
                "with it or before"
            )
        if self._is_of_another_namespace():
            return (
                f"it (process {self.pid} of another container) was killed or crashed, or its "
                "container has ended"
            )
        return f"its process {self.pid} was killed or crashed"

    def _is_of_another_boot(self) -> bool:
        return len({self.boot_id, boot_id().hex()} - {bytes(16).hex()}) > 1

    def _is_of_another_namespace(self) -> bool:
        return len({self.pid_namespace, pid_namespace()} - {0}) > 1


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it was removed


def find(address: tuple[str, int]) -> Record | None:
    """Give the record of the server that runs at a (parsed) address; None if none runs.

    What a dead one has left is put away (`bury`). Raises `StartupError` if this account has no home
    folder, if other users could have written the record, or if it can't be read.
    """
    found = _found(address)
    return None if found is None else found[0]


def _found(address: tuple[str, int]) -> tuple[Record, Folder] | None:
    for place in _private(address):
        record = load(place)
        if record is not None and _is_alive(record, place):
            return record, place
        if record is not None:
            bury(place)
    return None


def _private(address: tuple[str, int]) -> Iterator[Folder]:
    """The folders of servers at a (parsed) address; raises `StartupError` as `find`."""
    return (place for place in places(*address) if exists_privately(place.path))


def find_dead(address: tuple[str, int]) -> Record | None:
    """Give the record of the last server at a (parsed) address, if it was killed or crashed.

    None if a server runs there, or the last one ended in order. Errors as in `find`.
    """
    if find(address) is not None:
        return None
    left = map(last, _private(address))
    return next((record for record in left if record is not None), None)


def find_ended(address: tuple[str, int]) -> Record | None:
    """Give the record of the last server at a (parsed) address, however it ended.

    None if a server runs there, or none is known. Errors as in `find`.
    """
    if find(address) is not None:
        return None
    left = (_read(place.ended) for place in _private(address))
    return next((record for record in left if record is not None), None)


def written_by(incarnation: bytes, address: Address) -> Record | None:
    """Give the record of that very server, alive or not; None if there is none any more.

    A server on all interfaces is found at their address as well. Errors as in `find`.
    """
    for there in (address, *wildcards(address)):
        for place in _private(there):
            record = last(place)
            if record is not None and record.incarnation == incarnation.hex():
                return record
    return None


def found_with_token(address: tuple[str, int]) -> tuple[Record, str] | None:
    """Give record and token of the server that runs at a (parsed) address; errors as in `find`.

    None if none runs there, or it keeps no token.
    """
    found = _found(address)
    token = None if found is None else files.read(found[1].token)
    return None if found is None or token is None else (found[0], token)


def put_away(process: ProcessId, how: str, why: str) -> None:
    """Put away what the server left that `process` was, which was killed; its record says how.

    What it has said of its end itself stays. Raises `StartupError` as `prune`.
    """
    for place in server_folders():
        with guarded(place.guard):
            record = last(place)
            if record is None or (record.pid, record.start_time) != (
                process.pid,
                process.start_time or "",
            ):
                continue
            if not _is_claimed(place):
                remove(place, replace(record, ended=ending(how, why)))


def ending(how: str, why: str) -> str:
    """How a server ends now, for its record: ``ended in order at 2026-01-31 23:59:59: why``."""
    return f"{how} at {time.strftime('%Y-%m-%d %H:%M:%S')}: {why}"


def bury(place: Folder) -> bool:
    """Remove the token of a dead server, and put its record aside for who asks how it ended.

    A living server, or one that is just starting, keeps its own. Tells whether anything was done;
    where this process may not write, nothing is.
    """
    try:
        with guarded(place.guard):
            # Looked at under the guard: a process that claims the address meanwhile removes them.
            if _is_claimed(place):
                return False
            if load(place) is not None:
                os.replace(place.record, place.ended)
            files.remove(place.record)
            files.remove(place.token)
    except OSError as error:  # StartupError is one
        if is_strike(error):
            raise
        return False
    return True


def prune() -> list[Record]:
    """Put away what dead servers of this account have left, at whatever address.

    Gives their records. What can't be read or changed stays. Raises `StartupError` if other users
    could have written any of it.
    """
    pruned = []
    for place in server_folders():
        if not (os.path.exists(place.record) or os.path.exists(place.token)):
            continue
        try:
            record = load(place)
        except OSError as error:  # StartupError is one
            if is_strike(error):
                raise
            continue
        if bury(place) and record is not None:
            pruned.append(record)
    return pruned


def _is_claimed(place: Folder) -> bool:
    """Whether a server runs there, or is just starting or ending; with the guard held."""
    if not is_held(place.lock):
        return False
    record = load(place)
    return record is None or not record.is_gone()


def load(place: Folder) -> Record | None:
    """Read the record; None if it is missing or damaged."""
    return _read(place.record)


def last(place: Folder) -> Record | None:
    """The record of the server there, else that of the last one if it was killed or crashed."""
    record = ended(place)
    return None if record is None or record.ended else record


def ended(place: Folder) -> Record | None:
    """The record of the last server there, however it ended, where none runs now."""
    return load(place) or _read(place.ended)


def _read(path: str) -> Record | None:
    try:
        content = json().loads(files.read(path) or "")
        names = [each.name for each in fields(Record)]
        record = Record(**{name: content[name] for name in names if name in content})
        return record if _has_its_kinds(record) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _has_its_kinds(record: Record) -> bool:
    identity = (record.host, record.start_time, record.boot_id, record.incarnation)
    texts = (*identity, record.started, record.folder, record.script, record.ended)
    numbers = (record.port, record.pid, record.pid_namespace)
    kinds = ((int, numbers), (str, texts), (dict, (record.modules,)))
    return all(type(each) is kind for kind, values in kinds for each in values)


def _is_alive(record: Record, place: Folder) -> bool:
    if record.is_gone() or not exists_privately(place.path):
        return False
    with guarded(place.guard):
        return is_held(place.lock)


def remove(place: Folder, but: Record | None = None) -> None:
    """Remove record and token, and the leftovers of interrupted writes.

    Only `but`, the record of the server that ends here, is kept, for who asks how it ended.
    """
    # The record first: no client finds a record whose token is missing.
    files.remove(place.record)
    files.remove(place.token)
    files.remove(place.ended)
    if but is not None:
        try:
            files.replace(place.ended, json().dumps(asdict(but), indent=1))
        except OSError as error:  # StartupError is one; a full disk keeps no server from its end
            if is_strike(error):
                raise
