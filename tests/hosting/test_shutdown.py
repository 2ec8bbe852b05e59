"""Truths of what SIGINT and SIGTERM do to a server, and of what it says of them, where and when."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpy import Client, Handle, Server
from bgpy.address import parse
from bgpy.hosting import shutdown
from bgpy.hosting.shutdown import Shutdown
from bgpy.state import records
from bgpy.tasks.lifecycle import Kind
from tests.support.command import COMMAND
from tests.support.peers import insist, wait_until
from tests.support.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

INIT_FILE = """
import hashlib, sys, time
from bgpy import respond

def init_task():
    return None

def exec_task(client_socket, state, args):
    print("began", file=sys.stderr)
    if args["in"] == "C":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)  # minutes, without the GIL
    else:
        while True:
            time.sleep(0.01)

def exit_task(client_socket, state, args):
    print("exit_task ran", file=sys.stderr)
"""

AGAIN = "SIGINT or SIGTERM, at least 1 s later, ends it at once"


@pytest.fixture
def init_file(tmp_path: Path) -> Path:
    path = tmp_path / "endless_tasks.py"
    path.write_text(INIT_FILE)
    return path


@pytest.fixture
def foreground(init_file: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``bgpy server``, its log in a file as well, and its address."""
    command = [*COMMAND, "server", "127.0.0.1:0", "-i", str(init_file), "-f", str(tmp_path / "log")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    yield process, process.stderr.readline().split()[-1]
    process.kill()
    process.communicate()


def _until(lines: Iterator[str], part: str) -> list[str]:
    """The lines up to the one with `part`, that one last."""
    read: list[str] = []
    for line in lines:
        read.append(line)
        if part in line:
            return read
    raise AssertionError(f"{part!r} is in none of {read}")


@pytest.mark.parametrize("where", ["Python", "C"])
def test_first_signal_is_told_while_the_task_runs_and_the_second_when_it_ends_the_server(
    foreground: tuple[subprocess.Popen[str], str], where: str, tmp_path: Path
) -> None:
    """On the terminal and in the log, though the task never ends, nor C lets a handler run."""
    process, address = foreground
    assert process.stderr is not None
    with Client(address) as client:
        client.execute({"in": where})
        _until(process.stderr, "began")
        process.send_signal(signal.SIGINT)
        first = _until(process.stderr, "SIGINT received")[-1]
        assert "when the running task has finished" in first
        assert f"a second {AGAIN}, without exit_task" in first
        insist(process.pid, lambda: process.poll() is not None)
        last = process.stderr.read()
    assert process.wait() == 128 + signal.SIGTERM
    assert "second signal, SIGTERM" in last
    assert "the running task was cut short and exit_task was skipped" in last
    assert "exit_task ran" not in last
    logged = (tmp_path / "log").read_text()
    assert first in logged
    assert last.splitlines()[-1] in logged


@pytest.mark.parametrize("where", ["Python", "C"])
def test_end_of_a_background_server_by_a_second_signal_stands_in_its_log(
    init_file: Path, where: str
) -> None:
    """Also behind the terminate of a client that waits for the task: a signal still ends it."""
    handle = Server("127.0.0.1", 0, init_file=init_file).run_background()
    try:
        with Client(handle.address) as client, Client(handle.address) as other:
            client.execute({"in": where})
            ends = threading.Thread(target=_terminate, args=(other,))
            ends.start()
            _wait_for(handle, "asked the server to end")
            os.kill(handle.pid, signal.SIGINT)
            _wait_for(handle, "SIGINT received: the server ends when the running task")
            insist(handle.pid, lambda: not handle.is_alive())
            ends.join()
    finally:
        handle.kill()
    assert (
        _log(handle)
        .splitlines()[-1]
        .endswith(
            "second signal, SIGTERM: the server ended at once; the running task was cut short and "
            "exit_task was skipped"
        )
    )


ENDS_IN_ORDER = """
import pathlib, sys, time
def init_task(): pass
def exec_task(client_socket, state, args): pass
def exit_task(client_socket, state, args): pathlib.Path(__file__).with_suffix(".ran").touch()
"""


def test_server_whose_terminal_is_closed_ends_in_order(tmp_path: Path) -> None:
    """As one over SSH whose connection breaks: exit_task runs, and no record stays."""
    init_file, log = tmp_path / "ends_tasks.py", tmp_path / "log"
    init_file.write_text(ENDS_IN_ORDER)
    terminal = Terminal("server", "127.0.0.1:0", "-i", init_file, "-f", log)
    try:
        terminal.wait_for("listening on ")
        # After the terminal, to which it is written first.
        wait_until(
            lambda: re.search("listening on .*\n", log.read_text()), "the log has the line as well"
        )
        address = parse(log.read_text().split()[-1])
        terminal.hang_up()
        terminal.process.wait(30)
    finally:
        terminal.process.kill()
    assert "SIGHUP received: the server ends" in log.read_text()
    assert init_file.with_suffix(".ran").exists()
    assert records.find_dead(address) is None


def test_signal_that_is_delivered_twice_cuts_no_exit_task_short(tmp_path: Path) -> None:
    """As by ``timeout``, which passes the terminal's on, or signals the process and its group."""
    init_file = tmp_path / "twice_tasks.py"
    init_file.write_text(ENDS_IN_ORDER.replace("pathlib.Path(", "time.sleep(0.2); pathlib.Path("))
    handle = Server("127.0.0.1", 0, init_file=init_file).run_background()
    try:
        os.kill(handle.pid, signal.SIGINT)
        os.kill(handle.pid, signal.SIGTERM)
        assert handle.wait(30)
    finally:
        handle.kill()
    assert init_file.with_suffix(".ran").exists(), _log(handle)


def test_hangups_end_a_background_server_in_order_and_never_at_once(tmp_path: Path) -> None:
    """Who meant a reload finds the reason in the log, and exit_task has run."""
    init_file = tmp_path / "hung_tasks.py"
    init_file.write_text(ENDS_IN_ORDER)
    handle = Server("127.0.0.1", 0, init_file=init_file).run_background()
    try:
        for _ in range(3):
            os.kill(handle.pid, signal.SIGHUP)
        assert handle.wait(30)
    finally:
        handle.kill()
    assert "SIGHUP received" in _log(handle)
    assert "second signal" not in _log(handle)
    assert init_file.with_suffix(".ran").exists()


def _terminate(client: Client) -> None:
    with pytest.raises(ConnectionError):
        client.terminate()


def _log(handle: Handle) -> str:
    assert handle.log_file is not None
    return Path(handle.log_file).read_text()


def _wait_for(handle: Handle, text: str) -> None:
    wait_until(lambda: text in _log(handle), f"{text!r} is in the log")


class Ends:
    """A server that runs a task of some kind, and whose polling thread is this one."""

    def __init__(self, running: Kind | None = None) -> None:
        self.running = running
        self.interrupts = 0
        self.refuses = False

    def interrupt(self) -> None:
        self.interrupts += 1

    def refuse_new(self) -> None:
        self.refuses = True

    def change(self, change: Callable[[], None]) -> None:
        change()


class Clock:
    """The time as `Shutdown` reads it."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shutdown, "monotonic", clock)
    return clock


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize(
    ("running", "closing", "said"),
    [
        (None, False, "exit_task was skipped"),
        (Kind.INIT, False, "the running task was cut short and exit_task was skipped"),
        (Kind.EXEC, False, "the running task was cut short and exit_task was skipped"),
        (Kind.EXIT, False, "exit_task was cut short"),
        (None, True, "exit_task had run"),
    ],
)
def test_second_signal_says_what_it_cost(
    codes: list[int],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    running: Kind | None,
    closing: bool,
    said: str,
) -> None:
    """Whatever runs then; the server's files are removed first."""
    removed: list[object] = []
    asked = Shutdown(Ends(running), lambda why: removed.append(list(codes)))
    asked.handle(signal.SIGINT, None)
    asked.closing = closing
    clock.now += shutdown.DOUBLED
    asked.handle(signal.SIGTERM, None)
    assert (codes, removed) == ([128 + signal.SIGTERM], [[]])
    assert said in caplog.messages[-1]


def test_one_signal_that_both_threads_see_counts_once(
    codes: list[int], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """In either order it is told once; a second ends the process once, whoever sees it first."""
    for order in ("handle first", "poller first"):
        server, caplog_before = Ends(), len(caplog.messages)
        asked = Shutdown(server, lambda why: None)
        steps = [lambda: asked.handle(signal.SIGINT, None), lambda: asked.seen(signal.SIGINT)]  # noqa: B023
        before = signal.signal(signal.SIGINT, asked.handle)
        try:
            with caplog.at_level(logging.INFO, "bgpy"):
                for step in steps if order == "handle first" else steps[::-1]:
                    step()
                assert (server.interrupts, codes) == (1, [])
                assert len(caplog.messages) == caplog_before + 1
                clock.now += shutdown.DOUBLED
                steps[1]()
                steps[0]()
        finally:
            signal.signal(signal.SIGINT, before)
        assert codes == [128 + signal.SIGINT]
        codes.clear()


HANDLED, SEEN = "handled", "seen"


@pytest.mark.parametrize(
    ("signals", "ends"),
    [
        pytest.param([(0, SEEN), (0, HANDLED), (0.005, SEEN), (0.005, HANDLED)], False, id="copy"),
        pytest.param([(0, HANDLED), (0, SEEN), (0.9, HANDLED), (1.1, HANDLED)], True, id="third"),
        pytest.param([(0, HANDLED), (0, SEEN), (0.005, SEEN), (60, HANDLED)], False, id="C keeps"),
        pytest.param([(0, SEEN), (0.005, SEEN), (60, HANDLED)], False, id="C keeps both"),
        pytest.param([(0, HANDLED), (0, SEEN), (2, HANDLED)], True, id="a loop has the descriptor"),
        pytest.param([(0, SEEN), (0.005, SEEN), (0.1, HANDLED), (2, HANDLED)], True, id="then too"),
        pytest.param([(0, SEEN), (2, SEEN)], True, id="second, while C keeps the first"),
    ],
)
def test_copy_of_a_signal_is_no_second_one(
    codes: list[int], clock: Clock, signals: list[tuple[float, str]], ends: bool
) -> None:
    """Whenever which thread learns of it: only one that comes a second later ends at once."""
    asked = Shutdown(Ends(Kind.EXIT), lambda why: None)
    before = signal.signal(signal.SIGTERM, asked.handle)
    try:
        for after, thread in signals:
            clock.now = 100 + after
            if thread == SEEN:
                asked.seen(signal.SIGTERM)
            else:
                asked.handle(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert codes == [128 + signal.SIGTERM] * ends


def test_signal_that_a_task_handles_itself_is_not_counted(codes: list[int]) -> None:
    """Its number comes out of the wake-up descriptor all the same."""
    server = Ends()
    asked = Shutdown(server, lambda why: None)
    for _ in range(3):
        asked.seen(signal.SIGINT)
        asked.seen(signal.SIGCHLD)
    assert (server.interrupts, codes) == (0, [])


def test_last_line_is_written_though_the_thread_that_was_struck_holds_the_log(
    codes: list[int],
    clock: Clock,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was in the middle of logging: no other thread can log before the process ends."""
    monkeypatch.setattr(shutdown, "LAST_WORDS", 0.1)
    handler = logging.StreamHandler(io.StringIO())
    log = logging.getLogger("bgpy.server")
    log.addHandler(handler)
    asked = Shutdown(Ends(Kind.EXEC), lambda why: None)
    handler.acquire()
    try:
        asked.handle(signal.SIGINT, None)
        clock.now += shutdown.DOUBLED
        asked.handle(signal.SIGINT, None)
    finally:
        handler.release()
        log.removeHandler(handler)
    assert "second signal, SIGINT: the server ended at once" in capfd.readouterr().err
    assert codes == [128 + signal.SIGINT]
