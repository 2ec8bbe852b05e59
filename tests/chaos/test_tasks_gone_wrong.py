"""Tasks that end the process, break it, or leave a mess in it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from bgpy import (
    Client,
    Handle,
    MessageTooLarge,
    NotRunning,
    RemoteError,
    Server,
    ServerGone,
)
from tests.support.aftermath import PROMPT, check_log
from tests.support.builds import FREE_THREADED
from tests.support.peers import wait_until
from tests.support.tasks.troubled import TASKS, request, right_answer
from tests.support.ways import TOKEN, Way

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

DEATHS: dict[str, dict[str, Any]] = {
    "it exits": {"exit": 3},
    "it exits as if all were well": {"exit": 0},
    "it aborts": {"abort": 1},
    "it crashes in C": {"crash": 1},
    "it reads where nothing is": {"null": 1},
    "it kills itself": {"kill": 9},
    "it closes all descriptors": {"close_descriptors": 0},
    "it closes all descriptors later": {"close_descriptors": 0.1},
}


@pytest.mark.parametrize("how", DEATHS)
def test_callers_hear_of_it_when_a_task_ends_the_process(
    way: Way, mortal: Handle, how: str
) -> None:
    """Each waiting call ends as unknown, without a timeout; the address is free for the next."""
    with way.client(mortal.port) as client, way.client(mortal.port) as waiting:
        waiting.ping()
        futures = [waiting.submit({"sleep": 0.05}) for _ in range(3)]
        with pytest.raises(ServerGone) as caught:
            client.call(DEATHS[how])
        assert caught.value.progress == "unknown"
        for future in futures:
            assert isinstance(future.exception(20.0), (ServerGone, type(None)))
        assert mortal.wait(20.0), "a server without descriptors goes on"
        with pytest.raises(NotRunning):
            client.call({"respond": 1})
    check_log(mortal, TOKEN)
    again = Server("127.0.0.1", mortal.port, TOKEN).run_background()
    try:
        with way.client(mortal.port, timeout=PROMPT) as client:
            client.initialize(*TASKS)
            assert client.call(request(1)) == right_answer(1)
    finally:
        again.kill()


@pytest.mark.parametrize(
    "args",
    [
        {"spawn": ["print('a child')"]},
        {"spawn": ["import os; os.abort()"]},
        {"spawn": ["import os; os.closerange(0, 4096)"]},
        {"block_signals": 1},
        {"start_threads": 50},
        {"raise": "x"},
        {"print": "x" * 100_000},
    ],
    ids=lambda args: next(iter(args)),
)
def test_server_serves_on_when_a_task_leaves_a_mess(
    way: Way, steady: Handle, other: Client, args: dict[str, Any]
) -> None:
    """Children, threads, blocked signals and floods of output are the task's; nothing stays."""
    with way.client(steady.port, timeout=20.0) as client:
        for _ in range(3):
            try:
                client.call(args)
            except ValueError:
                assert "raise" in args
            assert other.call(request(7), timeout=PROMPT) == right_answer(7)


def test_server_ends_in_order_when_a_task_has_changed_the_directory(
    way: Way, mortal: Handle, tmp_path: Path
) -> None:
    """Record, log and lock are found again from anywhere, also where there is nothing at all."""
    gone = tmp_path / "gone"
    gone.mkdir()
    with way.client(mortal.port, timeout=20.0) as client:
        client.call({"change_directory": str(gone)})
        gone.rmdir()
        assert client.call(request(1)) == right_answer(1)
        assert client.terminate(await_response=True) == 1
    assert mortal.wait(20.0)
    assert mortal.log_file is not None
    assert {each.name for each in Path(mortal.log_file).parent.iterdir()} == {
        "ended.json",
        "guard",
        "lock",
        "log",
    }


def test_server_can_be_ended_when_a_task_has_blocked_all_signals(way: Way, mortal: Handle) -> None:
    """SIGTERM waits then; a client's exit does not."""
    with way.client(mortal.port, timeout=20.0) as client:
        client.call({"block_signals": 1})
        os.kill(mortal.pid, signal.SIGTERM)
        assert client.call(request(1)) == right_answer(1)
        client.terminate()
    assert mortal.wait(20.0)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS, /proc")
@pytest.mark.skipif(FREE_THREADED, reason="its allocator has a gibibyte of addresses in stock")
@pytest.mark.parametrize("spare", [4, 64])
def test_server_serves_on_when_its_memory_is_capped(way: Way, mortal: Handle, spare: int) -> None:
    """What doesn't fit fails for whoever asked for it; what fits is served as before."""
    import resource

    mebibyte = 2**20
    with way.client(mortal.port, timeout=20.0) as client, way.client(mortal.port) as other:
        assert other.call(request(1)) == right_answer(1)
        size = client.call({"virtual_size": 1})
        client.call({"limit": (resource.RLIMIT_AS, size + spare * mebibyte)})
        with pytest.raises(MemoryError):
            client.call({"allocate": 512 * mebibyte})
        with pytest.raises((MemoryError, RemoteError)):
            client.call({"reply_size": 512 * mebibyte})
        for _ in range(2):
            with pytest.raises((MessageTooLarge, ServerGone)) as caught:
                client.call({"respond": bytes(512 * mebibyte)})
            assert getattr(caught.value, "progress", None) in (None, "not started")
            assert other.call(request(2), timeout=PROMPT) == right_answer(2)
    with way.client(mortal.port, timeout=PROMPT) as late:
        assert late.call(request(3)) == right_answer(3)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_server_does_not_spin_when_its_memory_is_gone_and_clients_come(
    way: Way, mortal: Handle
) -> None:
    """Hundreds of peers against a server without spare memory: it serves whom it has."""
    import resource
    import socket

    with way.client(mortal.port, timeout=20.0) as client:
        size = client.call({"virtual_size": 1})
        client.call({"limit": (resource.RLIMIT_AS, size)})
        socks = [socket.create_connection(("127.0.0.1", mortal.port)) for _ in range(300)]
        try:
            for _ in range(10):
                assert client.call(request(1)) == right_answer(1)
        finally:
            for sock in socks:
                sock.close()
        process = psutil.Process(mortal.pid)
        wait_until(lambda: process.num_fds() < 50, "those that left are given back")
        assert client.call(request(2)) == right_answer(2)
