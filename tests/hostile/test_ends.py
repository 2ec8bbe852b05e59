"""Clients, servers and children that end in the middle of something."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bgpy import Client, Handle, Server
from bgpy.errors import CallTimeout, NotRunning, RemoteError, ServerGone
from bgpy.wire.messages import Ping
from tests.support.peers import wait_until
from tests.support.served import Served

HALF_A_REQUEST = """
raw.send(frame(2, 0x11, 1, b"x" * 100_000, length=1_000_000))
"""
LARGE_REPLY_UNREAD = """
raw.send(frame(2, 0x11, 1, pickle.dumps({"reply_size": 2**26})))
raw.sock.recv(1000)
"""
RUNNING_TASK = """
raw.send(frame(2, 0x11, 1, pickle.dumps({"until": (STARTED, GO_ON)})))
while not os.path.exists(STARTED):
    time.sleep(0.005)
"""
_CLIENT = """
import os, pickle, sys, time
from tests.support.peers import RawClient, frame
port, token, STARTED, GO_ON = int(sys.argv[1]), sys.stdin.readline().strip(), *sys.argv[2:]
raw = RawClient(port, token)
print(raw.sock.getsockname()[1], flush=True)
{deed}
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def client_that(deed: str, served: Served, *files: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a client in a process of its own that has done `deed` and then waits."""
    names = [str(file) for file in files] or ["", ""]
    process = subprocess.Popen(
        [sys.executable, "-c", _CLIENT.format(deed=deed), str(served.port), *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            process.stdin.write(served.token + "\n")
            process.stdin.flush()
            process.port = int(process.stdout.readline())  # type: ignore[attr-defined]
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    "deed", [HALF_A_REQUEST, LARGE_REPLY_UNREAD], ids=["mid-request", "mid-reply"]
)
def test_server_logs_and_serves_on_when_a_client_is_killed(alone: Served, deed: str) -> None:
    """SIGKILL of a client with half a request sent, or most of a reply unread."""
    before = alone.process.num_fds()
    for _ in range(3):
        with client_that(deed, alone) as process:
            peer = ("127.0.0.1", process.port)  # type: ignore[attr-defined]
            process.kill()
        wait_until(lambda peer=peer: alone.log_of(peer), "the end of the client is logged")
    wait_until(lambda: alone.process.num_fds() <= before, "its descriptors are given back")


def test_task_runs_on_when_its_client_is_killed(alone: Served, tmp_path: Path) -> None:
    """A call that has started ends as if its client were there; the response is dropped."""
    started, go_on = tmp_path / "started", tmp_path / "go on"
    with client_that(RUNNING_TASK, alone, started, go_on) as process:
        process.kill()
    with Client("127.0.0.1", alone.port, alone.token) as second:
        second.ping()
    go_on.touch()


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_waiting_client_gets_server_gone_when_the_server_is_killed(
    serve: Callable[..., Served], tmp_path: Path, timeout: float | None
) -> None:
    """kill -9 ends each wait with an unknown outcome; then nothing runs there."""
    served = serve()
    started = tmp_path / "started"
    waiting = Waiting(served.client, {"until": (str(started), str(tmp_path / "never"))}, timeout)
    wait_until(started.exists, "the task has started")
    also = Waiting(served.client, {"add": 1}, timeout)
    with served.raw() as observer:
        wait_until(lambda: observer.status()["queued"] == 1, "the second call is queued")
    served.handle.kill()
    for each in (waiting, also):
        error = each.error()
        assert isinstance(error, ServerGone)
        assert error.progress == "unknown"
    with pytest.raises(NotRunning):
        served.client.call({"add": 1})


def test_waiting_client_gets_server_gone_when_only_the_servers_child_lives(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    """A child that a task forked does not keep the server's connections open."""
    served = serve()
    child = psutil.Process(served.client.call({"fork": "stays"}))
    started = tmp_path / "started"
    waiting = Waiting(served.client, {"until": (str(started), str(tmp_path / "never"))}, None)
    wait_until(started.exists, "the task has started")
    try:
        served.process.kill()
        assert isinstance(waiting.error(), ServerGone)
        assert child.is_running()
        again = Server("127.0.0.1", served.port, served.token).run_background()
        again.kill()
    finally:
        child.kill()


@pytest.mark.parametrize(
    ("how", "code"), [("returns", 0), ("raises", 1), ("responds", 0), ("stays", None)]
)
def test_clients_notice_nothing_when_a_task_forks(
    alone: Served, how: str, code: int | None
) -> None:
    """The child closes what it got and ends with the task; the parent's connections stay."""
    alone.tracebacks = 1 if how == "raises" else 0
    with alone.raw() as idle, Client("127.0.0.1", alone.port, alone.token) as other:
        other.ping()
        channel = other._caller.channel
        answer = alone.client.call({"fork": how}, timeout=20.0)
        assert code is None or answer == code
        assert other.call({"add": 0}) == 0
        assert other._caller.channel is channel
        if code is None:
            child = psutil.Process(answer)
            try:
                wait_until(lambda: not child.net_connections("inet"), "the child has no sockets")
            finally:
                child.kill()
        idle.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            idle.sock.recv(1)


def test_call_times_out_as_unknown_when_the_server_is_stopped(alone: Served) -> None:
    """A server that can't even tell how far it is leaves the outcome unknown."""
    alone.client.ping()
    with alone.stopped(), pytest.raises(CallTimeout) as caught:
        alone.client.call({"add": 0}, timeout=0.2)
    assert caught.value.progress == "unknown"
    # The same connection, and the late reply of the call before is no answer to this one.
    assert alone.client.call({"respond": "mine"}) == "mine"


def test_call_times_out_as_not_started_when_it_can_not_leave(alone: Served) -> None:
    """A request that a stopped server never took whole ends in time, and never runs."""
    alone.client.ping()
    with alone.stopped(), pytest.raises(CallTimeout) as caught:
        alone.client.call({"add": 1, "much": bytes(2**26)}, timeout=0.2)
    assert caught.value.progress == "not started"
    assert alone.client.call({"add": 0}) == 0


def test_close_returns_when_the_server_is_stopped(alone: Served) -> None:
    """Saying goodbye waits for nobody, also where nothing more fits into the connection."""
    alone.client.ping()
    with alone.stopped():
        with pytest.raises(CallTimeout):
            alone.client.execute({"add": 0, "much": bytes(2**26)}, timeout=0.1)
        alone.client.close()


def test_server_serves_on_when_a_failure_is_too_large_to_send(
    serve: Callable[..., Served],
) -> None:
    """The caller hears of an exception whose text is over the limit for messages."""
    served = serve(max_message=2**16)
    with pytest.raises(RemoteError, match="ValueError"):
        served.client.call({"raise": 2**20}, timeout=20.0)
    served.check()


def test_server_serves_on_when_a_failure_can_not_be_printed(serve: Callable[..., Served]) -> None:
    """An exception whose message exits the process ends neither server nor waiting."""
    served = serve()
    with pytest.raises(RemoteError, match="Unprintable"):
        served.client.call({"raise_unprintable": 1}, timeout=20.0)
    assert served.client.call({"add": 1}) == 1


def test_terminate_returns_when_another_thread_reads(
    start: Callable[..., tuple[Handle, Client]], tmp_path: Path
) -> None:
    """The end of the connection may be read by whichever thread waits, and before it is awaited."""
    for _ in range(5):
        handle, client = start(token=Served.token)
        threads = [threading.Thread(target=_until_gone, args=(client,)) for _ in range(3)]
        client.ping()
        for thread in threads:
            thread.start()
        client.terminate(timeout=20.0)
        assert handle.wait(20.0)
        for thread in threads:
            thread.join()


def test_wait_for_the_end_returns_when_it_has_been_read_before(alone: Served) -> None:
    """A connection that has ended already is not waited for."""
    alone.client.ping()
    channel = alone.client._caller.channel
    assert channel is not None
    channel.link.sock.shutdown(socket.SHUT_RDWR)
    assert isinstance(channel.request(Ping, None, None), ServerGone)
    assert channel.wait_closed(None)


class Waiting:
    """A call in a thread of its own."""

    def __init__(self, client: Client, args: dict[str, object], timeout: float | None) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._call, args=(client, args, timeout))
        self._thread.start()

    def _call(self, client: Client, args: dict[str, object], timeout: float | None) -> None:
        try:
            client.call(args, timeout=timeout)
        except BaseException as error:
            self._error = error

    def error(self) -> BaseException | None:
        """Give what the call raised, once it has."""
        self._thread.join()
        return self._error


def _until_gone(client: Client) -> None:
    try:
        while True:
            client.ping()
    except ConnectionError:
        pass
