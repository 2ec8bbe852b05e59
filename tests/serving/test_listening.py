"""Binding an address: what of it is told to others."""

from __future__ import annotations

import socket

import pytest

from bgpy.address import parse
from bgpy.errors import StartupError
from bgpy.serving import listening


class _Bound:
    """A socket that is bound to a link-local address, as the system tells of it."""

    def getsockname(self) -> tuple[str, int, int, int]:
        return ("fe80::1", 5, 0, 2)


def test_listener_keeps_the_interface_of_a_link_local_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without it nobody could connect."""
    monkeypatch.setattr(listening, "_bind", lambda address, place: _Bound())
    listener = listening.listen(parse("[fe80::1%lo]:0"), True)
    assert str(listener.address) == "[fe80::1%lo]:5"


@pytest.mark.parametrize("text", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
def test_listener_tells_the_port_that_it_got(text: str) -> None:
    """And the host as a number."""
    listener = listening.listen(parse(text), False)
    try:
        assert listener.address == listener.sock.getsockname()[:2]
        with socket.create_connection(listener.address, 20.0):
            pass
    finally:
        listener.close()


def test_listen_goes_by_the_address_that_it_binds_when_a_name_changes_its_meaning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others can reach is never taken for this machine's loopback."""
    meanings = iter(["192.0.2.1"])

    def look_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(meanings, "127.0.0.1"), port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(StartupError, match="from other machines"):
        listening.listen(parse("box:0"), False)
