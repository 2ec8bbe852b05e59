"""Tests of starting a server's process, with real ones."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bgpy.api.handles import Handle
from bgpy.config import Options
from bgpy.errors import StartupError
from bgpy.process.bootstrap import COMMAND, LINE_MAGIC
from bgpy.process.launch import launch
from bgpy.process.readiness import pack
from bgpy.system import processes
from tests.support.wine import READS_ANOTHER_ENVIRONMENT

posix_only = pytest.mark.skipif(os.name != "posix", reason="sessions and forks are POSIX's")
TOKEN = "t" * 64


def do_nothing(timeout: float | None) -> None:
    """Stand in for what a client does to terminate a server."""


def start(what: str, port: int = 1, log_file: Path | None = None) -> Handle:
    """Launch the fake server that does `what`."""
    log = None if log_file is None else str(log_file)
    options = Options(port=port, init_file=what, log_file=log)
    return Handle(launch(options, TOKEN, "fake_server"), terminate=do_nothing)


def start_answering(meeting: Any) -> tuple[Handle, dict[str, Any]]:
    """Launch a fake server that tells about its world; it ends with the connection."""
    handle = start("answer", meeting.port)
    _, lines = meeting.accept()
    return handle, json.loads(lines.readline())


def end(handle: Handle) -> None:
    """End the fake server and see it gone."""
    handle.kill()
    assert handle.wait(60)


SCRIPT = """
import signal
from bgpy.config import Options
from bgpy.process.launch import launch
signal.signal(signal.SIGINT, signal.default_int_handler)
print("launching", flush=True)
try:
    launch(Options(port={port}, init_file={what!r}), "t", "fake_server")
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("launched", flush=True)
    sys.stdin.read()
"""


def test_launch_gives_handle_when_server_is_ready(meeting: Any) -> None:
    """The handle names the server's own pid, its address and log, and not the token."""
    handle, world = start_answering(meeting)
    try:
        assert (handle.pid, handle.host, handle.port) == (world["pid"], "127.0.0.1", 4242)
        assert handle.log_file is None
        assert handle.is_alive()
        assert TOKEN not in repr(handle)
    finally:
        end(handle)


def test_launch_gives_caller_world_when_server_runs(
    meeting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Working directory, environment and sys.path are the caller's; the token travels apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BGPY_TOKEN", "secret of the environment")
    monkeypatch.setenv("MARK", "x")
    monkeypatch.syspath_prepend("/nowhere/at all")
    handle, world = start_answering(meeting)
    try:
        assert world["cwd"] == os.getcwd()
        assert world["path"] == sys.path
        assert world["environment"]["MARK"] == "x"
        assert "BGPY_TOKEN" not in world["environment"]
        assert os.environ["BGPY_TOKEN"] == "secret of the environment"
        assert world["token"] == TOKEN
        assert world["main"] == ["_bootstrap"]
    finally:
        end(handle)


@READS_ANOTHER_ENVIRONMENT
def test_launch_keeps_token_off_command_line_when_server_runs(meeting: Any) -> None:
    """Neither the server's command line nor its initial environment holds the token."""
    handle, _ = start_answering(meeting)
    try:
        process = psutil.Process(handle.pid)
        assert TOKEN not in " ".join(process.cmdline())
        assert TOKEN not in " ".join(process.environ().values())
    finally:
        end(handle)


@posix_only
def test_launch_leaves_no_child_when_server_runs(meeting: Any) -> None:
    """The server has its own session, and the launcher no child, neither alive nor zombie."""
    before = psutil.Process().children()
    handle, world = start_answering(meeting)
    try:
        assert psutil.Process().children() == before
        assert psutil.Process(handle.pid).ppid() != os.getpid()
        assert world["session"] not in (os.getsid(0), handle.pid)
    finally:
        end(handle)
    assert psutil.Process().children() == before


def test_launch_leaves_no_descriptor_when_server_runs(meeting: Any) -> None:
    """Starting costs the launcher no open file."""
    if sys.platform == "win32" or not os.path.isdir("/dev/fd"):
        pytest.skip("descriptors can't be listed here")
    gc.collect()  # what other tests have left is not to be closed meanwhile
    before = len(os.listdir("/dev/fd"))
    handle = start("answer", meeting.port)
    after = len(os.listdir("/dev/fd"))
    meeting.accept()
    end(handle)
    assert after == before


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("fail", ["the port is taken", "said before it failed"]),
        ("raise", ["LookupError: nothing to be found", "Traceback", "in _raise"]),
        ("exit", ["exit code 7", "last words"]),
        ("return", ["exit code 0"]),
        pytest.param("kill_itself", ["signal 9 (SIGKILL)"], marks=posix_only),
        ("misspelt", ["KeyError: '_misspelt'"]),
    ],
)
def test_launch_says_why_when_server_cannot_start(what: str, told: list[str]) -> None:
    """Every way to end before being ready gives its reason and what was printed."""
    before = psutil.Process().children()
    with pytest.raises(StartupError) as caught:
        start(what)
    for text in told:
        assert text in str(caught.value)
    assert psutil.Process().children() == before


