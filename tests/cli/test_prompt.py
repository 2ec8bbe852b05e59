"""Truths of ``-t``: it asks for the token, and shows nothing of the answer."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from bgpy import Client, Handle, token_create
from tests.support.terminal import Terminal

Start = Callable[..., tuple[Handle, Client]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals of POSIX")


@pytest.mark.parametrize("option", ["-t", "--token"])
def test_terminate_asks_for_the_token(start: Start, option: str) -> None:
    """The right answer ends the server; nothing of it is shown."""
    token = token_create()
    handle, _ = start(token=token)
    terminal = Terminal("terminate", handle.host, handle.port, option)
    terminal.wait_for("Token: ")
    terminal.type(token)
    assert terminal.close() == 0
    assert token not in terminal.shown
    assert not handle.is_alive()


def test_terminate_with_the_wrong_answer_is_exit_code_5(start: Start) -> None:
    """One line says so, and the server goes on."""
    handle, client = start(token=token_create())
    terminal = Terminal("terminate", "-t", "-l", "INFO", handle.host, handle.port)
    terminal.wait_for("Token: ")
    terminal.type("something else")
    assert terminal.close() == 5
    assert len(terminal.shown.splitlines()) == 2
    assert client.ping() > 0


def test_server_asks_for_the_token(free_port: int) -> None:
    """Clients then need what was typed; it isn't kept."""
    token = token_create()
    terminal = Terminal("server", "127.0.0.1", free_port, "-t")
    terminal.wait_for("Token: ")
    terminal.type(token)
    terminal.wait_for("listening")
    with Client("127.0.0.1", free_port) as stranger, pytest.raises(PermissionError):
        stranger.ping()
    Client("127.0.0.1", free_port, token).terminate()
    assert terminal.close() == 0
    assert token not in terminal.shown


def test_interrupt_at_the_prompt_ends_the_command(free_port: int) -> None:
    """Ctrl-C there starts nothing, and is told as anywhere."""
    terminal = Terminal("server", "127.0.0.1", free_port, "-t")
    terminal.wait_for("Token: ")
    terminal.process.send_signal(2)
    assert terminal.close() == 130
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rstrip().endswith("bgpy: interrupted")
