"""What a client does when a server that holds the token answers what makes no sense."""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from bgpy import BgpyError, Client, ServerGone
from bgpy.config import Limits
from bgpy.memory import allocate
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ServerHandshake, ServerTerms, Welcome, derive_key
from bgpy.wire.messages import (
    Failure,
    Goodbye,
    Message,
    Modules,
    Pong,
    Receipt,
    Reply,
    Status,
)
from bgpy.wire.table import encode
from tests.support.peers import frame
from tests.support.served import Served
from tests.support.tasks import attacked as tasks
from tests.support.thief import thief_that

TOKEN = "of-an-odd-server-and-long-enough-not-to-be-stretched"
WELCOME = Welcome(secrets.token_bytes(16), bytes(16), 0, 0, (3, 11, 0), "1")

ANSWERS: dict[str, Callable[[int], list[Message] | bytes]] = {
    "pong": lambda request: [Pong(request)],
    "receipt": lambda request: [Receipt(request, 0)],
    "already initialized": lambda request: [Receipt(request, 2)],
    "reply": lambda request: [Reply(request, b"\x80\x05N.")],
    "reply that doesn't load": lambda request: [Reply(request, b"noise")],
    "reply of another codec": lambda request: [Reply(request, b"noise", codec=7)],
    "reply without a codec": lambda request: [Reply(request, b"", codec=0)],
    "reply with code of another Python": lambda request: [Reply(request, b"\x02\x07N.", code=True)],
    "failure": lambda request: [Failure(request, 0, "odd.Error", "it is odd")],
    "failure without words": lambda request: [Failure(request, 0)],
    "failure of an unknown reason": lambda request: [Failure(request, 200, "", "odd")],
    "failure that doesn't load": lambda request: [Failure(request, 0, "", "", "", b"odd", (), 1)],
    "not started": lambda request: [Failure(request, 3, text="no")],
    "status": lambda request: [Status(request, "{}")],
    "status that is no JSON": lambda request: [Status(request, "{")],
    "modules": lambda request: [Modules(request, "{}")],
    "modules that are no JSON": lambda request: [Modules(request, "[" * 10_000)],
    "modules that are a list": lambda request: [Modules(request, '{"modules": [1]}')],
    "goodbye": lambda request: [Goodbye("no more")],
    "failure of the connection": lambda request: [Failure(0, 4, text="you broke it")],
    "a question": lambda request: frame(2, 0x11, request, b"\x80\x05N."),
    "a kind that is unknown": lambda request: frame(200, 0, request),
    "too large a head": lambda request: frame(4, 0x10, request, length=2**32 - 1),
    "too large a buffer": lambda request: (
        frame(4, 0x10, request, count=1) + struct.pack("<Q", 2**64 - 2**33)
    ),
    "too many buffers": lambda request: frame(4, 0x10, request, count=65535),
    "half an answer": lambda request: frame(4, 0x10, request, b"half", length=100),
}

CALLS: dict[str, Callable[[Client], object]] = {
    "ping": lambda client: client.ping(),
    "call": lambda client: client.call({}),
    "execute": lambda client: client.execute({}),
    "submit": lambda client: client.submit({}).result(20.0),
    "initialize": lambda client: client.initialize(
        tasks.init_task, tasks.exec_task, tasks.exit_task
    ),
    "terminate": lambda client: client.terminate(),
    "timeout": lambda client: client.call({}, timeout=0.0),
}


def _serve(sock: socket.socket, answer: Callable[[int], list[Message] | bytes]) -> None:
    """Prove the token, answer the first request, and close, unless the client is the first to."""
    with suppress(ConnectionError):
        _answer(sock, answer)


def _answer(sock: socket.socket, answer: Callable[[int], list[Message] | bytes]) -> None:
    terms = ServerTerms(2**64 - 1, 0xFFFE)
    server_id = secrets.token_bytes(16)
    handshake = ServerHandshake(
        server_id, secrets.token_bytes(32), derive_key(TOKEN, server_id), terms, WELCOME
    )
    connection = Connection.server_side(handshake, Limits(), allocate)
    messages: list[Any] = []
    while not messages:
        data = sock.recv(65536)
        if not data:
            return
        messages = connection.receive(data)
        sock.sendall(connection.take_outgoing())
    said = answer(messages[0].request)
    sock.sendall(said if isinstance(said, bytes) else b"".join(b"".join(encode(m)) for m in said))


@contextmanager
def odd_server(answer: str) -> Iterator[Client]:
    """Run such a server, and give a client of it."""
    with (
        thief_that(partial(_serve, answer=ANSWERS[answer])) as port,
        Client("127.0.0.1", port, TOKEN, timeout=20.0) as client,
    ):
        yield client


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("call", CALLS)
def test_client_raises_only_documented_errors_when_answers_make_no_sense(
    call: str, answer: str
) -> None:
    """A value or an error of ours, at once; never a bare error of some depth of the library."""
    with odd_server(answer) as client, suppress(BgpyError):
        CALLS[call](client)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_futures_end_when_the_thread_that_reads_for_them_fails(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it fails of: nobody waits for what nobody will read."""
    with (
        monkeypatch.context() as patch,
        Client("127.0.0.1", served.port, served.token) as client,
    ):
        client.ping()
        channel = client._caller.channel
        assert channel is not None

        def fail(data: memoryview) -> None:
            raise MemoryError

        patch.setattr(
            channel.reader, "_frames", SimpleNamespace(target=None, idle=False, feed=fail)
        )
        error = client.submit({"add": 1}).exception(20.0)
        del channel
    assert isinstance(error, ServerGone)
    assert error.progress == "unknown"
    assert "MemoryError" in str(error)
