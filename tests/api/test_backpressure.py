"""Clients that ask for more than they take: bounded, and nobody else notices."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from bgpy import Client, Handle, Limits, respond
from tests.support.builds import FREE_THREADED
from tests.support.deaf import read_again, stop_reading
from tests.support.gate import Gate, pass_gate
from tests.support.peers import RawClient, frame, wait_until
from tests.support.tasks.counting import TASKS

TOKEN = "t" * 32
MEBIBYTE = 2**20

Start = Callable[..., tuple[Handle, Client]]


def init() -> list[int]:
    return []


def execute(client_socket: object, state: list[int], args: dict[str, Any]) -> list[int]:
    if "gate" in args:
        pass_gate(args["gate"])
    state.append(args["number"])
    # Not bytes(size): zeros that nobody has touched take no memory.
    respond(client_socket, b"x" * args.get("size", 0) or len(state))
    return state


def leave(client_socket: object, state: list[int], args: dict[str, object]) -> None:
    respond(client_socket, len(state))


@pytest.fixture
def deaf() -> Iterator[Callable[[Handle], Client]]:
    """Make a client that submits and never reads an answer."""
    clients: list[Client] = []

    def make(handle: Handle) -> Client:
        client = Client(handle.host, handle.port, TOKEN)
        client.ping()
        channel = client._caller.channel
        assert channel is not None
        stop_reading(channel)
        clients.append(client)
        return client

    yield make
    for client in clients:
        channel = client._caller.channel
        if channel is not None:
            with suppress(OSError):  # the server has dropped it
                channel.link.sock.shutdown(socket.SHUT_RDWR)
            read_again(channel)  # of the end: closing waits for it
        client.close()


def _initialized(start: Start, **limits: float) -> tuple[Handle, Client]:
    handle, client = start(token=TOKEN, limits=Limits(**limits))  # type: ignore[arg-type]
    client.initialize(init, execute, leave)
    return handle, client


def test_client_gets_every_answer_when_it_submits_more_than_the_queue_takes(start: Start) -> None:
    """Its requests wait in its own socket, in their order, while another client is served."""
    handle, client = _initialized(start, max_requests=10)
    with Client(handle.host, handle.port, TOKEN) as other:
        futures = [client.submit({"number": number}) for number in range(3000)]
        assert other.call({"number": -1}) > 0
        results = [future.result(60) for future in futures]
    assert results == sorted(results)
    assert len(set(results)) == 3000


def test_client_gets_large_answers_whole_when_it_asks_for_many(start: Start) -> None:
    """More than the limit for unread replies is under way, and nothing is lost."""
    _, client = _initialized(start, max_unsent=MEBIBYTE, stall_timeout=60.0)
    futures = [client.submit({"number": n, "size": 2 * MEBIBYTE}) for n in range(30)]
    assert [len(future.result(60)) for future in futures] == [2 * MEBIBYTE] * 30


def test_client_that_never_reads_is_dropped_and_costs_bounded_memory(
    start: Start, deaf: Callable[[Handle], Client]
) -> None:
    """Other clients are served meanwhile; what it had asked for still runs."""
    handle, client = _initialized(start, max_unsent=MEBIBYTE, stall_timeout=1.0)
    assert handle.pid is not None
    server = psutil.Process(handle.pid)
    before = server.memory_info().rss
    silent = deaf(handle)
    most = 0
    for number in range(200):
        silent.submit({"number": number, "size": 4 * MEBIBYTE})
    while server.net_connections() and len(_clients(server)) > 1:
        client.call({"number": -1})
        most = max(most, server.memory_info().rss)
    assert FREE_THREADED or most - before < 64 * MEBIBYTE  # whose allocator keeps memory
    # What was handed over runs to the end: its answers have nowhere to go.
    assert [client.call({"number": -1}) for _ in range(200)][-1] >= 400


def _clients(server: psutil.Process) -> list[object]:
    return [each for each in server.net_connections() if each.status == "ESTABLISHED"]


def test_client_gets_its_answers_in_order_when_it_reads_at_last(
    start: Start, deaf: Callable[[Handle], Client]
) -> None:
    """Its requests were held while it didn't read, and others were served."""
    handle, client = _initialized(start, max_unsent=MEBIBYTE, stall_timeout=300.0)
    silent = deaf(handle)
    futures = [silent.submit({"number": n, "size": 4 * MEBIBYTE}) for n in range(40)]
    # In turn, 60 calls of the other client would let all 40 run.
    assert [client.call({"number": -1}) for _ in range(60)][-1] < 100
    channel = silent._caller.channel
    assert channel is not None
    read_again(channel)
    assert [len(future.result(60)) for future in futures] == [4 * MEBIBYTE] * 40
    assert client.call({"number": -1}) == 101


