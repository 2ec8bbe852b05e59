"""TLS among strangers: relays, wrong guesses of what is spoken, and peers that stop halfway."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgpy import AuthenticationError, Client, Handle, Limits, Server, StartupError, encryption
from bgpy.errors import BgpyError, NotBgpy, Unreachable
from bgpy.state import folders
from bgpy.tls import certificates
from bgpy.wire.handshake import HELLO_SIZE, SERVER_HELLO_SIZE
from tests.support.ends import client_of, engines, server_identity
from tests.support.foreign import FOREIGN
from tests.support.peers import HELLO, RawClient, connect, read_to_end, reset
from tests.support.served import TOKEN, Served
from tests.support.tasks import attacked as tasks
from tests.support.thief import thief_that

ANYBODY = client_of(ssl.TLSVersion.TLSv1_3)

Secure = Callable[..., Served]


@pytest.fixture
def secure() -> Iterator[Secure]:
    """Start a server that speaks TLS to all; takes an address, and options of `Limits`."""
    started: list[Served] = []

    def start(bind: str = "127.0.0.1:0", certfile: str | None = None, **limits: Any) -> Served:
        local = bind.startswith("127.")
        options: dict[str, Any] = {"tls": True} if local else {"plain_loopback": False}
        server = Server(bind, None, TOKEN, limits=Limits(**limits), certfile=certfile, **options)
        handle = server.run_background()
        client = Client("127.0.0.1", handle.port, TOKEN, tls=True)
        client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
        started.append(Served(handle, client))
        started[-1].tls = True
        return started[-1]

    yield start
    for served in started:
        served.client.close()
        served.handle.kill()


@pytest.fixture
def both(start: Callable[..., tuple[Handle, Client]]) -> Iterator[Served]:
    """A server that others can reach, and that speaks plainly too with whom is here."""
    handle = Server("[::]:0", None, TOKEN).run_background()
    client = Client("127.0.0.1", handle.port, TOKEN)
    client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)
    yield Served(handle, client)
    client.close()
    handle.kill()


def _hello() -> bytes:
    """The first words of a client that speaks TLS."""
    client, _ = engines()
    client.begin()
    return client.words.read()


def _shown(port: int) -> bytes:
    """The certificate that a server shows, in DER."""
    with ANYBODY.wrap_socket(connect(port)) as sock:
        assert sock.version() == "TLSv1.3"
        certificate = sock.getpeercert(True)
        assert certificate is not None
        return certificate


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


def _plain(port: int) -> Client:
    """A client that speaks plainly."""
    return Client("127.0.0.1", port, TOKEN, connect_timeout=20.0)


# What is spoken


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0"])
def test_server_that_others_can_reach_speaks_tls_by_itself(secure: Secure, bind: str) -> None:
    """With those that arrive over loopback as well, where it was told so."""
    served = secure(bind)
    assert _shown(served.port)
    served.check()
    with pytest.raises(NotBgpy, match="tls=True"):
        _plain(served.port).ping()


def test_first_byte_tells_what_is_spoken_where_both_are(both: Served) -> None:
    """The same port takes both at once; each has its own binding of the proof."""
    with Client("127.0.0.1", both.port, TOKEN, tls=True) as secured:
        for _ in range(3):
            assert secured.call({"respond": b"x" * 2**18}) == b"x" * 2**18
            assert both.client.call({"respond": b"x" * 2**18}) == b"x" * 2**18
        channel = secured._caller.channel
        assert channel is not None
        assert type(channel.link.sock).__name__ == "DialledTls"
    both.check()


def test_token_that_could_be_guessed_is_refused_where_others_can_reach_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the argument or the environment; on loopback it will do, over TLS too."""
    with pytest.raises(ValueError, match="32 or more"):
        Server("0.0.0.0:0", token="x" * 31)
    monkeypatch.setenv("BGPY_TOKEN", "short")
    with pytest.raises(ValueError, match="5 characters"):
        Server("[::]:0")
    handle = Server("127.0.0.1:0", tls=True).run_background()
    try:
        with Client("127.0.0.1", handle.port, tls=True) as client:
            assert client.ping() > 0
    finally:
        handle.kill()


