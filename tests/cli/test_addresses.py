"""Truths of addresses on the command line: the same notation for each command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgpy import Client
from tests.support.certificates import locked
from tests.support.command import COMMAND
from tests.support.ends import PEM
from tests.support.terminal import Terminal

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Listen = Callable[..., "tuple[subprocess.Popen[str], str]"]

unix_only = pytest.mark.skipif(os.name != "posix", reason="Python has Unix sockets on POSIX only")


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Run ``bgpy server`` with some words; the process, and the address that its log tells."""
    started: list[subprocess.Popen[str]] = []

    def listen(*words: object) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [*COMMAND, "server", *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "listening on " in line, line + process.stderr.read()
        return process, line.split()[-1]

    yield listen
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["127.0.0.1:0"], "127.0.0.1:"),
        (["[::1]:0"], "[::1]:"),
        (["::1", "0"], "[::1]:"),
        pytest.param([], "unix:/", marks=unix_only),
    ],
)
def test_server_and_terminate_take_one_notation(
    bgpy: Run, listen: Listen, words: list[str], begins: str
) -> None:
    """What the log tells is what `terminate` and a client take."""
    process, address = listen(*words)
    assert address.startswith(begins)
    with Client(address) as client:
        assert client.ping() > 0
    done = bgpy("terminate", address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert process.wait() == 0


@unix_only
def test_server_at_a_path_leaves_none_behind(bgpy: Run, listen: Listen) -> None:
    """However it ends in order; then nothing runs there: 3."""
    with tempfile.TemporaryDirectory(prefix="bgpy-") as folder:
        address = f"unix:{os.path.realpath(folder)}/socket"
        for number in (signal.SIGTERM, signal.SIGINT, None):
            process, said = listen(address)
            assert said == address
            if number is None:
                assert bgpy("terminate", address).returncode == 0
            else:
                process.send_signal(number)
            assert process.wait() == 0
            assert os.listdir(folder) == []
        done = bgpy("terminate", address)
        assert done.returncode == 3
        assert address in done.stderr


def test_server_speaks_tls_where_it_is_told(bgpy: Run, listen: Listen, tmp_path: Path) -> None:
    """With a certificate of one's own, key apart; `terminate` says when it needs ``--tls``."""
    start = PEM.index(b"-----BEGIN CERT")
    (tmp_path / "cert").write_bytes(PEM[start:])
    (tmp_path / "key").write_bytes(PEM[:start])
    files = ("--certfile", tmp_path / "cert", "--keyfile", tmp_path / "key")
    process, address = listen("127.0.0.1:0", "--tls", *files)
    done = bgpy("terminate", address)
    assert done.returncode == 4
    assert "TLS" in done.stderr
    assert bgpy("terminate", address, "--tls").returncode == 0
    assert process.wait() == 0


def test_server_that_others_can_reach_may_refuse_plain_clients(bgpy: Run, listen: Listen) -> None:
    """With ``--no-plain-loopback``."""
    process, address = listen("0.0.0.0:0", "--no-plain-loopback")
    assert address.startswith("0.0.0.0:")
    here = address.replace("0.0.0.0", "127.0.0.1")
    assert bgpy("terminate", here).returncode == 4
    assert bgpy("terminate", here, "--tls").returncode == 0
    assert process.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals of POSIX")
def test_server_never_asks_for_the_password_of_a_key(tmp_path: Path) -> None:
    """OpenSSL would, at the terminal, and a background server would wait there for ever."""
    start = PEM.index(b"-----BEGIN CERT")
    for name, form in (("new", "PKCS8"), ("old", "TraditionalOpenSSL")):
        (tmp_path / name).write_bytes(locked(PEM[:start], form) + PEM[start:])
        terminal = Terminal("server", "127.0.0.1:0", "--tls", "--certfile", tmp_path / name)
        try:
            terminal.wait_for(":")  # of what is said, or of a prompt
            assert "pass phrase" not in terminal.shown.lower()
        finally:
            if "pass phrase" in terminal.shown.lower():
                terminal.process.kill()
            code = terminal.close()
        assert code == 1
        assert "without a password" in terminal.shown
