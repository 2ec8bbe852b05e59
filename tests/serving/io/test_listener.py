"""Binding an address: what of it is told to others."""

from __future__ import annotations

import socket

import pytest

from bgpy.address import parse
from bgpy.serving.io import listener
from bgpy.tls.either import PlainOrTls
from bgpy.tls.stream import TlsSocket
from tests.support.ends import server_identity


class _Bound:
    """A socket that is bound to a link-local address, as the system tells of it."""

    def getsockname(self) -> tuple[str, int, int, int]:
        return ("fe80::1", 5, 0, 2)


def test_listener_keeps_the_interface_of_a_link_local_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without it nobody could connect."""
    monkeypatch.setattr(listener, "_bind", lambda address, place: _Bound())
    door = listener.listen(parse("[fe80::1%lo]:0"))
    assert str(door.address) == "[fe80::1%lo]:5"


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_listener_tells_the_port_that_it_got(text: str) -> None:
    """And the host as a number."""
    door = listener.listen(parse(text))
    try:
        assert door.address == door.sock.getsockname()[:2]
        with socket.create_connection(door.address, 20.0):
            pass
    finally:
        door.close()


class _Accepted:
    """A connection between two addresses."""

    def __init__(self, ours: str, theirs: str) -> None:
        self._ours, self._theirs = ours, theirs

    def getsockname(self) -> tuple[str, int]:
        return self._ours, 5

    def getpeername(self) -> tuple[str, int]:
        return self._theirs, 6

    recv_into = send = None


@pytest.mark.parametrize(
    ("ours", "theirs", "plain"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.9.9.9", True),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True),
        ("192.0.2.1", "192.0.2.1", False),
        ("192.0.2.1", "127.0.0.1", False),
        ("127.0.0.1", "192.0.2.1", False),
        ("::ffff:192.0.2.1", "::ffff:127.0.0.1", False),
        ("2001:db8::1", "2001:db8::2", False),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_plain_is_for_connections_between_loopback_addresses_alone(
    ours: str, theirs: str, plain: bool, allowed: bool
) -> None:
    """All others speak TLS, and so do these where it is wished."""
    door = listener.Listener(_Bound(), parse("0.0.0.0:5"))  # type: ignore[arg-type]
    listener.speak_tls(door, server_identity(), allowed)
    stream, _ = door.wrap(_Accepted(ours, theirs))  # type: ignore[arg-type]
    assert type(stream) is (PlainOrTls if plain and allowed else TlsSocket)
