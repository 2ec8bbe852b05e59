"""The folder of a server: what it leaves on disk so that others find it.

::

    $BGPY_HOME, else the platform's state folder for "bgpy"
    └── <host name>                    homes are shared between machines; processes aren't
        ├── certificate.pem            key and certificate of its servers that speak TLS
        ├── sockets                    Unix sockets of servers that were given no address
        ├── tokens                     of servers elsewhere, by address (``bgpy add``)
        └── servers
            └── 127.0.0.1-54321        the address, made safe as a file name; mode 0700
                ├── guard              held briefly by any process that reads or changes these
                ├── lock               held by the server as long as it lives
                ├── record.json        identifies that server (`Record`)
                ├── token              its token
                └── log                what it printed; stays when it ends

A record is *alive* when the lock is held **and** its process isn't known to be gone: the lock
alone may be held by a child that the server forked, and the pid alone may belong to another
process by now. Where the process can't be seen (``/proc`` hides it, it is in another pid
namespace, this process has no descriptor left), the lock decides. To test the lock a process
takes it for a moment, under the guard only: a server that starts just then waits for the
guard, instead of mistaking the tester for a running server.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, fields

from bgpy.address import Address, wildcards
from bgpy.late import json
from bgpy.state.folders import Folder, below_host, exists_privately, folder
from bgpy.system import files
from bgpy.system.locks import guarded, is_held
from bgpy.system.processes import ProcessId, boot_id, pid_namespace


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

    Raises `StartupError` if this account has no home folder, if other users could have
    written the record, or if it can't be read.
    """
    host, port = address
    place = folder(host, port)
    if not exists_privately(place.path):
        return None
    record = load(place)
    return record if record is not None and _is_alive(record, place) else None


def find_dead(address: tuple[str, int]) -> Record | None:
    """Give the record that a server at a (parsed) address left when it was killed or crashed.

    None if a server runs there, or the last one ended in order. Errors as in `find`.
    """
    place = folder(*address)
    if not exists_privately(place.path):
        return None
    record = load(place)
    return None if record is None or _is_alive(record, place) else record


def written_by(incarnation: bytes, address: Address) -> Record | None:
    """Give the record of that very server, alive or not; None if there is none any more.

    A server on all interfaces is found at their address as well. Errors as in `find`.
    """
    for there in (address, *wildcards(address)):
        place = folder(*there)
        record = load(place) if exists_privately(place.path) else None
        if record is not None and record.incarnation == incarnation.hex():
            return record
    return None


def token_for(address: tuple[str, int]) -> str | None:
    """Give the token of the server that runs at a (parsed) address; errors as in `find`."""
    if find(address) is None:
        return None
    return files.read(folder(*address).token)


def is_alive(record: Record) -> bool:
    """Tell whether the server that wrote the record still runs, on this boot."""
    return _is_alive(record, folder(record.host, record.port))


def forget(address: tuple[str, int]) -> None:
    """Remove record and token of a dead server; a living server keeps its own."""
    place = folder(*address)
    if not exists_privately(place.path):
        return
    with guarded(place.guard):
        # Read under the guard: a process that claims the address meanwhile removes the record.
        record = load(place)
        alive = record is not None and not record.is_gone() and is_held(place.lock)
        if not alive and (record is not None or not is_held(place.lock)):
            remove(place)


def forget_killed(process: ProcessId) -> None:
    """Remove record and token of the server that `process`, which was killed, has been."""
    servers = below_host("servers")
    if not exists_privately(servers):
        return
    for name in os.listdir(servers):
        record = load(Folder(os.path.join(servers, name)))
        if record is not None and (record.pid, record.start_time) == (
            process.pid,
            process.start_time,
        ):
            forget((record.host, record.port))


def load(place: Folder) -> Record | None:
    """Read the record; None if it is missing or damaged."""
    try:
        content = json().loads(files.read(place.record) or "")
        names = [field.name for field in fields(Record)]
        record = Record(**{name: content[name] for name in names if name in content})
        return record if _has_its_kinds(record) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _has_its_kinds(record: Record) -> bool:
    identity = (record.host, record.start_time, record.boot_id, record.incarnation)
    texts = (*identity, record.started, record.folder, record.script)
    numbers = (record.port, record.pid, record.pid_namespace)
    return all(type(each) is int for each in numbers) and all(type(each) is str for each in texts)


def _is_alive(record: Record, place: Folder) -> bool:
    if record.is_gone() or not exists_privately(place.path):
        return False
    with guarded(place.guard):
        return is_held(place.lock)


def remove(place: Folder) -> None:
    """Remove record and token, and the leftovers of interrupted writes."""
    # The record first: no client finds a record whose token is missing.
    files.remove(place.record)
    files.remove(place.token)
