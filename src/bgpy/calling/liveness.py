"""Whether the server's process is gone, where client and server share a machine.

What can't be seen from here, or not now, is not claimed: see `ProcessId`.
"""

from __future__ import annotations

import os

from bgpy.system import processes
from bgpy.system.processes import ProcessId
from bgpy.wire.handshake import Welcome


def server_process(welcome: Welcome) -> ProcessId | None:
    """The process behind a connection, if it is provably on this machine and not this one.

    Ask just after the handshake, while that process is known to live: a process that gets
    its pid later is not taken for it then, and one that can't be seen is never missed.
    """
    here = (processes.boot_id(), processes.pid_namespace())
    if welcome.pid in (0, os.getpid()) or not any(here[0]):
        return None
    if here != (welcome.boot_id, welcome.pid_namespace):
        return None
    return ProcessId.of(welcome.pid)
