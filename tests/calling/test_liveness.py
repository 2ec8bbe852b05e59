"""Whether the server's process is gone: claimed only where it can be seen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bgpy.calling.liveness import server_process
from bgpy.system import processes
from bgpy.wire.handshake import Welcome


def welcome(pid: int, boot_id: bytes | None = None) -> Welcome:
    """What a server of this machine says of itself."""
    boot = processes.boot_id() if boot_id is None else boot_id
    return Welcome(b"i" * 16, boot, processes.pid_namespace(), pid, (3, 11, 0), "1.0.0")


@pytest.mark.skipif(not any(processes.boot_id()), reason="this system tells no boot id")
def test_process_is_gone_when_it_has_ended() -> None:
    """And not before."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = server_process(welcome(child.pid))
    assert process is not None
    assert not process.is_gone()
    child.communicate(b"\n")
    assert process.is_gone()


def test_process_of_another_machine_is_not_looked_for() -> None:
    """Its pid is somebody else's here."""
    assert server_process(welcome(1, b"another machine!")) is None
    assert server_process(welcome(1, bytes(16))) is None
    assert server_process(welcome(0)) is None
