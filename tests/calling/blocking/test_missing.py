"""Truths of what a client says where nothing listens: why the server there is gone."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from bgpy import Client, NotRunning, Server, StartupError
from bgpy.state.tokens import keep_token
from tests.support.fixtures import free_port as free_port

FAILS = """
def init_task(): raise OSError("no weights file")
def exec_task(client_socket, state, args): pass
def exit_task(client_socket, state, args): pass
"""


def _not_running(place: str) -> NotRunning:
    with Client(place) as client, pytest.raises(NotRunning) as caught:
        client.ping()
    return caught.value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FAILS, "OSError: no weights file"),
        ("def init_task(:\n", "SyntaxError: "),
        ("import no_such_module_anywhere\n", "ModuleNotFoundError: No module named "),
    ],
)
def test_who_connects_after_a_failed_start_is_told_why_it_failed(
    free_port: int, tmp_path: Path, text: str, reason: str
) -> None:
    """As by ``except StartupError: client.ping()``, for the case that another one was faster."""
    init_file, log = tmp_path / "model.py", tmp_path / "log"
    init_file.write_text(text)
    place = f"127.0.0.1:{free_port}"
    with pytest.raises(StartupError):
        Server(place, log_file=log, init_file=init_file).run_background()
    error = _not_running(place)
    assert "the last server there is gone: it failed to start at 20" in str(error)
    assert reason in str(error)
    assert f"look into its log ({log}), and start it again" in str(error)
    assert f"'bgpy doctor {place}' tells how" in str(error)
    assert error.log_file == str(log)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_crash_is_told_to_who_calls_next(free_port: int) -> None:
    """Also to another client than the one whose call it cost, until a server is there again."""
    place = f"127.0.0.1:{free_port}"
    handle = Server(place).run_background()
    os.kill(handle.pid, signal.SIGSEGV)
    assert handle.wait(30)
    for _ in range(2):
        error = _not_running(place)
        assert f"process {handle.pid} was killed or crashed" in str(error)
        assert "it crashed: Segmentation fault (SIGSEGV)" in str(error)
        assert str(handle.log_file) in str(error)


def test_orderly_end_and_another_address_are_no_reason(free_port: int) -> None:
    """Nothing went wrong there: what to do is all there is to say."""
    place = f"127.0.0.1:{free_port}"
    said = f"nothing runs at {place}: start a server there, or correct the address"
    assert str(_not_running(place)) == said
    Server(place).run_background().stop()
    assert str(_not_running(place)) == said


def test_kill_of_the_handle_is_told_as_what_it_was(free_port: int) -> None:
    """Who comes next morning learns that somebody has called it."""
    place = f"127.0.0.1:{free_port}"
    handle = Server(place).run_background()
    handle.kill()
    handle.kill()
    assert f"kill() of its handle, in process {os.getpid()}" in str(_not_running(place))


def test_account_without_a_home_is_told_that_nothing_runs(
    free_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What can't be read costs nobody the error."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("BGPY_HOME", str(tmp_path / "file"))
    with Client("127.0.0.1", free_port, "x" * 40) as client, pytest.raises(NotRunning):
        client.ping()


def test_kept_token_hides_no_crash(free_port: int) -> None:
    """The address may once have led through a tunnel: the account's own server is told of first."""
    place = f"127.0.0.1:{free_port}"
    keep_token(("127.0.0.1", free_port), "t" * 40)
    handle = Server(place).run_background()
    psutil.Process(handle.pid).kill()
    assert handle.wait(30)
    said = str(_not_running(place))
    assert f"the last server there is gone: its process {handle.pid} was killed or crashed" in said
    assert said.index("start it again") < said.index("a tunnel led to another server")
    Server(place).run_background().stop()
    assert "so a tunnel probably led to the server: open it again" in str(_not_running(place))


def test_client_that_knew_the_server_is_told_that_another_has_ended_it(free_port: int) -> None:
    """One that has never met it, or has ended it itself, learns nothing that it needs."""
    place = f"127.0.0.1:{free_port}"
    Server(place).run_background()
    with Client(place) as before, Client(place) as other:
        before.ping()
        other.terminate()
        with pytest.raises(NotRunning, match=r"it ended in order at .*a client asked it to"):
            before.ping()
        with pytest.raises(NotRunning) as caught:
            other.ping()
    said = f"nothing runs at {place}: start a server there, or correct the address"
    assert str(caught.value) == str(_not_running(place)) == said
