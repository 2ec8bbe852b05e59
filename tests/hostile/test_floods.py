"""Too many, too fast, too slow: peers that are a load by their number or their patience."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from bgpy import Client
from bgpy.wire.messages import Failure, Pong, Receipt, Reply
from tests.support.aftermath import PROMPT, aftermath
from tests.support.peers import EXECUTE, HELLO, connect, frame, read_to_end, reset, wait_until
from tests.support.served import TOKEN, Served

THOUSAND = 1000


def _send_until_nothing_is_taken(sock: socket.socket, data: bytes) -> None:
    sock.settimeout(0.1)
    with suppress(TimeoutError):
        while sock.send(data):
            pass


def _prompt(served: Served, times: int = 10) -> None:
    with Client("127.0.0.1", served.port, TOKEN, timeout=PROMPT) as honest:
        for number in range(times):
            assert honest.call({"respond": number}) == number


@pytest.mark.parametrize("sent", [b"", HELLO[:1], HELLO[:59], HELLO, HELLO + bytes(31)])
def test_honest_clients_are_served_when_thousands_stay_half_open(
    serve: Callable[..., Served], sent: bytes
) -> None:
    """They hold what they may, the oldest make room, and all of it is given back."""
    served = serve(max_half_open=300, handshake_timeout=60.0)
    with aftermath(served.handle, TOKEN), ExitStack() as stack:
        for number in range(THOUSAND):
            sock = stack.enter_context(connect(served.port))
            sock.sendall(sent)
            if number % 250 == 0:
                _prompt(served)
        with served.raw() as observer:
            assert observer.status()["clients"] <= 300 + 3
        _prompt(served)


def test_honest_clients_are_served_when_slow_peers_go_on(serve: Callable[..., Served]) -> None:
    """Peers that send a byte now and then, all of them at once, take nobody's turn."""
    served = serve(handshake_timeout=60.0)
    with ExitStack() as stack:
        socks = [stack.enter_context(connect(served.port)) for _ in range(200)]
        for byte in HELLO[:40]:
            for sock in socks:
                sock.sendall(bytes((byte,)))
            if byte % 8 == 0:
                _prompt(served, 2)
        _prompt(served)


@pytest.mark.parametrize(
    ("request_frame", "answer"),
    [
        (frame(10, 0, 1), Pong),
        (frame(12, 0, 1, b"{}"), object),
        (frame(9, 0, 1, bytes(8)), object),
        (frame(15, 0, 1, b'{"modules": []}'), object),
        (frame(2, EXECUTE, 1, pickle.dumps({"respond": 1})), Receipt),
        (frame(2, EXECUTE | 1, 1, pickle.dumps({"respond": 1})), Reply),
        (frame(2, EXECUTE | 1, 1, b""), Failure),
    ],
    ids=["ping", "status", "cancel", "modules", "execute", "call", "failure"],
)
def test_others_are_served_when_a_client_floods_the_server(
    served: Served, request_frame: bytes, answer: type
) -> None:
    """Ten thousand tiny requests of one client, of whose answers it reads none yet."""
    count = 10_000
    with served.raw() as flood:
        flood.sock.setblocking(False)
        left = memoryview(request_frame * count)
        for _ in range(200):
            try:
                left = left[flood.sock.send(left) :]
            except BlockingIOError:
                _prompt(served, 1)
            if not left:
                break
        _prompt(served)
        flood.sock.settimeout(20.0)
        assert isinstance(flood.receive(), answer)


def test_memory_is_bounded_when_a_client_never_reads(serve: Callable[..., Served]) -> None:
    """It gets what its socket takes and `max_unsent`, and no more runs for it."""
    served = serve(max_unsent=2**20, max_requests=100)
    call = frame(2, EXECUTE | 1, 1, pickle.dumps({"reply_size": 100_000}))
    with aftermath(served.handle, TOKEN), ExitStack() as stack:
        for _ in range(5):
            greedy = stack.enter_context(served.raw())
            _send_until_nothing_is_taken(greedy.sock, call * 1000)
        before = served.process.memory_info().rss
        for _ in range(5):
            _prompt(served)
        assert served.process.memory_info().rss - before < 16 * 2**20


def test_server_takes_connections_when_they_come_and_go_in_a_storm(served: Served) -> None:
    """Connects that are reset at once, half-closed or left, between those of honest clients."""
    for number in range(600):
        sock = connect(served.port)
        sock.sendall(HELLO[: number % 61])
        if number % 3 == 0:
            reset(sock)
        elif number % 3 == 1:
            sock.shutdown(socket.SHUT_WR)
            read_to_end(sock)
            sock.close()
        else:
            sock.close()
        if number % 100 == 0:
            _prompt(served)
    with served.raw() as observer:
        wait_until(lambda: observer.status()["clients"] <= 3, "the storm is over")
