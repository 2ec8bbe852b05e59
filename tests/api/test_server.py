"""What a server says of itself before it runs, and that nothing runs before it is asked to."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from bgpy import Server, StartupError
from bgpy.address import HAS_UNIX_SOCKETS


def test_server_says_where_it_will_listen() -> None:
    """In one notation; without an address it has one of its own."""
    server = Server("localhost", 54321, "t" * 40)
    assert (server.address, server.host, server.port) == ("127.0.0.1:54321", "127.0.0.1", 54321)
    assert "t" * 40 not in repr(server)
    own = Server().address
    assert own.startswith("unix:" if HAS_UNIX_SOCKETS else "127.0.0.1:")
    assert Server().address != own or not HAS_UNIX_SOCKETS


def test_server_makes_nothing_before_it_runs(tmp_path: Path) -> None:
    """No file, no folder, no handler."""
    before = list(logging.getLogger("bgpy").handlers)
    Server("127.0.0.1", 0, log_file=tmp_path / "log", init_file=tmp_path / "none.py")
    assert not list(tmp_path.iterdir())
    assert logging.getLogger("bgpy").handlers == before
    assert not os.path.exists(os.environ["BGPY_HOME"])


def test_server_names_a_log_that_cant_be_opened(tmp_path: Path) -> None:
    """In the foreground and in the background alike, and its logging is as before."""
    before = list(logging.getLogger("bgpy").handlers)
    for run in (Server.run, Server.run_background):
        with pytest.raises(StartupError, match=r"log file .* can't be opened"):
            run(Server("127.0.0.1", 0, log_file=tmp_path))
        below = tmp_path / "file" / "folder" / "log"
        (tmp_path / "file").touch()
        with pytest.raises(StartupError, match=f"opened: {tmp_path}/file is not a folder: give"):
            run(Server("127.0.0.1", 0, log_file=below))
    assert logging.getLogger("bgpy").handlers == before


def test_server_names_an_init_file_that_is_none(tmp_path: Path) -> None:
    """Before a process is started for it."""
    with pytest.raises(StartupError, match=r"init file .*none\.py does not exist"):
        Server("127.0.0.1", 0, init_file=tmp_path / "none.py").run_background()
