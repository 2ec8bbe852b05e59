"""What is told of a connection that can't be made, and of the token that was used."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from bgpy import Client, Server
from bgpy.address import UNIX, Address, parse
from bgpy.calling.blocking import connecting, dialling
from bgpy.calling.blocking.connecting import Target, connect
from bgpy.errors import AuthenticationError, NotBgpy, NotRunning, StartupError, Unreachable
from bgpy.state.tokens import FoundToken, Source
from bgpy.wire.messages import Goodbye
from tests.support.connections import TOKEN, make_server
from tests.support.loop import LONG


@contextmanager
def answering(first: bytes) -> Iterator[Address]:
    """Something on a port that says `first` to whoever connects, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(first)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        yield parse("127.0.0.1", listener.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    ("first", "speaks", "cli"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP", None),
        (b"SSH-2.0-OpenSSH_9.7\r\n", "SSH", None),
        (b"\x15\x03\x03\x00\x02\x02\x46", "TLS", "give --tls"),
        (b"TLS is what I don't speak", None, None),
        (b"", None, "give --tls"),
    ],
)
def test_what_answers_is_told_by_what_it_speaks(
    first: bytes, speaks: str | None, cli: str | None
) -> None:
    """TLS is advised where its bytes came, or nothing did, then after a tunnel."""
    with answering(first) as place, pytest.raises(NotBgpy) as caught:
        connect(Target(place, None, lambda: None), os.urandom(16), 10)
    assert (caught.value.address, caught.value.speaks) == (str(place), speaks)
    assert (caught.value.advice is not None) == (cli is not None)
    assert caught.value.progress == "not started"
    if cli is not None:
        assert cli in caught.value.text("cli")
    tunnel = "if a tunnel or another forwarder listens there (ssh -L), no server runs at its"
    assert (str(caught.value.advice).startswith(tunnel)) is (first == b"")


ENDING = ["reset", "after a word", "with the welcome", "tls", "unix"]


@pytest.mark.parametrize("has_met", [False, True])
@pytest.mark.parametrize("way", ENDING)
def test_server_that_has_just_ended_is_not_taken_for_another_program(
    way: str, has_met: bool
) -> None:
    """It closes its port first, and then the connections that waited there."""
    found = FoundToken(TOKEN, Source.ARGUMENT)
    with ending(way) as place, pytest.raises(NotRunning, match="nothing runs at"):
        connect(Target(place, way == "tls" or None, lambda: found), os.urandom(16), LONG, has_met)


@contextmanager
def ending(way: str) -> Iterator[Address]:
    """A server that ends while one client connects."""
    if way == "unix" and sys.platform == "win32":
        pytest.skip("Python has no Unix sockets here")
    with tempfile.TemporaryDirectory() as folder:
        if way == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{folder}/s")
            listener.listen()
            place = Address(f"{UNIX}{folder}/s", 0)
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            place = parse("127.0.0.1", listener.getsockname()[1])

        def end() -> None:
            sock, _ = listener.accept()
            with sock:
                first = sock.recv(1)  # what comes behind it is left unread
                if way in ("after a word", "with the welcome"):
                    server = make_server()
                    server.receive(first + sock.recv(4096))
                    hello = server.take_outgoing()
                    if way == "after a word":
                        sock.sendall(hello[:20])
                    else:
                        sock.sendall(hello)
                        server.receive(sock.recv(4096))
                listener.close()
                if way == "with the welcome":
                    goodbye = b"".join(map(bytes, server.send(Goodbye("it ends"))))
                    sock.sendall(server.take_outgoing() + goodbye)
                if way == "unix":
                    os.unlink(f"{folder}/s")

        thread = threading.Thread(target=end)
        thread.start()
        yield place
        thread.join()


def test_server_that_was_started_anew_meanwhile_is_connected_to() -> None:
    """The connection that was closed belonged to the one before it."""
    handle = Server("127.0.0.1", 0, "t" * 40).run_background()
    found = FoundToken("t" * 40, Source.ARGUMENT)
    try:
        with hanging_up(1, handle.port) as place:
            target = Target(place, None, lambda: found)
            connect(target, os.urandom(16), LONG).reached.sock.close()
    finally:
        handle.kill()