def test_tls_is_for_sockets_that_can_leave_the_machine(tmp_path: Path) -> None:
    """Asking for it elsewhere is a mistake that is said, on both sides."""
    with pytest.raises(ValueError, match="has no TLS"):
        Server(tls=True)
    with pytest.raises(ValueError, match="leave tls=True out"):
        Client(f"unix:{tmp_path}/x", tls=True)
    with pytest.raises(TypeError):
        Client("127.0.0.1:1", tls="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="certfile"):
        Server("127.0.0.1:0", keyfile="key.pem")


def test_client_never_speaks_plainly_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a name stands for another machine, `tls=False` is an error before a byte is sent."""
    heard: list[bytes] = []
    with thief_that(lambda sock: heard.append(read_to_end(sock))) as port:
        ways = [
            Client("127.0.0.1", port, TOKEN, tls=tls, connect_timeout=0.2) for tls in (False, None)
        ]
        monkeypatch.setattr(encryption, "is_loopback_host", lambda host: False)
        for client, error in zip(ways, (Unreachable, BgpyError), strict=True):
            with pytest.raises(error):
                client.ping()
    assert heard[0] == b""
    assert heard[1][:2] == b"\x16\x03"


# The certificate


def test_certificate_is_kept_privately_and_serves_all_servers(secure: Secure) -> None:
    """An old one is renewed by the next server, and nobody has to be told."""
    first, second = secure(), secure("0.0.0.0:0")
    assert _shown(first.port) == _shown(second.port)
    path = Path(folders.below_machine("certificate.pem"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    os.utime(path, (time.time() - 340 * 86400,) * 2)
    third = secure()
    assert _shown(third.port) != _shown(first.port)
    for served in (first, third):
        served.check()


def test_certificate_of_ones_own_is_shown(secure: Secure, tmp_path: Path) -> None:
    """Instead of one that is made; a path is that of the caller, not of the server."""
    pem = certificates.make()
    (tmp_path / "own.pem").write_bytes(pem)
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        served = secure(certfile="own.pem")
    finally:
        os.chdir(here)
    own = pem[pem.index(b"-----BEGIN CERT") :].decode()
    assert _shown(served.port) == ssl.PEM_cert_to_DER_cert(own)
    assert not os.path.exists(folders.below_machine("certificate.pem"))
    served.check()


def test_certificate_that_can_not_be_loaded_keeps_the_server_from_starting(
    tmp_path: Path,
) -> None:
    """In the foreground and in the background; the port is free afterwards."""
    for run in ("run", "run_background"):
        server = Server("127.0.0.1:0", tls=True, certfile=str(tmp_path / "none.pem"))
        with pytest.raises(StartupError, match=r"none\.pem"):
            getattr(server, run)()


# Strangers


def test_other_protocols_are_closed_at_once(secure: Secure) -> None:
    """Without an answer, and with one line each, at their first bytes."""
    served = secure()
    for name in FOREIGN.keys() - {"tls"}:
        with served.stranger() as sock:
            peer = sock.getsockname()
            sock.sendall(FOREIGN[name])
            assert read_to_end(sock) == b"", name
        (line,) = served.log_of(peer)
        assert "WARNING" in line
        assert "TLS" in line
    served.check()


def test_certificate_is_refused_where_no_tls_is_spoken(tmp_path: Path) -> None:
    """It would be taken for protection that is not there."""
    path = tmp_path / "own.pem"
    path.write_bytes(certificates.make())
    with pytest.raises(ValueError, match="tls=True"):
        Server("127.0.0.1", 0, certfile=str(path))


def test_client_that_speaks_tls_1_2_is_refused(secure: Secure) -> None:
    """It is told so by an alert."""
    served = secure()
    with connect(served.port) as sock, pytest.raises(ssl.SSLError, match=r"(?i)version"):
        client_of(ssl.TLSVersion.TLSv1_2).wrap_socket(sock)
    served.check()


def test_stranger_gets_nothing_over_tls_that_it_would_not_get_plainly(secure: Secure) -> None:
    """Garbage ends it at once, a hello is answered by a proof, and a wrong proof by the end."""
    served = secure()
    for garbage in (b"GET /", b"\x80\x04\x95"):
        with ANYBODY.wrap_socket(connect(served.port)) as sock:
            sock.sendall(garbage)
            assert read_to_end(sock) == b""
    with ANYBODY.wrap_socket(connect(served.port)) as sock:
        sock.sendall(HELLO)
        assert len(_read(sock, SERVER_HELLO_SIZE)) == SERVER_HELLO_SIZE
        sock.sendall(bytes(32))
        assert read_to_end(sock) == b""
    served.check()


def test_peer_that_stops_within_tls_is_closed_when_its_time_is_over(secure: Secure) -> None:
    """Silent, or anywhere in its first words: one deadline covers TLS and the proof."""
    served = secure(handshake_timeout=0.5)
    hello = _hello()
    socks = [served.stranger() for _ in range(4)]
    for sock, size in zip(socks, (0, 3, 100, len(hello)), strict=True):
        sock.sendall(hello[:size])
    for sock in socks:
        with sock:
            read_to_end(sock)
            (line,) = served.log_of(sock.getsockname())
            assert "in time" in line
    served.check()


def test_peer_that_stops_after_tls_is_closed_when_its_time_is_over(secure: Secure) -> None:
    """TLS proves nothing."""
    served = secure(handshake_timeout=0.5)
    with ANYBODY.wrap_socket(served.stranger()) as sock:
        sock.sendall(HELLO[:20])
        assert read_to_end(sock) == b""
    served.check()


def test_peer_that_trickles_its_tls_is_closed_when_its_time_is_over(secure: Secure) -> None:
    """Bytes now and then don't move the deadline."""
    served = secure(handshake_timeout=0.5)
    hello, sent = _hello(), 0
    with served.stranger() as sock:
        sock.settimeout(0.03)
        try:
            while sent < len(hello):
                sock.sendall(hello[sent : sent + 1])
                sent += 1
                try:
                    assert sock.recv(1) == b""
                    break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
    assert 0 < sent < len(hello)
    served.check()


def test_strangers_that_reset_within_tls_disturb_nobody(secure: Secure) -> None:
    """Wherever in it they are."""
    served = secure()
    hello = _hello()
    for size in (0, 1, 5, 50, len(hello)) * 10:
        sock = served.stranger()
        sock.sendall(hello[:size])
        reset(sock)
    served.check()


# Relays


def _relay(raw: socket.socket, heard: list[bytes], port: int, outside: bool, inside: bool) -> None:
    """Pass the handshake on, speaking TLS to the client (`outside`) and the server (`inside`)."""
    context = server_identity().context
    client = context.wrap_socket(raw, server_side=True) if outside else raw
    to_server = connect(port)
    server = ANYBODY.wrap_socket(to_server) if inside else to_server
    with client, server:
        server.sendall(_read(client, HELLO_SIZE))
        client.sendall(_read(server, SERVER_HELLO_SIZE))
        heard.append(read_to_end(client))


@pytest.mark.parametrize(
    ("outside", "inside"),
    [(True, True), (True, False), (False, True)],
    ids=["TLS on both sides", "TLS taken off", "TLS put on"],
)
def test_relay_that_ends_tls_learns_nothing(both: Served, outside: bool, inside: bool) -> None:
    """The proof holds for one certificate, or for none: the client notices, and sends no more."""
    heard: list[bytes] = []
    relay = partial(_relay, heard=heard, port=both.port, outside=outside, inside=inside)
    with (
        thief_that(relay) as port,
        Client("127.0.0.1", port, TOKEN, tls=outside or None) as client,
        pytest.raises(AuthenticationError),
    ):
        client.call({"add": 1})
    assert heard == [b""]
    both.check()


@pytest.mark.parametrize("tls", [True, None])
def test_tunnel_that_passes_all_bytes_on_is_no_relay(both: Served, tls: bool | None) -> None:
    """What `ssh -L` makes works, over TLS and plainly."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def tunnel(sock: socket.socket) -> None:
        with connect(both.port) as server:
            back = threading.Thread(target=pump, args=(server, sock))
            back.start()
            pump(sock, server)
            back.join()

    with thief_that(tunnel) as port, Client("127.0.0.1", port, TOKEN, tls=tls) as client:
        assert client.call({"respond": b"x" * 2**20}) == b"x" * 2**20


# What clients are told


def test_client_that_asks_a_plain_server_for_tls_is_told(served: Served) -> None:
    """And one that speaks plainly to a TLS server is (see above)."""
    with (
        Client("127.0.0.1", served.port, TOKEN, tls=True) as client,
        pytest.raises(NotBgpy, match="without TLS"),
    ):
        client.ping()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03"],
)
def test_client_that_asks_something_else_for_tls_is_told(answer: bytes) -> None:
    """Whatever it answers before it closes."""

    def deed(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(answer)

    with (
        thief_that(deed) as port,
        Client("127.0.0.1", port, TOKEN, tls=True, connect_timeout=20.0) as client,
        pytest.raises(NotBgpy, match="TLS"),
    ):
        client.ping()


def test_client_that_asks_a_silent_port_for_tls_is_told_when_its_time_is_over() -> None:
    """It costs the time to connect."""
    with (
        thief_that(lambda sock: read_to_end(sock) and None) as port,
        Client("127.0.0.1", port, TOKEN, tls=True, connect_timeout=0.2) as client,
        pytest.raises(Unreachable, match="in time"),
    ):
        client.ping()


def test_client_whose_server_trickles_tls_is_told_when_its_time_is_over() -> None:
    """Bytes now and then, of a record that never is whole, don't move the deadline."""
    go_on = threading.Event()

    def deed(raw: socket.socket) -> None:
        with server_identity().context.wrap_socket(raw, server_side=True) as sock:
            sock.recv(4096)
            plain = socket.socket(fileno=os.dup(sock.fileno()))
            with plain:
                plain.sendall(b"\x17\x03\x03\x40\x00")
                try:
                    while not go_on.wait(0.02):
                        plain.sendall(b"x")
                except OSError:
                    pass

    try:
        with (
            thief_that(deed) as port,
            Client("127.0.0.1", port, TOKEN, tls=True, connect_timeout=0.6) as client,
            pytest.raises(Unreachable, match="in time"),
        ):
            client.ping()
    finally:
        go_on.set()


def test_client_that_finds_another_tls_server_is_told() -> None:
    """Such as one of the web."""

    def deed(raw: socket.socket) -> None:
        with server_identity().context.wrap_socket(raw, server_side=True) as sock:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        thief_that(deed) as port,
        Client("127.0.0.1", port, TOKEN, tls=True) as client,
        pytest.raises(NotBgpy, match="HTTP"),
    ):
        client.ping()


def test_plain_clients_of_a_server_that_speaks_both_need_no_tls(both: Served) -> None:
    """Raw, they are the ones of a server that speaks no TLS."""
    with RawClient(both.port, TOKEN) as raw:
        assert raw.status()["clients"] == 2
