"""The claim to an address: exactly one process at a time may be the server there.

The process that holds the lock of a server's folder is the server, from its start to its
end. The record that it writes there lets clients find it (`bgpy.state.records`).
"""

from __future__ import annotations

import os
import threading
from dataclasses import asdict, replace

from bgpy.address import Address
from bgpy.late import json
from bgpy.state import records
from bgpy.state.folders import Folder, folder, make_private
from bgpy.state.occupied import taken
from bgpy.state.records import Record
from bgpy.system import files
from bgpy.system.locks import guarded, open_lock, try_lock, unlock
from bgpy.system.strikes import is_strike


class Claim:
    """The right to be the server at an address, from `claim` until `release`.

    The server's standby renews the claim while its main thread may release it. Both hold
    ``_changing`` from their first look at the files to their last change of them, so that nothing
    is claimed anew after the release, and no lock is closed that the other one looks at. Who waits
    for it waits for files alone: neither calls anything of the user's. A handler of a signal that
    raises there leaves the release undone, and `release` may be called again. A forked child
    doesn't take it: the thread that held it in its parent is not there. Nor does `drop`, which a
    handler calls.
    """

    def __init__(
        self, host: str, port: int, folder: Folder, lock_fd: int, before: Record | None
    ) -> None:
        self.host = host
        self.port = port
        self.folder = folder
        self.lock_fd = lock_fd
        self._owner = os.getpid()
        self._changing = threading.Lock()
        self._before = before
        self._published: tuple[Record, str | None] | None = None

    def write(self, record: Record, token: str | None) -> None:
        """Publish record and token. Call it once the server listens, and after each change."""
        self._published = record, token
        # The token first: a client that finds the record finds its token too.
        if token is not None:
            files.replace(self.folder.token, token)
        files.replace(self.folder.record, json().dumps(asdict(record), indent=1))

    def release(self, ended: str = "") -> None:
        """Remove record and token and release the lock; the log stays. Harmless if repeated.

        With `ended`, how the server ended, its record is kept aside for those who ask that.
        In a forked child this only closes the child's copy of the lock.
        """
        if os.getpid() != self._owner:
            self.close_in_child()
            return
        with self._changing:
            if self.lock_fd >= 0:
                self._release(self._last(ended))

    def _release(self, last: Record | None) -> None:
        if self._is_in_place():
            with guarded(self.folder.guard):
                records.remove(self.folder, last)
                # Explicitly: closing alone leaves it held by children that were forked.
                unlock(self.lock_fd)
        else:  # the folder was removed, or is another server's by now
            unlock(self.lock_fd)
        self._close()

    def renew(self) -> bool:
        """Claim the address once more if its folder was removed below this server.

        Clients find record and token again then. Tells whether that was done. Raises `StartupError`
        where the folder can't be made, or is claimed by another server by now.
        """
        with self._changing:
            published = self._published
            if self.lock_fd < 0 or published is None or self._is_in_place():
                return False
            again = claim((self.host, self.port))
            os.close(self.lock_fd)
            self.lock_fd = again.lock_fd
            self.write(*published)
            return True

    def _is_in_place(self) -> bool:
        """Whether the lock that this process holds is the one that others would look at."""
        try:
            return os.path.samestat(os.stat(self.folder.lock), os.fstat(self.lock_fd))
        except OSError as error:  # removed, or something else is there: no lock that others take
            if is_strike(error):
                raise
            return False

    def drop(self, ended: str) -> None:
        """As `release`, without waiting for the guard: this process exits now."""
        if self.lock_fd >= 0 and os.getpid() == self._owner:
            records.remove(self.folder, self._last(ended))

    def _last(self, ended: str) -> Record | None:
        """The record to keep of a server that ended so; that of the one before it if it never was.

        None if there is none.
        """
        if self._published is None:
            return self._before
        if not ended:
            return None
        return replace(self._published[0], ended=ended)

    def close_in_child(self) -> None:
        """Close this process's copy of the lock, so that only the server itself holds it."""
        if self.lock_fd >= 0:
            self._close()

    def _close(self) -> None:
        os.close(self.lock_fd)
        self.lock_fd = -1


def claim(address: tuple[str, int]) -> Claim:
    """Claim a (parsed) address for the server of this process.

    Removes the record and token of a server that died there; its log stays, and if this server
    never comes to be, the record comes back (``ended.json``). Raises `StartupError` if another
    process holds the address, naming it, or if the folder can't be made private. The caller then
    calls `Claim.write`, and at its end `Claim.release`.
    """
    host, port = address
    place = folder(host, port)
    make_private(place.path)
    with guarded(place.guard):
        lock_fd = open_lock(place.lock)
        try:
            if not try_lock(lock_fd):
                there = Address(host, port)
                raise taken(there, there, records.last(place))
            before = records.ended(place)
            records.remove(place)
        except BaseException:
            os.close(lock_fd)
            raise
    return Claim(host, port, place, lock_fd, before)
