"""What the process of a background server tells its launcher when it can't start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy import Client, Server
from bgpy.calling.blocking import loss
from bgpy.errors import ServerGone, StartupError
from bgpy.example import tasks
from tests.support.peers import wait_until


def test_failure_crosses_the_pipe_with_all_that_is_known() -> None:
    """The advice, the process that failed, and no log that it never had."""
    with pytest.raises(StartupError) as caught:
        Server("192.0.2.1", 0).run_background()
    error = caught.value
    assert error.problem.startswith("the server could not start: 192.0.2.1 is not an address")
    assert error.advice is not None
    assert error.advice.api.startswith("use one that is")
    assert error.pid
    assert error.printed == ()


@pytest.mark.skipif(sys.platform != "linux", reason="the longest path is Linux's")
def test_failure_that_tells_all_is_followed_by_nothing_of_bgpys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the server has its log already: its token's new file has too long a path."""
    place, home = f"unix:{tmp_path}/socket", tmp_path / "home"
    monkeypatch.setenv("BGPY_HOME", str(home))
    first = Server(place).run_background()
    first.kill()
    assert first.log_file is not None
    below = os.path.dirname(first.log_file)[len(str(home)) :]
    missing = 4095 - len("/token.12345678.new") + 1 - len(below) - len(str(home))
    longer = str(home) + "/" + "/".join(["x" * 99] * (missing // 100 - 1))
    longer += "/" + "x" * (missing - (len(longer) - len(str(home))) - 1)
    monkeypatch.setenv("BGPY_HOME", longer)
    with pytest.raises(StartupError, match="File name too long") as caught:
        Server(place).run_background()
    error = caught.value
    assert error.printed == ()
    assert error.log_file is not None
    assert "Traceback" not in Path(error.log_file).read_text("utf-8")


def test_server_that_is_in_the_way_is_named_across_the_pipe() -> None:
    """As where a server is run in this process: its address, process and log."""
    first = Server("127.0.0.1", 0).run_background()
    try:
        with pytest.raises(StartupError, match="already running") as caught:
            Server("0.0.0.0", first.port).run_background()
    finally:
        first.kill()
    error = caught.value
    assert (error.address, error.pid, error.log_file) == (first.address, first.pid, first.log_file)
    assert error.advice is not None
    assert "connect to it with a Client" in error.advice.api
    assert f"'bgpy terminate {first.address}'" in error.advice.cli


def test_failure_of_the_init_file_quotes_what_was_printed(tmp_path: Path) -> None:
    """The last lines of the log follow the problem, and the log is named."""
    init_file, log = tmp_path / "failing.py", tmp_path / "log"
    init_file.write_text(
        "def init_task(): print('so far'); raise ValueError('no model')\n"
        "def exec_task(sock, state, args): pass\ndef exit_task(sock, state, args): pass\n"
    )
    with pytest.raises(StartupError) as caught:
        Server("127.0.0.1", 0, log_file=log, init_file=init_file).run_background()
    error = caught.value
    place = f"({init_file}, line 1, in init_task)"
    assert error.problem.endswith(f"the init file failed: ValueError: no model {place}")
    assert error.log_file == str(log)
    assert any("so far" in line for line in error.printed)
    assert str(error).endswith(error.printed[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="a log that is open can't be removed")
def test_log_that_was_removed_is_made_again_while_calls_come(tmp_path: Path) -> None:
    """What tasks print and the server logs is in it, with no signal and no new start."""
    log = tmp_path / "log"
    handle = Server("127.0.0.1", 0, log_file=log).run_background()
    try:
        with Client(handle.address) as client:
            client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
            log.unlink()

            def calls() -> bool:
                client.execute({"command": "increase", "value_change": 1})
                return log.exists()

            wait_until(calls, "the log is there again")
        assert handle.stop()
    finally:
        handle.kill()
    assert "asked the server to end" in log.read_text()


CRASHES = {
    "segfault": ("import ctypes; ctypes.string_at(0)", "its log says that it crashed: .*SIGSEGV"),
    "abort": ("import os; os.abort()", "its log says that it crashed: Aborted"),
    "exit": ("import os; os._exit(3)", "cause unknown"),
    "kill": ("import os; os.kill(os.getpid(), 9)", "cause unknown"),
    "child": (
        "import os\nif not os.fork(): os.abort()\nos.wait(); os._exit(3)",
        "cause unknown",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name", CRASHES)
def test_end_of_the_process_is_told_with_its_pid_log_and_signal(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal where the log tells it, and a stack with the user's line; else no guess."""
    monkeypatch.setattr(loss, "MOMENT", 20.0)  # the process ends when its turn comes
    code, said = CRASHES[name]
    handle = Server().run_background()
    try:
        with Client(handle.address) as client:
            client.initialize(tasks.init_task, run_code, tasks.exit_task)
            with pytest.raises(ServerGone, match=said) as caught:
                client.call({"code": code})
    finally:
        handle.kill()
    error = caught.value
    assert (error.pid, error.log_file) == (handle.pid, handle.log_file)
    assert str(handle.pid) in str(error)
    assert str(handle.log_file) in str(error)
    assert handle.log_file is not None
    log = Path(handle.log_file).read_text()
    assert ("Fatal Python error" in log) is ("SIG" in said or "crashed" in said)
    assert ("in run_code" in log) is ("Fatal Python error" in log)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("during", ["a call", "init_task"])
def test_crash_of_the_last_server_with_that_log_is_not_told_of_the_next(
    during: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a level which drops all that a server logs of its start."""
    monkeypatch.setattr(loss, "MOMENT", 20.0)
    log = tmp_path / "log"
    said = []
    for ending, name in (("call", "SIGSEGV"), (during, "SIGKILL")):
        handle = Server(log_file=log, log_level="CRITICAL").run_background()
        kill = f"import os, signal; os.kill(os.getpid(), signal.{name})"
        try:
            with Client(handle.address) as client:
                if ending == "init_task":
                    error = _error_of(client.initialize, die, run_code, tasks.exit_task)
                else:
                    client.initialize(tasks.init_task, run_code, tasks.exit_task)
                    error = _error_of(client.call, {"code": kill})
        finally:
            handle.kill()
        said.append(error.problem)
    assert "its log says that it crashed: Segmentation fault (SIGSEGV)" in said[0]
    assert "cause unknown" in said[1]


def _error_of(function: Callable[..., object], *args: object) -> ServerGone:
    with pytest.raises(ServerGone) as caught:
        function(*args)
    return caught.value


def die() -> None:
    """End the process as one without memory is ended."""
    os.kill(os.getpid(), signal.SIGKILL)


def run_code(client_socket: object, state: object, args: dict[str, str]) -> None:
    """Run a text in the server, within a call."""
    exec(args["code"])
