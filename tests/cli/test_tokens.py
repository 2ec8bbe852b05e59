"""Truths of ``bgpy token show`` and ``bgpy add``: a token's way to another account."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bgpy import Client, Handle, Server, token_create
from bgpy.address import parse
from bgpy.state.tokens import keep_token
from tests.support.command import COMMAND
from tests.support.terminal import Terminal

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., tuple[Handle, Client]]

TOKEN = token_create()

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals of POSIX")


@pytest.fixture
def handle(start: Start) -> Handle:
    """A server whose token is known to nobody."""
    return start(token=TOKEN)[0]


@pytest.fixture
def secured() -> Iterator[Handle]:
    """The same over TLS."""
    handle = Server("127.0.0.1:0", token=TOKEN, tls=True).run_background()
    yield handle
    handle.kill()


def _add(text: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "add", *map(str, args)], input=text, capture_output=True, text=True
    )


def test_token_show_prints_what_the_account_knows(bgpy: Run, start: Start) -> None:
    """Nothing else, so that it can be piped; the token of a server that made it itself."""
    handle, client = start()
    done = bgpy("token", "show", handle.address)
    assert (done.returncode, done.stderr) == (0, "")
    with Client(handle.address, token=done.stdout.strip()) as other:
        assert other.ping() > 0
    client.terminate()
    done = bgpy("token", "show", handle.address)
    assert (done.returncode, done.stdout) == (1, "")


def test_token_show_says_why_it_knows_none(bgpy: Run, handle: Handle) -> None:
    """One that was given isn't kept."""
    done = bgpy("token", "show", handle.host, handle.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert "BGPY_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_token_show_says_what_is_true_of_a_server_that_was_killed(bgpy: Run, start: Start) -> None:
    """Its token is void; one that was added is shown, and whose it is, beside the output."""
    handle, _ = start()
    token = bgpy("token", "show", handle.address).stdout
    handle.kill()  # removes the record: the next one is killed by somebody else
    handle, _ = start(port=handle.port)
    psutil.Process(handle.pid).kill()
    assert handle.wait(30)
    void = bgpy("token", "show", handle.address)
    assert (void.returncode, void.stdout) == (1, "")
    assert f"is void (its process {handle.pid} was killed or crashed)" in void.stderr
    keep_token(parse(handle.address), token.strip())
    kept = bgpy("token", "show", handle.address)
    assert (kept.returncode, kept.stdout) == (0, token)
    assert "'bgpy add' kept this token" in kept.stderr
    assert f"its process {handle.pid} was killed or crashed" in kept.stderr
    assert token.strip() not in void.stderr + kept.stderr


def test_add_keeps_the_token_of_a_pipe(bgpy: Run, handle: Handle, bgpy_home: Path) -> None:
    """From then on clients need none, `token show` knows it, and it is nowhere shown."""
    done = _add(f"{TOKEN}\nwhat follows\n", handle.address)
    assert (done.returncode, done.stdout) == (0, "")
    assert handle.address in done.stderr
    assert TOKEN not in done.stderr
    with Client(handle.address) as client:
        assert client.ping() > 0
    assert bgpy("token", "show", f"localhost:{handle.port}").stdout == f"{TOKEN}\n"
    # A server here that comes later has its own.
    handle.kill()
    Server(handle.address).run_background()
    with Client(handle.address) as client:
        client.terminate()


@posix_only
def test_add_asks_at_a_terminal(handle: Handle) -> None:
    """Unseen."""
    terminal = Terminal("add", handle.address)
    terminal.wait_for("Token: ")
    terminal.type(TOKEN)
    assert terminal.close() == 0
    assert TOKEN not in terminal.shown
    assert "kept the token" in terminal.shown
    with Client(handle.address) as client:
        assert client.ping() > 0


def test_add_keeps_nothing_that_is_wrong(handle: Handle, bgpy_home: Path, free_port: int) -> None:
    """Refused, with nobody there, or empty: 5, 3 and 1; what was kept before stays."""
    assert _add("wrong\n", handle.address).returncode == 5
    assert _add(f"{TOKEN}\n", f"127.0.0.1:{free_port}").returncode == 3
    empty = _add("", handle.address)
    assert empty.returncode == 1
    assert "before the pipe" in empty.stderr
    assert not list(bgpy_home.glob("*/tokens"))
    assert _add(TOKEN, handle.address).returncode == 0
    assert _add("wrong\n", handle.address).returncode == 5
    with Client(handle.address) as client:
        assert client.ping() > 0


def test_add_tries_it_over_tls(secured: Handle) -> None:
    """Where it is asked to."""
    assert _add(TOKEN, secured.address).returncode == 4
    assert _add(TOKEN, secured.address, "--tls").returncode == 0
    with Client(secured.address, tls=True) as client:
        assert client.ping() > 0