def test_server_keeps_bounded_memory_when_a_client_floods_it(start: Start, gate: Gate) -> None:
    """While a task runs, what doesn't fit into the line waits in the client's socket."""
    handle, client = _initialized(start, max_queued=8 * MEBIBYTE)
    assert handle.pid is not None
    server = psutil.Process(handle.pid)
    before = server.memory_info().rss
    futures = [client.submit({"number": 0, "gate": gate.place})]
    gate.wait()

    def submit() -> None:
        for number in range(1, 301):
            futures.append(client.submit({"number": number, "data": bytes(MEBIBYTE)}))

    flood = threading.Thread(target=submit)
    flood.start()
    with Client(handle.host, handle.port, TOKEN) as other:
        submitted, quiet = 0, 0
        while quiet < 200 and flood.is_alive():  # until it is stuck, or all has left
            other.ping()
            quiet = quiet + 1 if len(futures) == submitted else 0
            submitted = len(futures)
        most = server.memory_info().rss
        gate.open()
        while flood.is_alive():
            other.call({"number": -1})
            most = max(most, server.memory_info().rss)
    assert FREE_THREADED or most - before < 64 * MEBIBYTE  # whose allocator keeps memory
    results = [future.result(60) for future in futures]
    assert len(results) == 301
    assert results == sorted(results)


def test_server_keeps_bounded_memory_when_a_peer_only_pings_and_never_reads(start: Start) -> None:
    """Answers that no task gives count as well; the peer is dropped, the others are served."""
    handle, client = _initialized(start, max_unsent=MEBIBYTE, stall_timeout=0.5)
    assert handle.pid is not None
    server = psutil.Process(handle.pid)
    before = server.memory_info().rss
    pings = b"".join(frame(10, 0, number, b"") for number in range(1, 10_001))
    with RawClient(handle.port, TOKEN) as peer:
        dropped = threading.Event()

        def flood() -> None:
            try:
                while True:
                    peer.send(pings)
            except OSError:
                dropped.set()

        thread = threading.Thread(target=flood)
        thread.start()
        while not dropped.is_set():
            client.call({"number": -1})
            assert server.memory_info().rss - before < 64 * MEBIBYTE
        thread.join(60)
    client.call({"number": -1})


def test_client_waits_for_its_turn_when_there_are_too_many_connections(
    start: Start, bgpy_home: Path
) -> None:
    """It connects when another one leaves; the log tells what it waited for."""
    handle, client = _initialized(start, max_connections=2, handshake_timeout=300.0)
    with (
        Client(handle.host, handle.port, TOKEN) as second,
        Client(handle.host, handle.port, TOKEN, connect_timeout=60.0) as third,
    ):
        assert second.call({"number": 1}) == 1
        answers: list[int] = []
        waits = threading.Thread(target=lambda: answers.append(third.call({"number": 2})))
        waits.start()
        (log,) = bgpy_home.glob("**/log")
        wait_until(lambda: "max_connections" in log.read_text(), "a client waits")
        assert second.call({"number": 3}) == 2
        assert answers == []
        client.close()
        waits.join(60)
        assert answers == [3]
    client.ping()


def test_terminate_works_when_a_client_never_reads(
    start: Start, deaf: Callable[[Handle], Client]
) -> None:
    """What is held for it runs all the same; what it hasn't taken doesn't keep the server."""
    handle, client = _initialized(
        start, max_unsent=MEBIBYTE, stall_timeout=300.0, drain_timeout=0.2
    )
    silent = deaf(handle)
    for number in range(40):
        silent.submit({"number": number, "size": 4 * MEBIBYTE})
    channel = silent._caller.channel
    assert channel is not None
    wait_until(lambda: not channel.link.sends.waiting, "all requests have left")
    assert [client.call({"number": -1}) for _ in range(60)][-1] < 100
    assert client.terminate(await_response=True, timeout=60.0) == 100
    assert handle.wait(60.0)


def few_descriptors(state: Any) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


def open_some(state: Any) -> int:
    with ExitStack() as stack:
        return len([stack.enter_context(open(os.devnull, "rb")) for _ in range(15)])


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors aren't limited there")
def test_task_opens_files_however_many_strangers_connect(start: Start) -> None:
    """Some descriptors are kept for it; who holds the token is let in all the same."""
    handle, client = start(token=TOKEN)
    client.initialize(*TASKS)
    client.call({"run": few_descriptors})
    with ExitStack() as stack:
        for _ in range(150):
            stack.enter_context(socket.create_connection((handle.host, handle.port), 60))
        with Client(handle.host, handle.port, TOKEN, connect_timeout=60.0) as late:
            assert late.ping() >= 0
            assert client.call({"run": open_some}) == 15
