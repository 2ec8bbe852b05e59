"""What a server does with peers that have not proved the token."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy import AuthenticationError, Client
from bgpy.errors import ConnectError
from bgpy.wire.handshake import MAGIC, SERVER_HELLO_SIZE
from bgpy.wire.messages import Failure, Reply
from tests.support.foreign import FOREIGN
from tests.support.peers import (
    EXECUTE,
    EXECUTE_AND_WAIT,
    HELLO,
    Canary,
    connect,
    frame,
    read_to_end,
    reset,
    wait_until,
)
from tests.support.served import Served

REFUSED_HELLOS = {
    "version": MAGIC + bytes((3, 4, 0, 0)) + bytes(48),
    "flags": MAGIC + bytes((2, 2, 1, 0)) + bytes(48),
    "role": MAGIC + bytes((2, 2, 0, 7)) + bytes(48),
}


def test_canary_sings_when_the_sender_holds_the_token(served: Served, tmp_path: Path) -> None:
    """The canary of the other tests works: a client with the token may run code."""
    path = tmp_path / "canary"
    with served.raw() as client:
        client.send(frame(2, EXECUTE_AND_WAIT, 1, Canary(path).pickled()))
        assert isinstance(client.receive(), Reply)
    assert path.is_dir()


@pytest.mark.parametrize(
    "stage",
    [
        "before hello",
        "execute without handshake",
        "init without handshake",
        "after hello",
        "after hello, as a frame",
        "in the hello",
        "instead of the proof",
        "behind a wrong proof",
        "behind a wrong proof, as an init",
        "with the server's own proof sent back",
    ],
)
def test_canary_stays_silent_when_nothing_is_proved(
    served: Served, tmp_path: Path, stage: str
) -> None:
    """No byte is unpickled for a peer that has not proved the token, whenever it sends it."""
    path = tmp_path / "canary"
    pickled = Canary(path).pickled()
    execute, init = frame(2, EXECUTE, 1, pickled), frame(1, EXECUTE, 1, pickled)
    with served.stranger() as sock:
        if stage in ("instead of the proof", "with the server's own proof sent back"):
            sock.sendall(HELLO)
            hello = sock.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)
            own = hello[-32:] if stage.startswith("with") else b""
            sock.sendall(own + execute + pickled)
        else:
            sock.sendall(
                {
                    "before hello": pickled,
                    "execute without handshake": execute,
                    "init without handshake": init,
                    "after hello": HELLO + pickled,
                    "after hello, as a frame": HELLO + execute,
                    "in the hello": HELLO[:12] + pickled,
                    "behind a wrong proof": HELLO + bytes(32) + execute,
                    "behind a wrong proof, as an init": HELLO + bytes(32) + init,
                }[stage]
            )
        rest = read_to_end(sock)
    assert len(rest) in (0, SERVER_HELLO_SIZE)
    served.check()
    assert not path.exists()


@pytest.mark.parametrize("name", FOREIGN)
def test_server_closes_with_one_line_when_another_protocol_speaks(
    served: Served, name: str
) -> None:
    """HTTP, TLS, SSH, pickles and noise are closed without an answer, with one line in the log."""
    with served.stranger() as sock:
        peer = sock.getsockname()
        sock.sendall(FOREIGN[name])
        assert read_to_end(sock) == b""
    (line,) = served.log_of(peer)
    assert "WARNING" in line
    assert "closed" in line


def test_server_closes_at_the_first_wrong_byte(served: Served) -> None:
    """After any number of right bytes the first wrong one ends it, without waiting for more."""
    for right in range(8):
        with served.stranger() as sock:
            sock.sendall(MAGIC[:right] + bytes((MAGIC[right] ^ 1,)))
            assert read_to_end(sock) == b""


def test_server_closes_when_bytes_are_random(served: Served) -> None:
    """Noise of any length gets no answer but, behind a right magic, a server hello."""
    noise = random.Random(20240229)
    for _ in range(60):
        start = MAGIC[: noise.choice((0, 0, 3, 8))]
        with served.stranger() as sock:
            sock.sendall(start + noise.randbytes(noise.randrange(93, 400)))
            assert len(read_to_end(sock)) in (0, SERVER_HELLO_SIZE)


@pytest.mark.parametrize("name", REFUSED_HELLOS)
def test_server_refuses_when_a_hello_asks_for_what_it_lacks(served: Served, name: str) -> None:
    """Unknown versions, flags and roles get one refusal of fixed size, then the end."""
    with served.stranger() as sock:
        sock.sendall(REFUSED_HELLOS[name])
        refusal = read_to_end(sock)
    assert (len(refusal), refusal[8]) == (SERVER_HELLO_SIZE, 0)


def test_server_serves_on_when_strangers_reset_their_connections(served: Served) -> None:
    """A stranger that is gone before its answer can be sent harms nobody."""
    for sent in (b"", b"G", MAGIC, HELLO, *REFUSED_HELLOS.values()) * 20:
        sock = served.stranger()
        sock.sendall(sent)
        reset(sock)


def test_server_closes_a_silent_peer_when_its_time_is_over(serve: Callable[..., Served]) -> None:
    """A peer that says nothing is closed, and so is one that stops in the middle."""
    served = serve(handshake_timeout=0.5)
    socks = [served.stranger() for _ in range(4)]
    for sock, sent in zip(socks, (b"", MAGIC[:3], HELLO[:50], HELLO), strict=True):
        sock.sendall(sent)
    for sock in socks:
        with sock:
            assert len(read_to_end(sock)) in (0, SERVER_HELLO_SIZE)
            (line,) = served.log_of(sock.getsockname())
            assert "in time" in line
    served.check()


def test_server_closes_a_peer_that_trickles_when_its_time_is_over(
    serve: Callable[..., Served],
) -> None:
    """One deadline covers the whole handshake: bytes now and then don't move it."""
    served = serve(handshake_timeout=0.5)
    with served.stranger() as sock:
        sock.settimeout(0.05)
        sent = 0
        while _still_open(sock, HELLO[sent : sent + 1]):
            sent += 1
    assert 0 < sent < len(HELLO)
    served.check()


