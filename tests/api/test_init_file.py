"""Truths of servers that bring their tasks in an init file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bgpy import Client, Handle, StaleCodeWarning, StartupError
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS

Start = Callable[..., tuple[Handle, Client]]

GOOD = """
from bgpy import respond
import beside

def init_task():
    return {"name": __name__, "beside": beside.VALUE}

def exec_task(client_socket, state, args):
    respond(client_socket, state)

def exit_task(client_socket, state, args):
    pass
"""
REST = "\ndef exec_task(c, s, a): pass\ndef exit_task(c, s, a): pass\n"


def _write(folder: Path, text: str) -> str:
    path = folder / "my_tasks.py"
    path.write_text(text)
    return str(path)


def test_init_file_gives_the_tasks_under_its_stem(start: Start, tmp_path: Path) -> None:
    """It is imported under its stem with its folder on `sys.path`; no client need initialise."""
    (tmp_path / "beside.py").write_text("VALUE = 'found'")
    _, client = start(init_file=_write(tmp_path, GOOD))
    assert client.call({}) == {"name": "my_tasks", "beside": "found"}
    with pytest.warns(StaleCodeWarning, match="different: init_task, exec_task, exit_task"):
        assert client.initialize(*TASKS) == {"message": "Already initialized."}


def test_init_file_is_found_from_the_working_directory(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is one from the starter's working directory."""
    (tmp_path / "beside.py").write_text("VALUE = 1")
    _write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    assert start(init_file="my_tasks.py")[1].call({})["beside"] == 1


def test_run_background_returns_after_init_task(start: Start, tmp_path: Path, gate: Gate) -> None:
    """Ready means that `init_task` has run, however long that takes."""
    text = (
        f"from tests.support.gate import pass_gate\ndef init_task(): pass_gate({gate.place})" + REST
    )
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(start, init_file=_write(tmp_path, text))
        gate.wait()
        assert not started.done()
        gate.open()
        assert started.result()[0].is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process at once")
def test_server_that_is_asked_to_end_before_it_is_ready_never_was(
    start: Start, tmp_path: Path, gate: Gate
) -> None:
    """Its starter is told, and `exit_task` runs."""
    text = (
        "from tests.support.gate import pass_gate\n"
        f"def init_task(): pass_gate({gate.place})\n"
        "def exec_task(c, s, a): pass\n"
        "def exit_task(c, s, a): print('saved')\n"
    )
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(start, init_file=_write(tmp_path, text))
        os.kill(gate.wait(), signal.SIGTERM)
        gate.open()
        with pytest.raises(StartupError, match=r"ended before it was ready(.|\n)*saved"):
            started.result()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def init_task(): pass\n", "lacks exec_task, exit_task"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("def f(:\n", "SyntaxError"),
        ("def init_task(): raise KeyError('a table')" + REST, "KeyError: 'a table'"),
        ("def init_task(): raise SystemExit('enough')" + REST, "SystemExit: enough"),
        ("def init_task(a, b): pass" + REST, "init_task must take one parameter"),
        ("import os\ndef init_task(): os._exit(7)" + REST, "exit code 7"),
        ("import os\ndef init_task(): os.kill(os.getpid(), 9)" + REST, "SIGKILL"),
        ("def init_task(): print('on the way'); 1 / 0" + REST, "on the way"),
    ],
)
def test_run_background_says_what_is_wrong_with_an_init_file(
    start: Start, tmp_path: Path, text: str, said: str
) -> None:
    """A server that can't get ready is a `StartupError` with the reason."""
    with pytest.raises(StartupError) as caught:
        start(init_file=_write(tmp_path, text))
    assert said in str(caught.value)
    assert "init_task failed" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="what is told of a crash is the system's")
def test_run_background_shows_where_an_init_file_crashes(start: Start, tmp_path: Path) -> None:
    """The user's frames, which stand before all those that led to them, and none of bgpy's."""
    path = _write(tmp_path, f"import os\ndef init_task(): os.abort()\n{REST}")
    with pytest.raises(StartupError, match="SIGABRT") as caught:
        start(init_file=path)
    told = str(caught.value)
    assert "Fatal Python error: Aborted" in told
    assert f'File "{path}", line 2 in init_task' in told
    assert os.path.join("src", "bgpy") not in told


def test_run_background_names_an_init_file_that_is_missing(start: Start) -> None:
    """Nothing is started for a file that isn't there."""
    with pytest.raises(StartupError, match=r"nowhere\.py does not exist"):
        start(init_file="nowhere.py")


def test_failed_start_gives_its_port_back(start: Start, tmp_path: Path, free_port: int) -> None:
    """After a `StartupError` the next server can have the port at once."""
    with pytest.raises(StartupError):
        start(init_file=_write(tmp_path, "1 / 0"), port=free_port)
    assert start(port=free_port)[0].port == free_port
