"""What holds however the bytes travel: plainly or over TLS, by TCP, IPv6 or a Unix socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import psutil
import pytest

from bgpy import (
    AuthenticationError,
    CallTimeout,
    Client,
    Handle,
    Limits,
    Server,
    ServerGone,
    ServerRestarted,
    respond,
    token_create,
)
from tests.support.builds import FREE_THREADED
from tests.support.certificates import lend_to
from tests.support.deaf import read_again, stop_reading
from tests.support.gate import Gate, pass_gate
from tests.support.peers import wait_until

TOKEN = "of-a-test-and-long-enough-not-to-be-stretched"
MEBIBYTE = 2**20

Script = Callable[..., "subprocess.Popen[str]"]


class Transport(NamedTuple):
    """How a server is bound, and how its clients reach it."""

    bind: str
    reached: str
    options: dict[str, Any] = {}  # noqa: RUF012
    tls: bool | None = None


TRANSPORTS = {
    "tcp": Transport("127.0.0.1:0", "127.0.0.1"),
    "ipv6": Transport("[::1]:0", "[::1]"),
    "unix": Transport("unix:{folder}/socket", ""),
    "tls": Transport("127.0.0.1:0", "127.0.0.1", {"tls": True}, True),
    "tls-beyond": Transport("[::]:0", "127.0.0.1", {"plain_loopback": False}, True),
}


class Running(NamedTuple):
    """A server, and how it is reached."""

    handle: Handle
    address: str
    tls: bool | None

    def client(self, **options: Any) -> Client:
        """Make a client of it."""
        return Client(self.address, **{"token": TOKEN, "tls": self.tls, **options})


def init() -> list[Any]:
    return []


def execute(client_socket: Any, state: list[Any], args: dict[str, Any]) -> list[Any]:
    if "gate" in args:
        pass_gate(args["gate"])
    if "raise" in args:
        raise LookupError(args["raise"])
    if "later" in args:
        deferred = client_socket.defer()
        threading.Thread(target=deferred.respond, args=(args["later"],)).start()
        return state
    if "fork" in args and not (child := os.fork()):
        os._exit(7) if args["fork"] == "exits" else respond(client_socket, "of the child")
        return state
    state.append(args.get("number"))
    if "fork" in args:
        respond(client_socket, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    else:
        respond(client_socket, b"x" * args.get("size", 0) or args.get("echo", len(state)))
    return state


def leave(client_socket: Any, state: list[Any], args: dict[str, Any]) -> None:
    respond(client_socket, "left")


@pytest.fixture(scope="module", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    return TRANSPORTS[request.param]


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    """A folder whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="bgpy-") as folder:
        yield folder


def _start(transport: Transport, folder: str, **limits: Any) -> Running:
    bind = transport.bind.format(folder=folder)
    server = Server(bind, None, TOKEN, limits=Limits(**limits), **transport.options)
    handle = server.run_background()
    address = f"{transport.reached}:{handle.port}" if transport.reached else handle.address
    running = Running(handle, address, transport.tls)
    with running.client() as client:
        client.initialize(init, execute, leave)
    return running


@pytest.fixture(scope="module")
def running(
    transport: Transport, folder: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server that all tests of a transport share; they leave it as it was, but for its state."""
    with pytest.MonkeyPatch.context() as environment:
        home = tmp_path_factory.mktemp("home")
        environment.setenv("BGPY_HOME", str(home))
        lend_to(home)
        running = _start(transport, folder, max_queued=8 * MEBIBYTE)
    yield running
    running.handle.kill()


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    """A client of the shared server."""
    with running.client() as client:
        yield client


@pytest.fixture
def start(transport: Transport, folder: str) -> Iterator[Callable[..., Running]]:
    """Start a server of the test's own; takes options of `Limits`."""
    started: list[Running] = []

    def start(**limits: Any) -> Running:
        started.append(_start(transport, f"{folder}/own", **limits))
        return started[-1]

    yield start
    for running in started:
        running.handle.kill()


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


def test_large_buffers_travel_both_ways_and_can_be_written_to(client: Client) -> None:
    """Arrays, bytes and what lies between; what comes back is the caller's own."""
    sent = {
        "array": numpy.arange(2**20, dtype=numpy.float64),
        "bytes": os.urandom(3 * MEBIBYTE),
        "small": b"x",
        "odd": bytearray(os.urandom(2**16 + 1)),
    }
    received = client.call({"echo": sent})
    assert numpy.array_equal(received["array"], sent["array"])
    received["array"][0] = 1
    assert {**received, "array": 0} == {**sent, "array": 0}


def test_thousands_of_futures_are_answered_in_order(client: Client) -> None:
    """Small ones travel together, and each gets its own answer."""
    futures = [client.submit({"echo": number}) for number in range(3000)]
    assert [future.result(60) for future in futures] == list(range(3000))


@pytest.mark.parametrize("transport", ["unix", "tls"], indirect=True)
def test_large_requests_and_replies_pass_each_other_when_both_sides_have_to_wait(
    start: Callable[..., Running],
) -> None:
    """The server reads no more before its replies are taken, while more is being sent."""
    with start(max_unsent=MEBIBYTE).client() as client:
        data = os.urandom(4 * MEBIBYTE)
        futures = [client.submit({"echo": data}) for _ in range(8)]
        assert all(future.result(60) == data for future in futures)


def test_threads_of_one_client_get_each_their_own_answer(client: Client) -> None:
    """Small and large ones, over one connection."""

    def work(number: int) -> bool:
        sent = bytes((number,)) * (1 if number % 2 else 100_000 + number)
        return bool(client.call({"echo": sent}) == sent)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))


