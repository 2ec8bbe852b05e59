"""Tests of addresses: one place, one spelling."""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy import Server, address
from bgpy.address import Address, parse


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", "127.0.0.1"),
        ("LocalHost", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("FE80::0001%eth0", "fe80::1%eth0"),
        ("Box.Example.ORG", "box.example.org"),
        ("127.1", "127.1"),
    ],
)
def test_parse_gives_one_spelling_when_there_are_several(host: str, expected: str) -> None:
    """Names of this machine and IP addresses are normalised, other names lower-cased."""
    assert parse(host, 1) == (expected, 1)


@pytest.mark.parametrize(
    ("host", "port", "error", "named"),
    [
        (None, 1, TypeError, "host"),
        (b"::1", 1, TypeError, "bytes"),
        ("x", "1", TypeError, "port must be an integer, not str"),
        ("x", 1.0, TypeError, "float"),
        ("x", True, TypeError, "bool"),
        ("x", -1, ValueError, "-1"),
        ("x", 65536, ValueError, "65536"),
        ("x:80", 1, ValueError, "separately"),
        ("[127.0.0.1]", 1, ValueError, "IPv6"),
        ("[x]", 1, ValueError, "IPv6"),
        ("a b", 1, ValueError, "a b"),
        ("a\0b", 1, ValueError, "neither"),
        ("a/x", 1, ValueError, "neither"),
        ("../x", 1, ValueError, "write unix: and the absolute path"),
        ("/run/x", 1, ValueError, "write unix:/run/x for a Unix socket"),
    ],
)
def test_parse_names_the_mistake_when_input_is_bad(
    host: Any, port: Any, error: type[Exception], named: str
) -> None:
    """Wrong types are a TypeError, impossible values a ValueError."""
    with pytest.raises(error, match=named):
        parse(host, port)


def test_parse_names_the_address_when_its_owner_is_given() -> None:
    """As in ``Client(handle)``: what has an address is not one."""
    with pytest.raises(TypeError, match=r"not Server: give its address, as in server\.address$"):
        parse(Server("127.0.0.1", 5))  # type: ignore[arg-type]


@given(st.ip_addresses(), st.integers(0, 65535))
def test_parse_keeps_meaning_when_host_is_an_ip_address(ip: Any, port: int) -> None:
    """The normal spelling names the same IP address, and stays when parsed again."""
    parsed = parse(ip.exploded, port)
    assert ipaddress.ip_address(parsed.host) == ip
    assert parse(*parsed) == parsed


@pytest.mark.parametrize(
    ("host", "text"), [("127.0.0.1", "127.0.0.1:5"), ("::1", "[::1]:5"), ("box", "box:5")]
)
def test_address_prints_as_usual_when_made_a_text(host: str, text: str) -> None:
    """IPv6 hosts stand in brackets."""
    assert str(Address(host, 5)) == text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_is_loopback_host_tells_when_host_is_literal(host: str, loopback: bool) -> None:
    """Only loopback literals stay on this machine; the wildcard doesn't."""
    assert address.is_loopback_host(host) is loopback
    assert not address.is_name(host)


def test_resolve_gives_each_address_once_when_host_is_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's order is kept, and a link-local address keeps its interface."""
    sockaddrs = [("fe80::1", 1, 0, 2), ("192.0.2.1", 1), ("192.0.2.1", 1)]
    found = [(0, socket.SOCK_STREAM, 6, "", sockaddr) for sockaddr in sockaddrs]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: found)
    assert address.resolve(Address("box", 1)) == [("fe80::1%2", 1), ("192.0.2.1", 1)]
    assert address.family(Address("box", 1)) == socket.AF_INET6


def test_resolve_raises_when_name_is_impossible() -> None:
    """A label that is too long for a name is an unknown name, not a UnicodeError."""
    with pytest.raises(socket.gaierror):
        address.resolve(Address("a" * 70, 1))


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)]
)
def test_family_tells_when_host_is_literal(host: str, family: int) -> None:
    """The family follows from the literal."""
    assert address.family(Address(host, 1)) == family


