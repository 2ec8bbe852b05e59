"""Truths of the caller's world, which is the background server's too."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, Handle, Server, StartupError
from tests.support.builds import FREE_THREADED
from tests.support.tasks.counting import TASKS

Start = Callable[..., tuple[Handle, Client]]


def _log(handle: Handle) -> list[str]:
    assert handle.log_file is not None
    return Path(handle.log_file).read_text().splitlines()


def test_server_has_the_working_directory_of_its_starter(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative paths mean the same on both sides."""
    monkeypatch.chdir(tmp_path)
    _, client = start()
    client.initialize(*TASKS)
    assert os.path.samefile(client.call({"run": lambda state: os.getcwd()}), tmp_path)


def test_server_has_the_environment_of_its_starter_less_the_token(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also its children do; `BGPY_TOKEN` is for nobody."""
    monkeypatch.setenv("BGPY_TOKEN", "0123456789" * 4)
    monkeypatch.setenv("A_VARIABLE", "of the starter's")
    expected = {name: value for name, value in os.environ.items() if name != "BGPY_TOKEN"}
    _, client = start()
    client.initialize(*TASKS)

    def of_child(state: Any) -> Any:
        import json
        import subprocess

        text = "import json, os; print(json.dumps(dict(os.environ)))"
        return json.loads(subprocess.check_output([sys.executable, "-c", text]))

    assert client.call({"run": lambda state: dict(os.environ)}) == expected
    # What an interpreter sets for itself (LC_CTYPE) aside, children have the same.
    assert expected.items() <= client.call({"run": of_child}).items()
    assert "BGPY_TOKEN" not in client.call({"run": of_child})


def test_server_has_the_module_path_of_its_starter(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sys.path` as it is at the start, changes made by the program included."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "only_here_on_the_path.py").write_text("VALUE = 5")
    expected = list(sys.path)
    _, client = start()
    client.initialize(*TASKS)

    def value(state: Any) -> Any:
        import only_here_on_the_path

        return only_here_on_the_path.VALUE

    assert client.call({"run": lambda state: list(sys.path)}) == expected
    assert client.call({"run": value}) == 5


def test_what_is_printed_goes_to_the_log_line_by_line(running: tuple[Handle, Client]) -> None:
    """Python's stdout and stderr, `logging`, C code and children, in the order of printing."""
    handle, client = running

    def print_all(state: Any) -> None:
        import ctypes
        import logging
        import subprocess

        print("from stdout")
        print("from stderr", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        os.write(1, b"from descriptor 1\n")
        logging.getLogger("mine").warning("from logging")
        if sys.platform != "win32":
            ctypes.CDLL(None).puts(b"from C")
        print("unicode: \N{SNOWMAN} \udcff")

    client.call({"run": print_all})
    # The server still runs and nothing was flushed by hand.
    printed = [line for line in _log(handle) if "from" in line or "unicode" in line]
    expected = ["from stdout", "from stderr", "from a child", "from descriptor 1"]
    assert printed[:4] == expected
    assert printed[4].endswith("WARNING mine: from logging")
    if sys.platform != "win32":
        assert printed[5] == "from C"
    assert printed[-1].startswith("unicode: \N{SNOWMAN}")


def test_lines_of_several_writers_stay_whole(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, children and the server's own log don't get into each other's lines.

    Without the global lock others come between the parts that `print` writes, not into one.
    """
    # Which makes Python write what is printed in parts; not here.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    handle, client = start()
    client.initialize(*TASKS)

    free_threaded = FREE_THREADED

    def print_much(state: Any) -> None:
        import subprocess
        import threading

        text = "import os\nfor n in range(200): os.write(1, b'child %d xxxxx\\n' % n)"
        child = subprocess.Popen([sys.executable, "-c", text])

        def say(number: int) -> None:
            for n in range(200):
                sys.stdout.write(f"thread {number} {n} {'y' * 50}\n")

        threads = [threading.Thread(target=say, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(20_000):  # less than would have the log rotated
            if child.poll() is not None:
                break
            if free_threaded:
                sys.stdout.write(f"the task itself {'z' * 50}\n")
            else:
                print("the", "task", "itself", "z" * 50)
        child.wait()
        for thread in threads:
            thread.join()

    client.call({"run": print_much})
    lines = _log(handle)
    assert [line for line in lines if "child" in line] == [f"child {n} xxxxx" for n in range(200)]
    threads = {f"thread {number} {n} {'y' * 50}" for number in range(3) for n in range(200)}
    assert sorted(line for line in lines if line.startswith("thread")) == sorted(threads)


def test_server_reads_nothing_from_its_starter(running: tuple[Handle, Client]) -> None:
    """Its standard input is empty, so a task that asks doesn't hang."""
    _, client = running
    with pytest.raises(EOFError):
        client.call({"run": lambda state: input()})


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")
def test_server_inherits_no_descriptor(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Files that the starter has open, inheritable ones too, aren't kept open by the server."""
    with (tmp_path / "held open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        _, client = start()
        client.initialize(*TASKS)

        def opened(state: Any) -> list[str]:
            import psutil

            return [each.path for each in psutil.Process().open_files()]

        assert str(tmp_path / "held open") not in client.call({"run": opened})


def test_log_file_is_where_the_caller_wants_it(start: Start, tmp_path: Path) -> None:
    """A given one is appended to, made with its folder, relative to the working directory."""
    handle, client = start(log_file=str(tmp_path / "logs" / "mine.log"))
    client.initialize(*TASKS)
    client.call({"run": lambda state: print("written")})
    assert handle.log_file == str(tmp_path / "logs" / "mine.log")
    assert "written" in _log(handle)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_server_has_the_signals_of_a_login_whatever_its_starter_blocks_and_ignores(
    start: Start,
) -> None:
    """Nothing is blocked, nothing ignored but what Python ignores; a child's exit code is told."""
    ignored = [signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    mask = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2, signal.SIGRTMIN}
    )
    try:
        handle, client = start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
    client.initialize(*TASKS)

    def look(state: Any) -> Any:
        import signal
        import subprocess

        inherited = "import signal; print(signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL)"
        return (
            sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            sorted(n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN),
            subprocess.call([sys.executable, "-c", "raise SystemExit(7)"]),
            subprocess.check_output([sys.executable, "-c", inherited], text=True).strip(),
        )

    assert client.call({"run": look}) == ([], [signal.SIGPIPE, signal.SIGXFSZ], 7, "True")
    os.kill(handle.pid, signal.SIGTERM)
    assert handle.wait(60)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_launcher_is_told_how_the_server_died_where_it_ignores_its_children(
    tmp_path: Path,
) -> None:
    """The starter between them sees the end of its child nevertheless."""
    file = tmp_path / "tasks.py"
    file.write_text("import os\nos._exit(3)\n")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(StartupError, match="exit code 3"):
            Server(init_file=file).run_background()
    finally:
        signal.signal(signal.SIGCHLD, before)