def test_server_answers_while_a_task_runs(client: Client, running: Running, gate: Gate) -> None:
    """A ping, and a new client's whole way in."""
    future = client.submit({"gate": gate.place, "echo": "done"})
    gate.wait()
    assert client.ping() > 0
    with running.client() as other:
        assert other.ping() > 0
    gate.open()
    assert future.result(60) == "done"


def test_task_may_raise_and_answer_later_from_another_thread(client: Client) -> None:
    """The connection goes on after both."""
    with pytest.raises(LookupError, match="no such thing"):
        client.call({"raise": "no such thing"})
    assert client.call({"later": "from a thread"}) == "from a thread"
    assert client.call({"echo": 1}) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("how", ["exits", "responds"])
def test_task_that_forks_is_not_noticed_by_clients(
    running: Running, client: Client, how: str
) -> None:
    """The child leaves connections, listener and socket file alone, and says nothing."""
    with running.client() as other:
        assert other.ping() > 0
        assert client.call({"fork": how}) == {"exits": 7, "responds": 0}[how]
        assert other.call({"echo": 2}) == client.call({"echo": 2}) == 2
    with running.client() as new:
        assert new.ping() > 0


FORK = """
import os, sys
from bgpy import Client
client = Client(sys.argv[1], token=sys.argv[2], tls=sys.argv[3] == "True" or None)
future = client.submit({"echo": 1})
assert future.result() == 1
child = os.fork()
for number in range(20):
    assert client.call({"echo": [number, bool(child)] * 1000}) == [number, bool(child)] * 1000
if not child:
    client.close()
    os._exit(0)
print(os.waitpid(child, 0)[1], client.call({"echo": "parent"}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_client_opens_a_connection_of_its_own(running: Running, script: Script) -> None:
    """Parent and child share no word of one connection."""
    process = script(FORK, running.address, TOKEN, running.tls)
    assert process.communicate() == ("0 parent\n", "")


KILLED = """
import os, signal, sys
from bgpy import Client
from bgpy.calling.blocking.send_queue import SendQueue
client = Client(sys.argv[1], token=sys.argv[2], tls=sys.argv[3] == "True" or None)
client.ping()
take = SendQueue._take
def take_a_part(queue, pieces):
    take(queue, [memoryview(piece)[:50_000] for piece in pieces[:2]])
    os.kill(os.getpid(), signal.SIGKILL)
SendQueue._take = take_a_part
client.call({"echo": b"x" * 10_000_000})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_client_that_is_killed_within_a_request_harms_nobody(
    running: Running, client: Client, script: Script
) -> None:
    """What came of it never runs."""
    before = client.call({})
    process = script(KILLED, running.address, TOKEN, running.tls)
    assert process.wait() == -signal.SIGKILL
    assert client.call({}) == before + 1


def test_request_that_leaves_in_part_within_its_time_ends_its_connection_alone(
    running: Running, client: Client
) -> None:
    """It never ran, and the next call goes over a new connection."""
    before = client.call({})
    process = psutil.Process(running.handle.pid)
    process.suspend()
    try:
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it has stopped")
        with pytest.raises(CallTimeout) as caught:
            client.call({"echo": bytes(32 * MEBIBYTE)}, timeout=0.1)
    finally:
        process.resume()
    assert caught.value.progress == "not started"
    assert client.call({}) == before + 1


def test_wrong_token_is_refused_and_the_right_one_served(running: Running) -> None:
    """The proof is the same everywhere."""
    with running.client(token=token_create()) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    with running.client() as client:
        assert client.ping() > 0


def test_server_that_is_killed_is_noticed_and_its_address_can_be_had_again(
    transport: Transport, start: Callable[..., Running], gate: Gate
) -> None:
    """Who waits is told, and of the next one too, at the same place."""
    first = start()
    with first.client() as client:
        future = client.submit({"gate": gate.place})
        gate.wait()
        first.handle.kill()
        with pytest.raises(ServerGone) as caught:
            future.result(60)
        assert caught.value.progress == "unknown"
        if first.handle.port:
            return  # a free port is not the same again
        start()
        with pytest.raises(ServerRestarted):
            client.call({})
        assert client.call({}) == 1


def test_terminate_returns_when_the_address_is_given_back(start: Callable[..., Running]) -> None:
    """Nothing listens there, and no socket file stays."""
    running = start()
    with running.client() as client:
        assert client.terminate(await_response=True) == "left"
    assert not running.handle.is_alive()
    with pytest.raises(ConnectionRefusedError):
        running.client().ping()
    if not running.handle.port:
        assert not Path(running.address.removeprefix("unix:")).exists()


def test_stop_of_the_handle_ends_the_server(start: Callable[..., Running]) -> None:
    """It knows how its server is reached."""
    running = start()
    assert running.handle.stop(timeout=60)


@pytest.mark.parametrize("transport", ["unix", "tls"], indirect=True)
def test_client_that_never_reads_is_dropped_and_costs_bounded_memory(
    start: Callable[..., Running],
) -> None:
    """What it doesn't take waits in sockets, and in no more memory than the limit says."""
    running = start(max_unsent=MEBIBYTE, stall_timeout=0.5)
    server = psutil.Process(running.handle.pid)
    before = server.memory_info().rss
    with running.client() as client, running.client() as deaf:
        deaf.ping()
        channel = deaf._caller.channel
        assert channel is not None
        stop_reading(channel)
        for _ in range(60):
            deaf.submit({"size": 2 * MEBIBYTE})
        log = Path(running.handle.log_file or "")
        most = 0
        while "dropped: it left" not in log.read_text():
            client.call({"echo": 1})
            most = max(most, server.memory_info().rss)
        assert FREE_THREADED or most - before < 64 * MEBIBYTE  # whose allocator keeps memory
        read_again(channel)  # of the end: closing waits for it