def test_launch_says_why_when_module_is_missing() -> None:
    """A module that can't be imported over there is named."""
    with pytest.raises(StartupError, match="No module named 'no_such_module'"):
        Handle(launch(Options(), TOKEN, "no_such_module"), terminate=do_nothing)


def test_launch_says_why_when_bgpy_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sys.path without bgpy is told as such."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(StartupError, match="can't be imported in its own process"):
        start("answer")


def test_launch_quotes_only_this_start_when_log_is_old(tmp_path: Path) -> None:
    """A failure quotes the log from this start on, early output included."""
    log = tmp_path / "log"
    log.write_text("of the day before\n")
    with pytest.raises(StartupError) as caught:
        start("fail_with_log", log_file=log)
    assert str(caught.value).splitlines() == [
        "the server could not start: no init file",
        "    early",
        "    late",
    ]
    assert log.read_text() == "of the day before\nearly\nlate\n"


@posix_only
def test_launch_notices_death_when_a_child_keeps_the_pipe(meeting: Any) -> None:
    """A forked child that outlives the server doesn't make the launcher wait for it."""
    with pytest.raises(StartupError, match="exit code 3"):
        start("die_beside_a_child", meeting.port)
    meeting.accept_pid()


def test_launch_hears_server_when_others_print_first(
    meeting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sitecustomize prints before the first line is not taken for a message."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nprint('hello')\nos.write(1, b'no line end')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    handle, world = start_answering(meeting)
    end(handle)
    assert handle.pid == world["pid"]


def test_launch_refuses_when_program_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen executable can't be started as an interpreter, and is told so."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(StartupError, match="frozen"):
        start("answer")


@pytest.mark.parametrize("executable", ["", None])
def test_launch_refuses_when_interpreter_is_unknown(
    monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    """Without sys.executable there is nothing to start."""
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(StartupError, match=r"sys\.executable"):
        start("answer")


def test_launch_names_interpreter_when_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An interpreter that is gone is named."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(StartupError, match="can't be started"):
        start("answer")


@posix_only
def test_launch_ends_server_when_interrupted(
    meeting: Any, run_python: Callable[[str], list[str]]
) -> None:
    """Ctrl-C while the server starts ends the server, then the launcher gets the interrupt."""
    command = run_python(SCRIPT.format(port=meeting.port, what="hang"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as launcher:
        pid, start_time, _ = meeting.accept_pid()
        launcher.send_signal(signal.SIGINT)
        out, _ = launcher.communicate(timeout=60)
        assert out.split() == [b"launching", b"interrupted"]
        assert processes.start_time(pid) != start_time


@posix_only
def test_launch_ends_server_when_interrupt_swallows_its_pid(
    meeting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt that strikes just as the pid arrives ends the server all the same."""

    def interrupted(lines: Any) -> Any:
        assert next(lines) == b"\n"
        assert next(lines).startswith(LINE_MAGIC)
        meeting.accept_pid()
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("bgpy.process.launch.messages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start("hang", meeting.port)
    [(pid, start_time)] = meeting._met
    assert processes.start_time(pid) != start_time


@posix_only
def test_server_ends_when_launcher_was_killed_before_ready(
    meeting: Any, run_python: Callable[[str], list[str]]
) -> None:
    """A server that becomes ready for nobody ends, and so does the starter."""
    command = run_python(SCRIPT.format(port=meeting.port, what="ready_when_told"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as launcher:
        pid, start_time, connection = meeting.accept_pid()
        starter = psutil.Process(pid).ppid()
        starter_start = processes.start_time(starter)
        launcher.kill()
        launcher.communicate()
    connection.sendall(b".")
    assert processes.ProcessId(pid, start_time).wait(60)
    assert starter_start is not None
    assert processes.ProcessId(starter, starter_start).wait(60)


@posix_only
def test_server_never_starts_when_settings_are_cut_short() -> None:
    """Settings that end too early, since the launcher died, start nothing."""
    settings = pack(Options(), TOKEN, "fake_server")
    command = [sys.executable, "-P", "-c", COMMAND]
    for length in (0, 1, len(settings) // 2, len(settings) - 1):
        done = subprocess.run(command, input=settings[:length], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (1, b"")


@posix_only
def test_server_lives_when_launcher_session_is_killed(
    meeting: Any, run_python: Callable[[str], list[str]]
) -> None:
    """Hanging up on and killing the launcher's whole process group leaves the server alone."""
    command = run_python(SCRIPT.format(port=meeting.port, what="ready_when_told"))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, start_new_session=True
    ) as launcher:
        pid, start_time, connection = meeting.accept_pid()
        connection.sendall(b".")
        assert launcher.stdout is not None
        assert [launcher.stdout.readline() for _ in range(2)] == [b"launching\n", b"launched\n"]
        os.killpg(launcher.pid, signal.SIGHUP)
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.communicate()
    assert os.getsid(pid) != launcher.pid
    assert processes.start_time(pid) == start_time