def test_silent_peers_disturb_nobody(served: Served) -> None:
    """Hundreds of peers that say nothing take no part in anybody's call."""
    socks = [served.stranger() for _ in range(300)]
    for _ in range(20):
        served.check()
    for sock in socks:
        sock.close()


def test_server_closes_only_strangers_when_the_handshake_time_is_over(
    serve: Callable[..., Served],
) -> None:
    """A client that has proved the token may be silent for as long as it likes."""
    served = serve(handshake_timeout=0.5)
    with served.raw() as client:
        with served.stranger() as sock:
            read_to_end(sock)  # its time is over, and it came later
        client.send(frame(2, EXECUTE_AND_WAIT, 1, b"not a pickle"))
        assert isinstance(client.receive(), Failure)


@pytest.mark.parametrize("token", ["wrong", "f" * 64, None])
def test_client_gets_authentication_error_when_its_token_is_not_the_servers(
    served: Served, token: str | None
) -> None:
    """A wrong token, or none, is refused; each time anew, and the right one works after."""
    with Client("127.0.0.1", served.port, token) as client:
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                client.call({"add": 1})
    with Client("127.0.0.1", served.port, served.token) as right:
        assert right.call({"add": 0}) == 0


def test_client_gets_connect_error_when_the_server_is_stuck_in_its_handshake(
    served: Served,
) -> None:
    """A stopped server costs a new client its time to connect and no more."""
    with (
        served.stopped(),
        Client("127.0.0.1", served.port, served.token, connect_timeout=0.2) as client,
        pytest.raises(ConnectError, match="in time"),
    ):
        client.ping()


def test_handshakes_go_on_while_a_task_runs(served: Served, tmp_path: Path) -> None:
    """Strangers are refused, and clients let in, also while the task thread is busy."""
    started, go_on = tmp_path / "started", tmp_path / "go on"
    served.client.execute({"until": (str(started), str(go_on))})
    wait_until(started.exists, "the task has started")
    try:
        for sent in (FOREIGN["http"], *REFUSED_HELLOS.values()):
            reset(_send(connect(served.port), sent))
            with _send(connect(served.port), sent) as sock:
                assert len(read_to_end(sock)) in (0, SERVER_HELLO_SIZE)
        with Client("127.0.0.1", served.port, served.token, timeout=10.0) as client:
            assert client.ping() >= 0
    finally:
        go_on.touch()


def _still_open(sock: socket.socket, data: bytes) -> bool:
    """Send `data` and wait for the socket's time whether the server closes."""
    try:
        sock.sendall(data)
        assert sock.recv(1) == b""
    except TimeoutError:
        return True
    except ConnectionError:
        pass
    return False


def _send(sock: socket.socket, data: bytes) -> socket.socket:
    sock.sendall(data)
    return sock
