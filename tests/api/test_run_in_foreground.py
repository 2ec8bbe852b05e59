"""Truths of `Server.run`: serving in the process and thread that call it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy import Client, Server, StartupError, token_create
from tests.support.tasks.counting import TASKS, count

Script = Callable[..., "subprocess.Popen[str]"]

SCRIPT = """
import sys, threading
from bgpy import Server
server = Server("127.0.0.1", int(sys.argv[1]))
print(server.run(), server.port, threading.active_count())
"""


@pytest.fixture
def serving(script: Script, free_port: int) -> tuple[subprocess.Popen[str], int]:
    """A script in which `Server.run` serves, and its port."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = script(SCRIPT, free_port, env=environment)
    assert process.stderr is not None
    assert f"listening on 127.0.0.1:{free_port}" in process.stderr.readline()
    return process, free_port


def test_run_returns_when_a_client_terminates(serving: tuple[subprocess.Popen[str], int]) -> None:
    """It serves as one in the background does, and the program goes on after it."""
    process, port = serving
    client = Client("127.0.0.1", port)
    client.initialize(*TASKS)
    assert client.call({"run": lambda state: os.getpid()}) == process.pid
    assert client.call({"run": count}) == 1
    assert client.terminate() == {"message": "Received 'EXIT'"}
    output, _ = process.communicate()
    assert (output, process.returncode) == (f"None {port} 1\n", 0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_run_returns_after_ctrl_c(
    serving: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    """The exit task runs, then `run` returns."""
    process, port = serving
    left = tmp_path / "left"
    with Client("127.0.0.1", port) as client:
        client.initialize(
            lambda: "last", lambda c, s, a: None, lambda c, state, a: left.write_text(state)
        )
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert (output, process.returncode) == (f"None {port} 1\n", 0)
    assert left.read_text() == "last"


def test_run_in_a_thread_serves_the_clients_of_its_own_process(free_port: int) -> None:
    """Terminate doesn't wait for a process that is the caller's own."""
    token = token_create()
    server = Server("127.0.0.1", 0, token)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.port and thread.is_alive():
        thread.join(0.001)
    with Client("127.0.0.1", server.port, token) as client:
        client.initialize(*TASKS)
        assert client.call({"run": lambda state: os.getpid()}) == os.getpid()
        client.terminate()
    thread.join(30)
    assert not thread.is_alive()


def test_run_raises_startup_error_where_the_port_is_taken(free_port: int) -> None:
    """And the server that has it serves on."""
    handle = Server("127.0.0.1", free_port).run_background()
    try:
        with pytest.raises(StartupError, match=str(free_port)):
            Server("127.0.0.1", free_port).run()
        assert handle.is_alive()
    finally:
        handle.kill()


def test_run_raises_what_the_init_file_raises(
    tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was never ready, and the port is free again."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # the file's folder comes there
    path = tmp_path / "my_failing_tasks.py"
    path.write_text("raise LookupError('no table')\n")
    with pytest.raises(LookupError, match="no table"):
        Server("127.0.0.1", free_port, init_file=str(path)).run()
    Server("127.0.0.1", free_port).run_background().kill()
