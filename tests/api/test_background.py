"""Truths of `run_background`: what is ready, what it survives, what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from bgpy import Client, Handle, Server, StartupError
from bgpy.system import processes
from tests.support.gate import Gate

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="sessions and signals of POSIX")

PARENT = """
import sys
from bgpy import Server
handle = Server("127.0.0.1", 0).run_background()
print(handle.pid, handle.port, flush=True)
sys.stdin.read()
"""


def _started(process: subprocess.Popen[str]) -> tuple[psutil.Process, int]:
    """The server that `PARENT` has started: its process and its port."""
    assert process.stdout is not None
    pid, port = map(int, process.stdout.readline().split())
    return psutil.Process(pid), port


def _is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; in some containers nobody reaps it then."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def _assert_serves(server: psutil.Process, port: int) -> None:
    assert not _is_gone(server)
    with Client("127.0.0.1", port) as client:
        assert client.ping() > 0
        client.terminate()
    assert _is_gone(server)


def test_handle_tells_of_the_process(start: Start) -> None:
    """Its pid is that of the process that serves, whose host, port and log it names."""
    handle, client = start()
    assert handle.pid != os.getpid()
    assert handle.is_alive()
    assert handle.host == "127.0.0.1"
    client.initialize(lambda: None, lambda c, s, a: c.respond(os.getpid()), lambda c, s, a: None)
    assert client.call({}) == handle.pid
    assert handle.log_file is not None
    assert os.path.isabs(handle.log_file)
    assert Path(handle.log_file).exists()
    assert handle.wait(0) is False


def test_run_background_is_ready_when_it_returns(start: Start) -> None:
    """Nobody has to wait before connecting, however many start at once."""
    with ThreadPoolExecutor(6) as pool:
        started = [each.result() for each in [pool.submit(start) for _ in range(6)]]
    assert all(client.ping() > 0 for _, client in started)
    assert len({handle.port for handle, _ in started}) == 6


def test_server_outlives_a_parent_that_ends(script: Script) -> None:
    """The script is over, the server goes on."""
    parent = script(PARENT)
    server, port = _started(parent)
    parent.communicate()
    assert parent.returncode == 0
    _assert_serves(server, port)


@posix
def test_server_outlives_a_parent_killed_with_its_whole_session(script: Script) -> None:
    """Right after the start, every process of the parent's session is killed."""
    parent = script(PARENT, start_new_session=True)
    server, port = _started(parent)
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == parent.pid:
                process.kill()
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    parent.wait()
    _assert_serves(server, port)


@posix
def test_server_outlives_a_killed_process_group(script: Script) -> None:
    """As a shell ends a job."""
    parent = script(PARENT, process_group=0)
    server, port = _started(parent)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    _assert_serves(server, port)


@posix
def test_server_outlives_a_closed_terminal(script: Script) -> None:
    """When a terminal is closed its processes get SIGHUP; the server has none."""
    import pty

    of_test, terminal = pty.openpty()
    text = f"import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)\n{PARENT}"
    parent = script(text, stdin=terminal, start_new_session=True)
    os.close(terminal)
    server, port = _started(parent)
    os.close(of_test)
    assert parent.wait(30) == -signal.SIGHUP
    _assert_serves(server, port)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_run_background_leaves_no_child_and_no_zombie(start: Start) -> None:
    """Neither while the server runs nor after it has ended is there a child of the starter's."""
    handle, client = start()
    assert psutil.Process().children() == []
    client.terminate()
    assert psutil.Process().children() == []
    assert not handle.is_alive()


SLOW = """
from tests.support.gate import pass_gate

def init_task(): pass_gate(("127.0.0.1", {port}))
def exec_task(client_socket, state, args): pass
def exit_task(client_socket, state, args): pass
"""
SLOW_PARENT = """
import sys
from bgpy import Server
try:
    Server("127.0.0.1", 0, init_file=sys.argv[1]).run_background()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def slow_start(script: Script, tmp_path: Path, gate: Gate) -> subprocess.Popen[str]:
    """A process in the middle of `run_background`: the server stands at the gate."""
    path = tmp_path / "slow.py"
    path.write_text(SLOW.format(port=gate.place[1]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return script(SLOW_PARENT, path, env=environment)


@posix
def test_ctrl_c_during_run_background_ends_what_it_started(
    slow_start: subprocess.Popen[str], gate: Gate, bgpy_home: Path
) -> None:
    """The caller gets its `KeyboardInterrupt`, and nothing is left of the server."""
    server = psutil.Process(gate.wait())
    slow_start.send_signal(signal.SIGINT)
    assert slow_start.communicate() == ("interrupted\n", "")
    assert _is_gone(server)
    assert not list(bgpy_home.rglob("record.json"))
    assert not list(bgpy_home.rglob("token"))


def test_server_is_gone_when_its_parent_was_killed_before_it_was_ready(
    slow_start: subprocess.Popen[str], gate: Gate
) -> None:
    """Nobody was told of it: it ends instead of staying unknown."""
    server = gate.wait()
    start_time = processes.start_time(server)
    assert start_time is not None
    slow_start.kill()
    slow_start.wait()
    gate.open()
    assert processes.ProcessId(server, start_time).wait(30)


def test_run_background_starts_this_interpreter_and_nothing_from_path(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies on PATH under the name of a Python is not started."""
    for name in ("python", "python3", "bgpy"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 9\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    handle, _ = start()
    assert psutil.Process(handle.pid).cmdline()[0] == sys.executable


def test_startup_error_quotes_the_end_of_the_log(start: Start, tmp_path: Path) -> None:
    """What was printed on the way to the failure stands in it, the log's other lines don't."""
    log = tmp_path / "log"
    log.write_text("of an earlier start\n")
    path = tmp_path / "failing.py"
    path.write_text(
        "def init_task():\n    print('reading the table')\n    raise OSError('no table')\n"
        "def exec_task(client_socket, state, args): pass\n"
        "def exit_task(client_socket, state, args): pass\n"
    )
    with pytest.raises(StartupError) as caught:
        start(init_file=str(path), log_file=str(log))
    assert "OSError: no table" in str(caught.value)
    assert "reading the table" in str(caught.value)
    assert str(caught.value).count("Traceback") == 1
    assert "earlier" not in str(caught.value)
    assert log.read_text().startswith("of an earlier start\n")


def test_second_server_on_one_address_is_refused(start: Start, free_port: int) -> None:
    """The second is a `StartupError` that says why, and the first is untouched."""
    _, client = start(port=free_port)
    with pytest.raises(StartupError, match=f"{free_port}"):
        Server("127.0.0.1", free_port).run_background()
    assert client.ping() > 0


def test_frozen_executable_can_not_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no interpreter to start, and the error says so."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(StartupError, match="frozen"):
        Server("127.0.0.1", 0).run_background()