def test_in_ephemeral_range_tells_when_system_has_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both ends belong to the range; an unreadable one holds nothing."""
    path = tmp_path / "range"
    path.write_text("32768\t60999\n")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(address, "_EPHEMERAL", str(path))
    ports = [32767, 32768, 60999, 61000]
    assert [address.in_ephemeral_range(port) for port in ports] == [False, True, True, False]
    path.write_text("nonsense")
    assert not address.in_ephemeral_range(40000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5", ("127.0.0.1", 5)),
        ("localhost:0", ("127.0.0.1", 0)),
        (":5", ("127.0.0.1", 5)),
        ("[::1]:65535", ("::1", 65535)),
        ("[0:0::1]:5", ("::1", 5)),
        ("Box.Example.ORG:5", ("box.example.org", 5)),
        ("unix:/run/me/model", ("unix:/run/me/model", 0)),
        ("unix://run//me/./x/../model/", ("unix:/run/me/model", 0)),
        ("unix:/with:colon:5", ("unix:/with:colon:5", 0)),
        ("unix:/\u00e9", ("unix:/\u00e9", 0)),
    ],
)
def test_parse_takes_a_whole_address_when_no_port_is_given(
    text: str, expected: tuple[str, int]
) -> None:
    """What is printed of it is read as the same."""
    address = parse(text)
    assert address == expected
    assert parse(str(address)) == parse(*address) == address


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("127.0.0.1", "host:port"),
        ("", "no port"),
        ("::1", "brackets"),
        ("::1:5", r"\[::1\]:5"),
        ("[::1]", "no port"),
        ("[::1]:", "no port"),
        ("box:http", "no port"),
        ("box:-1", "no port"),
        ("box:65536", "65536"),
        ("box:\u0665", "no port"),
        ("http://box:5", "leave http:// out"),
        ("/tmp/x.sock", "write unix:/tmp/x.sock for a Unix socket"),
        ("/tmp/x:5", "write unix:/tmp/x:5 for a Unix socket"),
        ("~/x.sock", "write unix: and the absolute path"),
        ("./x.sock", "write unix: and the absolute path"),
        ("unix:", "absolute path"),
        ("unix:relative", "absolute path"),
        ("unix:/", "absolute path"),
        ("unix:///", "absolute path"),
        ("unix:/a\0b", "null"),
        ("unix:/" + "x" * 107, "108"),
        ("unix:/" + "\u00e9" * 54, "109"),
    ],
)
def test_parse_names_the_mistake_when_a_whole_address_is_bad(text: str, named: str) -> None:
    """With the notation that is meant."""
    with pytest.raises(ValueError, match=named):
        parse(text)


def test_unix_socket_has_no_port() -> None:
    """One that is given is a mistake, but for 0, which the old pair needs."""
    assert parse("unix:/x", 0) == parse("unix:/x")
    with pytest.raises(ValueError, match="no port"):
        parse("unix:/x", 5)


def test_unix_socket_is_here_and_its_own_place() -> None:
    """Nobody is asked for it."""
    there = parse("unix:/x")
    assert address.resolve(there) == [there]
    assert address.is_loopback_host(there.host)
    assert address.dialled(there) == there
    assert address.wildcards(there) == []
    assert (there.path, parse("box:5").path) == ("/x", None)


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_server_on_all_interfaces_is_reached_over_loopback(host: str, reached: str) -> None:
    """And who looks there may find one that is on all."""
    assert address.dialled(Address(host, 5)) == (reached, 5)
    assert Address(host, 5) in address.wildcards(Address(reached, 5))


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("127.0.0.1:5", "127.0.0.1:5", True),
        ("127.0.0.1:5", "127.0.0.1:6", False),
        ("127.0.0.1:5", "127.0.0.2:5", False),
        ("0.0.0.0:5", "127.0.0.1:5", True),
        ("0.0.0.0:5", "[::ffff:10.0.0.1]:5", True),
        ("0.0.0.0:5", "[::1]:5", False),
        ("[::]:5", "[::1]:5", True),
        ("[::]:5", "10.0.0.1:5", True),
        ("[::]:5", "0.0.0.0:5", True),
        ("[::]:5", "0.0.0.0:6", False),
        ("[::1]:5", "127.0.0.1:5", False),
        ("[::ffff:127.0.0.1]:5", "127.0.0.1:5", True),
        ("unix:/a/b", "unix:/a/b", True),
        ("unix:/a/b", "unix:/a/c", False),
        ("unix:/a/b", "127.0.0.1:0", False),
        ("unix:/a/b", "[::]:0", False),
    ],
)
def test_overlap_tells_whether_two_servers_need_one_port(
    one: str, other: str, overlap: bool
) -> None:
    """Whichever was there first."""
    assert address.overlap(parse(one), parse(other)) is overlap
    assert address.overlap(parse(other), parse(one)) is overlap
