"""The folder of a server: what it leaves on disk so that others find it.

::

    $BGPY_HOME, else the platform's state folder for "bgpy"
    └── <host name>                    homes are shared between machines; processes aren't
        ├── certificate.pem            key and certificate of its servers that speak TLS
        ├── sockets                    Unix sockets of servers that were given no address
        ├── tokens                     of servers elsewhere, by address (``bgpy add``)
        └── servers
            └── 127.0.0.1-54321        the address, made safe as a file name; mode 0700
                ├── guard              held for a moment by whoever looks or changes
                ├── lock               held by the server as long as it lives
                ├── record.json        who that server is (`Record`)
                ├── token              its token
                └── log                what it printed; stays when it ends

A record is *alive* when the lock is held **and** its pid with that start time exists on
this boot: a lock alone may be held by a child that the server forked, a pid alone may
belong to another process by now. Looking whether the lock is held means taking it, so
that is done under the guard only: a server that starts at that moment waits, instead of
taking the one who looks for a server.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields

from bgpy.errors import StartupError
from bgpy.state.folders import (
    Folder,
    exists_privately,
    folder,
    make_private,
)
from bgpy.system import files
from bgpy.system.locks import guarded, is_held, open_lock, try_lock, unlock
from bgpy.system.processes import boot_id, start_time


@dataclass(frozen=True)
class Record:
    """Who the server at an address is, as it wrote it down when it became ready."""

    host: str
    port: int
    pid: int
    start_time: str
    """What `start_time` gave for the pid: tells it from a later process of that number."""
    boot_id: str
    """`boot_id` in hexadecimal."""
    python: str
    version: str
    incarnation: str
    """Made anew at each start, in hexadecimal."""
    log_file: str | None = None
    init_file: str | None = None


class Claim:
    """The right to be the server at an address, from `claim` until `release`."""

    def __init__(self, host: str, port: int, folder: Folder, lock_fd: int) -> None:
        self.host = host
        self.port = port
        self.folder = folder
        self.lock_fd = lock_fd
        self._owner = os.getpid()

    def write(self, record: Record, token: str | None) -> None:
        """Make the server findable; call it once it listens, and again to change it."""
        # The token first: whoever finds the record finds its token too.
        if token is not None:
            files.replace(self.folder.token, token)
        import json  # 2 ms that a program without a server never needs

        files.replace(self.folder.record, json.dumps(asdict(record), indent=1))

    def release(self) -> None:
        """Remove record and token and let the lock go; the log stays. Harmless if repeated.

        In a forked child it only closes the child's copy of the lock.
        """
        if self.lock_fd < 0:
            return
        if os.getpid() == self._owner:
            with guarded(self.folder.guard):
                _remove(self.folder)
                # Explicitly: closing alone leaves it held by children that were forked.
                unlock(self.lock_fd)
        self.close_in_child()

    def drop(self) -> None:
        """Remove record and token without waiting for anybody: this process exits now."""
        if self.lock_fd >= 0 and os.getpid() == self._owner:
            _remove(self.folder)

    def close_in_child(self) -> None:
        """Close this process's copy of the lock, so that only the server itself holds it."""
        if self.lock_fd >= 0:
            os.close(self.lock_fd)
            self.lock_fd = -1


def claim(address: tuple[str, int]) -> Claim:
    """Become the server at that (parsed) address, or say who is.

    What a server that died there left behind is removed, except for its log. Raises
    `StartupError` if another process holds the address, or there is no private folder
    to write in. The caller then calls `Claim.write`, and at its end `Claim.release`.
    """
    host, port = address
    place = folder(host, port)
    make_private(place.path)
    with guarded(place.guard):
        lock_fd = open_lock(place.lock)
        try:
            if not try_lock(lock_fd):
                raise StartupError(_taken(address, _load(place)))
            _remove(place)
        except BaseException:
            os.close(lock_fd)
            raise
    return Claim(host, port, place, lock_fd)


def find(address: tuple[str, int]) -> Record | None:
    """Give the record of the server that runs at that (parsed) address, None without one.

    Raises `StartupError` without a home, where others could have written the record, and
    where it can't be read.
    """
    host, port = address
    place = folder(host, port)
    if not exists_privately(place.path):
        return None
    record = _load(place)
    return record if record is not None and _is_alive(record, place) else None


def token_for(address: tuple[str, int]) -> str | None:
    """Give the token of the server that runs at that (parsed) address; else as `find`."""
    if find(address) is None:
        return None
    return files.read(folder(*address).token)


def is_alive(record: Record) -> bool:
    """Tell whether the server that wrote the record still runs, on this boot."""
    return _is_alive(record, folder(record.host, record.port))


def forget(address: tuple[str, int]) -> None:
    """Remove record and token of a server that is dead; those of a living one stay."""
    place = folder(*address)
    if not exists_privately(place.path):
        return
    with guarded(place.guard):
        # Read under the guard: who claims the address meanwhile has removed it already.
        record = _load(place)
        alive = record is not None and _process_exists(record) and is_held(place.lock)
        if not alive and (record is not None or not is_held(place.lock)):
            _remove(place)


def _load(place: Folder) -> Record | None:
    """Read the record; None where there is none or it can't be understood."""
    import json

    try:
        content = json.loads(files.read(place.record) or "")
        record = Record(**{field.name: content[field.name] for field in fields(Record)})
        return record if _has_its_kinds(record) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _has_its_kinds(record: Record) -> bool:
    texts = (record.host, record.start_time, record.boot_id, record.incarnation)
    return type(record.port) is type(record.pid) is int and all(type(each) is str for each in texts)


def _is_alive(record: Record, place: Folder) -> bool:
    if not (_process_exists(record) and exists_privately(place.path)):
        return False
    with guarded(place.guard):
        return is_held(place.lock)


def _process_exists(record: Record) -> bool:
    return record.boot_id == boot_id().hex() and start_time(record.pid) == record.start_time


def _taken(where: object, record: Record | None) -> str:
    if record is None:
        return f"another server is starting or ending at {where}; try again, or another address"
    if not _process_exists(record):
        return (
            f"the server at {where} (pid {record.pid}) is dead, but a process that it "
            "started still holds its place; end that one, or choose another address"
        )
    return (
        f"a server runs at {where} already (pid {record.pid}); stop it, or choose another address"
    )


def _remove(place: Folder) -> None:
    # The record first: nobody finds one whose token is missing.
    files.remove(place.record)
    files.remove(place.token)