def test_client_hears_that_its_server_takes_nobody() -> None:
    """It is no other program than before, and may be full, or have ended behind a tunnel."""
    with hanging_up(2, None) as place, pytest.raises(Unreachable) as caught:
        connect(Target(place, None, lambda: None), os.urandom(16), LONG, has_met=True)
    assert f"the server at {place}, which this client was connected to before" in str(caught.value)
    for each in ("max_connections", "shutting down", "ssh -L"):
        assert each in str(caught.value.advice)
    assert caught.value.address == str(place)


def test_what_answers_nothing_the_second_time_is_told_by_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is waited for a moment only, unless it has been a server before."""
    monkeypatch.setattr(connecting, "ONCE_MORE", 0.01)
    with answering(b"") as place, pytest.raises(NotBgpy, match="closed the connection at once"):
        connect(Target(place, None, lambda: None), os.urandom(16), LONG)


@contextmanager
def hanging_up(times: int, then: int | None) -> Iterator[Address]:
    """Something that closes so many connections, and then leads to another port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(times):
                listener.accept()[0].close()
            if then is not None:
                sock, _ = listener.accept()
                with sock, socket.create_connection(("127.0.0.1", then)) as server:
                    back = threading.Thread(target=_pump, args=(server, sock))
                    back.start()
                    _pump(sock, server)
                    back.join()

        thread = threading.Thread(target=serve)
        thread.start()
        yield parse("127.0.0.1", listener.getsockname()[1])
        thread.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(2**16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def _same(found: FoundToken | None) -> FoundToken | None:
    return found


@pytest.mark.parametrize("before", [None, "that of the server before, also long enough"])
def test_a_token_that_is_known_a_moment_later_is_tried(before: str | None) -> None:
    """A server that starts just then is connected to before its token can be found."""
    token = "t" * 40
    handle = Server("127.0.0.1", 0, token).run_background()
    try:
        first = None if before is None else FoundToken(before, Source.KEPT)
        found = iter([first, FoundToken(token, Source.RECORD)])
        target = Target(parse(handle.address), None, lambda: next(found))
        connect(target, os.urandom(16), 10).reached.sock.close()
        assert list(found) == [], "both were looked up"
    finally:
        handle.kill()


def test_a_refused_token_is_named_by_where_it_came_from() -> None:
    """And never shown."""
    handle = Server("127.0.0.1", 0, "t" * 40).run_background()
    try:
        for source in (None, *Source):
            found = source and FoundToken("another one, of a good length", source)
            target = Target(parse(handle.address), None, partial(_same, found))
            with pytest.raises(AuthenticationError) as caught:
                connect(target, os.urandom(16), 10)
            text = str(caught.value)
            assert caught.value.address == handle.address
            assert "another one" not in text
            assert ("this client has none" if source is None else source.value) in text
    finally:
        handle.kill()


def test_a_client_says_which_token_it_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one in the environment goes before the one that the server keeps."""
    monkeypatch.delenv("BGPY_TOKEN", raising=False)
    handle = Server("127.0.0.1", 0).run_background()
    try:
        with Client(handle.address) as client:
            client.ping()
        monkeypatch.setenv("BGPY_TOKEN", "t" * 40)
        with Client(handle.address) as client, pytest.raises(AuthenticationError, match="BGPY_T"):
            client.ping()
    finally:
        handle.kill()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.parametrize("where", ["socket", "token"])
def test_a_shortage_is_unreachable_wherever_it_strikes(
    monkeypatch: pytest.MonkeyPatch, number: int, where: str
) -> None:
    """It says nothing about the server, nor about the file that could not be opened."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def find() -> None:
        try:
            refuse()
        except OSError as error:
            raise StartupError("lock can't be used") from error

    with socket.create_server(("127.0.0.1", 0)) as listener:
        if where == "socket":
            monkeypatch.setattr(dialling.socket, "socket", refuse)
        target = Target(parse("127.0.0.1", listener.getsockname()[1]), None, find)
        # In a thread, as a client does: in this one these functions would be a handler's.
        with (
            ThreadPoolExecutor(1) as thread,
            pytest.raises(Unreachable, match=r"no connection to 127\.0\.0\.1:") as caught,
        ):
            thread.submit(connect, target, bytes(16), 5.0).result()
    assert caught.value.advice is not None
    assert caught.value.progress == "not started"
