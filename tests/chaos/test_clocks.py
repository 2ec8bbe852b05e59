"""Clocks that are set while servers and clients work: bgpy goes by one that nobody sets."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy import CallTimeout, Handle
from bgpy.wire.handshake import SERVER_HELLO_SIZE
from tests.support.aftermath import PROMPT, aftermath
from tests.support.peers import HELLO, connect, read_to_end
from tests.support.tasks.troubled import TASKS, request, right_answer
from tests.support.ways import TOKEN, Way

JUMPS = (-(10.0**9), -3600.0, 3600.0, 10.0**9)

_HOOK = """
import time
real = time.time
time.offset = 0.0
time.time = lambda: real() + time.offset
"""
"""In place before anything else is imported, so that nobody holds the real one."""

_CLIENT = """
import sys, time
from bgpy import CallTimeout, Client
from bgpy.calling.blocking import sent
from tests.support.tasks.troubled import request, right_answer
port, token = int(sys.argv[1]), sys.stdin.readline().strip()
sent.ASK = 20.0  # the server's answer may take its time on a loaded machine
for number, jump in enumerate(map(float, sys.argv[2:])):
    with Client("127.0.0.1", port, token, timeout=20.0) as client:
        client.ping()
        future = client.submit({"sleep": 0.1})
        time.offset = jump
        assert abs(time.time() - time.monotonic()) > 0
        future.result(20.0)
        assert client.call(request(number)) == right_answer(number)
        try:
            client.call({"sleep": 0.6}, timeout=0.3)
        except CallTimeout as error:
            print(error.progress)
"""


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started get a clock that can be set for them alone."""
    (tmp_path / "sitecustomize.py").write_text(_HOOK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def steady(hooked: None, way: Way) -> Iterator[Handle]:
    """A server whose clock can be set."""
    handle = way.start(handshake_timeout=2.0)
    try:
        with way.client(handle.port) as client:
            client.initialize(*TASKS)
        with aftermath(handle, TOKEN, client=way.client):
            yield handle
    finally:
        handle.kill()


@pytest.mark.usefixtures("asks_long")
def test_nothing_changes_when_the_clock_of_the_server_jumps(way: Way, steady: Handle) -> None:
    """Handshakes, timeouts and calls go on, and so do connections that are there."""
    with way.client(steady.port, timeout=20.0) as other:
        for jump in JUMPS:
            other.call({"jump_clock": jump})
            assert abs(other.call({"time": 1}) - time.time() - jump) < 1000
            with way.client(steady.port, timeout=PROMPT) as client:
                assert client.call(request(1)) == right_answer(1)
                with pytest.raises(CallTimeout) as caught:
                    client.call({"sleep": 0.6}, timeout=0.3)
                assert caught.value.progress == "started"
                assert client.call(request(2)) == right_answer(2)


def test_client_counts_its_time_when_its_own_clock_jumps(way: Way, steady: Handle) -> None:
    """Neither is a call over at once, nor does one wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, str(steady.port), *map(str, JUMPS)],
        input=f"{TOKEN}\n",
        capture_output=True,
        text=True,
        timeout=60.0,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started"] * len(JUMPS)


@pytest.mark.parametrize(("jump", "timeout"), [(10.0**9, 300.0), (-(10.0**9), 0.3)])
def test_strangers_have_the_same_time_when_the_clock_of_the_server_jumps(
    hooked: None, way: Way, jump: float, timeout: float
) -> None:
    """Nobody is dropped early because the clock went forward, or stays because it went back."""
    handle = way.start(handshake_timeout=timeout)
    try:
        with way.client(handle.port, timeout=20.0) as client, connect(handle.port) as stranger:
            stranger.sendall(HELLO)
            assert stranger.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)
            client.initialize(*TASKS)
            client.call({"jump_clock": jump})
            client.ping()
            if jump < 0:
                assert read_to_end(stranger) == b""
            else:
                stranger.setblocking(False)
                with pytest.raises(BlockingIOError):
                    stranger.recv(1)
    finally:
        handle.kill()
