"""Which server of this account has an address that another one wants, and the error for it.

A server claims its address before it binds the port, and keeps the claim until the port is
closed (`bgpy.hosting.host`). So whenever a port is found in use by a server of this account,
that server's lock is held, also if it has written no record yet, or if it was given the
address in another way: ``0.0.0.0`` takes the port of ``127.0.0.1`` as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from bgpy.address import UNIX, Address, overlap
from bgpy.errors import Advice, StartupError
from bgpy.state import folders, records
from bgpy.state.folders import Folder
from bgpy.state.records import Record
from bgpy.system.locks import guarded, is_held


def by_own(wanted: Address, but: Folder) -> StartupError | None:
    """The error that names the server of this account which has the port or path of `wanted`.

    `wanted` has no name for its host. The folder `but` is that of the server that asks. None if
    no server of this account has it.
    """
    found: StartupError | None = None
    for there, place in _claimed(wanted):
        if place == but or not overlap(wanted, there):
            continue
        with guarded(place.guard):
            held, record = is_held(place.lock), records.last(place)
        if held and record is not None and not record.is_gone():
            return taken(wanted, there, record)
        if held and found is None:
            found = taken(wanted, there, record)
    return found


def on_port(port: int) -> list[Record]:
    """The records of this account's servers that run on that TCP port, at whatever address."""
    found = []
    for _, place in _claimed(Address("0.0.0.0", port)):
        with guarded(place.guard):
            held, record = is_held(place.lock), records.load(place)
        if held and record is not None and not record.is_gone():
            found.append(record)
    return found


def _claimed(wanted: Address) -> Iterator[tuple[Address, Folder]]:
    """The addresses with that port for which there is a folder, used or not."""
    for place in folders.server_folders():
        there = folders.address_of(os.path.basename(place.path))
        if there is None and wanted.path is not None:
            # A long path: the folder has its hash for a name, and its server's record the path.
            record = records.load(place)
            there = None if record is None else (record.host, record.port)
        if there is None or there[1] != wanted.port or not os.path.exists(place.lock):
            continue
        if there[0].startswith(UNIX) == (wanted.path is not None):
            yield Address(*there), place


def taken(wanted: Address, there: Address, record: Record | None) -> StartupError:
    """The error for `wanted`, which the server at `there` has; without `record` it has none yet."""
    also = "" if there == wanted else f", which takes {wanted} as well"
    if wanted.path is not None:
        another = "use another path"
    else:
        another = "use another port (0 takes a free one)"
    if record is None:
        return StartupError(
            f"another bgpy server is just starting or stopping at {there}{also}",
            advice=f"connect to it with a Client in a moment, try again, or {another}",
            address=there,
        )
    if record.is_gone():
        problem = (
            f"the bgpy server at {there} (pid {record.pid}) is dead, but a process that it "
            f"started still holds its lock"
        )
        kill = f"kill that process, or {another}"
        advice = Advice(kill, kill)
    else:
        problem = f"a bgpy server is already running at {there} (pid {record.pid}){also}"
        advice = Advice(
            f"connect to it with a Client, terminate it, or {another}",
            f"end it with 'bgpy terminate {there}', or {another}",
        )
    return StartupError(
        problem, advice=advice, address=there, pid=record.pid, log_file=record.log_file
    )
