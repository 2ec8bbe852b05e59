"""What a client does when not its server answers: thieves of the port, relays, itself."""

from __future__ import annotations

import secrets
import socket
from functools import partial
from pathlib import Path

import psutil
import pytest

from bgpy import AuthenticationError, Client
from bgpy.calling.blocking import racing
from bgpy.errors import BgpyError, ConnectError, NotBgpy, NotRunning, RemoteProtocolError
from bgpy.wire.handshake import (
    HELLO_SIZE,
    MAGIC,
    SERVER_HELLO_SIZE,
    ServerHandshake,
    ServerTerms,
    Welcome,
    derive_key,
)
from tests.support.peers import Canary, connect, read_to_end, reset
from tests.support.served import Served
from tests.support.thief import Deed, answer, thief_that


def server_hello_without_token() -> bytes:
    """Give a server hello as exact as it can be made without the token."""
    server_id = secrets.token_bytes(16)
    terms, welcome = ServerTerms(2**31, 1024), Welcome(bytes(16), bytes(16), 0, 0, (3, 11, 0), "1")
    key = derive_key("guessed-and-long-enough-to-be-a-token", server_id)
    handshake = ServerHandshake(server_id, bytes(32), key, terms, welcome)
    return handshake.receive(MAGIC + bytes((2, 2, 0, 0)) + bytes(48))


@pytest.mark.parametrize("token", ["short", "f" * 64])
def test_thief_of_the_port_learns_nothing_when_a_client_connects(token: str) -> None:
    """It gets the client's random hello, cannot prove the token, and gets nothing more."""
    heard: list[bytes] = []

    def pretend(sock: socket.socket) -> None:
        hello = sock.recv(HELLO_SIZE, socket.MSG_WAITALL)
        sock.sendall(server_hello_without_token())
        heard.append(hello + read_to_end(sock))

    with thief_that(pretend) as port, Client("127.0.0.1", port, token) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                client.call({"secret": "args"})
    assert [len(each) for each in heard] == [HELLO_SIZE] * 2
    assert heard[0][28:] != heard[1][28:]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NotBgpy),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NotBgpy),
        (b"\x15\x03\x01\x00\x02\x02\x46", NotBgpy),
        (b"\x80\x04\x95\x10\x00\x00\x00", NotBgpy),
        (MAGIC[:7] + b"?", NotBgpy),
        (MAGIC + bytes((0, 2, 2, 9)) + bytes(SERVER_HELLO_SIZE - 12), RemoteProtocolError),
        (MAGIC + bytes((9, 9, 9, 0)) + bytes(SERVER_HELLO_SIZE - 12), BgpyError),
        (MAGIC + bytes((2, 2, 2, 0)) + bytes(SERVER_HELLO_SIZE - 12), AuthenticationError),
    ],
)
def test_client_raises_when_something_else_answers(data: bytes, error: type[BgpyError]) -> None:
    """Any other answer is an error that fits, before anything of the call is sent."""
    with (
        thief_that(partial(answer, data=data)) as port,
        Client("127.0.0.1", port, "a token") as client,
        pytest.raises(error),
    ):
        client.call({"secret": "args"})


def test_client_loads_nothing_when_a_thief_answers_with_pickles(tmp_path: Path) -> None:
    """A stranger's bytes are never unpickled by a client."""
    path = tmp_path / "canary"
    pickled = Canary(path).pickled()
    for data in (pickled, MAGIC + pickled, server_hello_without_token() + bytes(80) + pickled):
        with (
            thief_that(partial(answer, data=data)) as port,
            Client("127.0.0.1", port, "a token", connect_timeout=0.2) as client,
            pytest.raises(BgpyError),
        ):
            client.call({})
    assert not path.exists()


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_client_raises_connect_error_when_the_connection_is_closed(end: Deed) -> None:
    """Closed or reset at once: nothing ran, and no descriptor is left."""
    process = psutil.Process()
    with thief_that(end) as port:
        before = process.num_fds()
        for _ in range(50):
            with Client("127.0.0.1", port, "a token") as client, pytest.raises(ConnectError):
                client.ping()
        assert process.num_fds() <= before + 1  # the thief may be at its last one


def test_client_raises_connect_error_when_nobody_answers() -> None:
    """A port that accepts and stays silent costs the time to connect."""
    with (
        thief_that(partial(answer, data=b"")) as port,
        Client("127.0.0.1", port, "a token", connect_timeout=0.1) as client,
        pytest.raises(ConnectError, match="in time"),
    ):
        client.ping()


def test_client_raises_connect_error_when_its_bytes_are_echoed() -> None:
    """Its own hello sent back is no server's."""

    def echo(sock: socket.socket) -> None:
        try:
            while data := sock.recv(4096):
                sock.sendall(data * 2)
        except ConnectionError:
            pass

    with (
        thief_that(echo) as port,
        Client("127.0.0.1", port, "a token") as client,
        pytest.raises(BgpyError),
    ):
        client.ping()


@pytest.mark.parametrize(
    ("swapped", "error"),
    [
        (76, AuthenticationError),  # the server's proof
        (28, AuthenticationError),  # its id
        (44, AuthenticationError),  # its nonce
        (12, AuthenticationError),  # its codecs
        (20, AuthenticationError),  # its limits
        (SERVER_HELLO_SIZE, ConnectError),  # nothing of the server's; the client's proof
    ],
)
def test_client_raises_when_a_relay_changes_the_handshake(
    served: Served, swapped: int, error: type[BgpyError]
) -> None:
    """A relay can pass the handshake on as it is, or break it; a changed byte is noticed."""

    def relay(sock: socket.socket) -> None:
        with connect(served.port) as server:
            server.sendall(sock.recv(HELLO_SIZE, socket.MSG_WAITALL))
            answer = server.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)
            sock.sendall(_with_changed_byte(answer, swapped))
            proof = sock.recv(32, socket.MSG_WAITALL)
            assert bool(proof) == (error is ConnectError)
            if proof:
                server.sendall(_with_changed_byte(proof, 0))
                assert read_to_end(server) == b""

    with (
        thief_that(relay) as port,
        Client("127.0.0.1", port, served.token) as client,
        pytest.raises(error),
    ):
        client.call({"add": 1})


def test_client_raises_not_running_when_it_connects_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection whose two ends are one port is nobody's server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def itself(place: tuple[str, int]) -> socket.socket:
        return socket.create_connection(place, source_address=("127.0.0.1", port))

    monkeypatch.setattr(racing, "_begin", itself)
    with Client("127.0.0.1", port, "a token") as client, pytest.raises(NotRunning):
        client.ping()


def _with_changed_byte(data: bytes, at: int) -> bytes:
    return bytes(byte ^ (index == at) for index, byte in enumerate(data))
