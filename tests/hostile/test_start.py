"""Servers that can't start, and say why; who runs already is left in peace."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy import Client, Handle, Server, StartupError
from tests.support.served import Served

GOOD = "def {0}(*args): return 0\n"
ALL_THREE = "".join(map(GOOD.format, ("init_task", "exec_task", "exit_task")))

BAD_INIT_FILES = {
    "empty": ("", "lacks init_task, exec_task, exit_task"),
    "two of three": (GOOD.format("init_task") + GOOD.format("exec_task"), "lacks exit_task"),
    "no syntax": ("def init_task(:\n", "SyntaxError"),
    "raises when imported": ("raise OSError('no such device')\n", "OSError: no such device"),
    "exits when imported": ("raise SystemExit(3)\n", "SystemExit"),
    "imports what is missing": ("import no_such_module\n", "no_such_module"),
    "not callable": (ALL_THREE + "exec_task = 1\n", "exec_task must be callable"),
    "wrong parameters": (ALL_THREE + "def exec_task(): pass\n", "exec_task must take three"),
    "init_task raises": (
        ALL_THREE + "def init_task(): raise KeyError('the model')\n",
        "KeyError: 'the model'",
    ),
    "init_task exits": (ALL_THREE + "def init_task(): raise SystemExit('bye')\n", "SystemExit"),
    "process exits": (ALL_THREE + "def init_task():\n    import os; os._exit(7)\n", "exit code 7"),
}


def test_second_server_on_an_address_does_not_start_and_leaves_the_first(alone: Served) -> None:
    """In the background or in the foreground; the first goes on untouched, its token too."""
    for _ in range(2):
        with pytest.raises(StartupError, match="already running at"):
            Server("127.0.0.1", alone.port, alone.token).run_background()
        with pytest.raises(StartupError, match="already running at"):
            Server("localhost", alone.port, "another token").run()
        alone.check()


def test_server_says_that_its_port_is_taken(start: Callable[..., tuple[Handle, Client]]) -> None:
    """It names the port and a way out, and where the system gives such ports away, says so."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            StartupError, match=rf"port {port} .*in use.*0 takes a free one"
        ) as caught:
            start(port=port)
    if sys.platform == "linux":
        assert "range" in str(caught.value)
    start(port=port)


def test_server_starts_when_the_port_was_just_given_back(
    serve: Callable[..., Served], start: Callable[..., tuple[Handle, Client]]
) -> None:
    """Connections of the server before, still winding down, don't keep the port."""
    served = serve()
    with served.raw():
        served.handle.kill()
        _, client = start(port=served.port, token=served.token)
        assert client.ping() >= 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_bind_beyond_loopback_is_refused_without_tls(host: str) -> None:
    """Where other machines can reach it there is no way around TLS."""
    with pytest.raises(ValueError, match="tls=False"):
        Server(host, 0, "x" * 64, tls=False)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_host_of_another_machine_is_refused(host: str) -> None:
    """Documentation addresses belong to no machine."""
    with pytest.raises(StartupError, match=rf"{host} is not an address of this machine"):
        Server(host, 0).run_background()


@pytest.mark.parametrize("name", BAD_INIT_FILES)
def test_server_says_what_is_wrong_with_its_init_file(tmp_path: Path, name: str) -> None:
    """The reason, and of an exception its last line; nothing runs afterwards."""
    text, said = BAD_INIT_FILES[name]
    file = tmp_path / "tasks_of_mine.py"
    file.write_text(text, "utf-8")
    with pytest.raises(StartupError) as caught:
        Server("127.0.0.1", 0, init_file=str(file)).run_background()
    assert said in str(caught.value)


@pytest.mark.parametrize("background", [True, False])
def test_server_says_that_its_init_file_is_missing(tmp_path: Path, background: bool) -> None:
    """Before a process is started."""
    server = Server("127.0.0.1", 0, init_file=str(tmp_path / "none.py"))
    with pytest.raises(StartupError, match=r"none\.py"):
        (server.run_background if background else server.run)()


def test_server_says_that_its_init_file_is_hidden(tmp_path: Path) -> None:
    """A file of the name of a module that is loaded already would never be imported."""
    file = tmp_path / "logging.py"
    file.write_text(ALL_THREE, "utf-8")
    with pytest.raises(StartupError, match="hidden"):
        Server("127.0.0.1", 0, init_file=str(file)).run_background()
