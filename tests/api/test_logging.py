"""Truths of logging: standard, below `bgpy`, and nothing at import."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, Handle, Server, respond
from bgpy.state import reports
from tests.support.peers import wait_until

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]


def _fail(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, {"text": "no such table"}, error=True)


IMPORTS = """
import logging, os
import bgpy, bgpy.client, bgpy.server, bgpy.core.sockets, bgpy.cli, bgpy.example.tasks
client = bgpy.Client("127.0.0.1", 1)
server = bgpy.Server("127.0.0.1", 0)
names = [None, *(name for name in logging.root.manager.loggerDict if name.startswith("bgpy"))]
print([handler for name in names for handler in logging.getLogger(name).handlers])
print(os.path.exists(os.environ["BGPY_HOME"]))
"""


def test_import_makes_no_handlers_and_no_folders(script: Script) -> None:
    """Neither does making a client or a server that doesn't run."""
    assert script(IMPORTS).communicate() == ("[]\nFalse\n", "")


def test_client_logs_into_its_file(start: Start, tmp_path: Path) -> None:
    """`log_file` gets the lines of `bgpy.client`, each once however many clients name it."""
    handle, first = start()
    first.initialize(lambda: None, _fail, _fail)
    path = tmp_path / "client.log"
    clients = [
        Client(handle.host, handle.port, log_file=str(path), log_level="ERROR") for _ in range(2)
    ]
    for client in clients:
        with client:
            client.call({})
    lines = [line for line in path.read_text().splitlines() if "no such table" in line]
    assert len(lines) == 2


def test_server_log_level_decides_what_is_told(start: Start) -> None:
    """INFO tells of each client, ERROR of failures only."""
    logs = []
    for level in ("INFO", "ERROR"):
        handle, client = start(log_level=level)
        client.initialize(lambda: None, _fail, _fail)
        client.call({})
        client.terminate(await_response=True)
        assert handle.log_file is not None
        logs.append(Path(handle.log_file).read_text())
    assert all("no such table" in log for log in logs)
    assert "listening" in logs[0]
    assert "listening" not in logs[1]


def test_server_in_the_foreground_tells_its_log_from_what_was_there(tmp_path: Path) -> None:
    """At any level: how the one before it ended is not told of this one."""
    log = tmp_path / "log"
    log.write_text("Fatal Python error: Aborted\n")
    assert reports.end_told_by(str(log))
    server = Server("127.0.0.1", 0, log_file=log, log_level="CRITICAL")
    running = threading.Thread(target=server.run)
    running.start()
    wait_until(lambda: server.port, "it listens")
    with Client(server.address, token=server.token) as client:
        client.terminate()
    running.join(60)
    assert reports.end_told_by(str(log)) is None


def test_each_connection_leaves_one_line(start: Start) -> None:
    """Peer and client id, when it ends."""
    handle, client = start()
    with Client(handle.host, handle.port) as other:
        other.ping()
    client.ping()
    client.terminate()
    assert handle.log_file is not None
    lines = [line for line in Path(handle.log_file).read_text().splitlines() if " client " in line]
    assert len(lines) == 2


@pytest.mark.parametrize("level", ["LOUD", "", 5.5])
def test_log_level_must_be_one(level: Any) -> None:
    """A wrong one is told where it was written."""
    from bgpy import Server

    with pytest.raises((ValueError, TypeError)):
        Server("127.0.0.1", 0, log_level=level)
