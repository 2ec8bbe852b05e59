"""Clients that ask for more than they take: bounded, and nobody else notices."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import psutil
import pytest

from bgpy import Client, Handle, Limits, respond

TOKEN = "t" * 32
MEBIBYTE = 2**20

Start = Callable[..., tuple[Handle, Client]]


def init() -> list[int]:
    return []


def execute(client_socket: object, state: list[int], args: dict[str, int]) -> list[int]:
    state.append(args["number"])
    respond(client_socket, bytes(args.get("size", 0)) or len(state))
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
        channel = client._caller._channel
        assert channel is not None
        # The role of the reader is taken by nobody who reads.
        channel._reader = -1
        clients.append(client)
        return client

    yield make
    for client in clients:
        channel = client._caller._channel
        if channel is not None:
            channel._sock.shutdown(socket.SHUT_RDWR)
            channel._reader = None
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
    assert most - before < 64 * MEBIBYTE
    # What was handed over runs to the end: its answers have nowhere to go.
    assert [client.call({"number": -1}) for _ in range(200)][-1] >= 400


def _clients(server: psutil.Process) -> list[object]:
    return [each for each in server.net_connections() if each.status == "ESTABLISHED"]


def test_client_waits_for_its_turn_when_there_are_too_many_connections(start: Start) -> None:
    """It connects when another one leaves."""
    handle, client = _initialized(start, max_connections=2, handshake_timeout=0.2)
    with Client(handle.host, handle.port, TOKEN) as second:
        assert second.call({"number": 1}) == 1
        third = Client(handle.host, handle.port, TOKEN, connect_timeout=30.0)
        client.close()
        with third:
            assert third.call({"number": 2}) == 2
    client.ping()


def test_terminate_works_when_a_client_never_reads(
    start: Start, deaf: Callable[[Handle], Client]
) -> None:
    """Neither what is queued for it nor what it hasn't taken keeps the server."""
    handle, client = _initialized(
        start, max_unsent=MEBIBYTE, stall_timeout=300.0, drain_timeout=0.2
    )
    silent = deaf(handle)
    for number in range(5):
        silent.submit({"number": number, "size": 4 * MEBIBYTE})
    client.terminate(timeout=60.0)
    assert handle.wait(60.0)
