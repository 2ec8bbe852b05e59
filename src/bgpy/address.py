"""Where a server is: a host and a port, written one way only.

Two spellings of one place must give one address, since records and tokens are found
by it::

    "localhost", "", "127.0.0.1"   ->  127.0.0.1
    "::1", "[0:0:0:0:0:0:0:1]"     ->  ::1
    "Box.Example.ORG"              ->  box.example.org     (looked up by `resolve` only)
"""

from __future__ import annotations

import socket
import sys
from typing import NamedTuple

_EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"


class Address(NamedTuple):
    """A TCP address. Make one with `parse`, which checks and normalises it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(host: str, port: int) -> Address:
    """Give the one address for `host` and `port`, without looking up names.

    Port 0 stands for a free port. Raises `TypeError` for anything but a string and an
    integer, `ValueError` for a port beyond 0 to 65535 or a host that can't be one.
    """
    if not isinstance(host, str):
        raise TypeError(f"the host must be a string, not {type(host).__name__}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"the port must be an integer, not {type(port).__name__}")
    if not 0 <= port <= 65535:
        raise ValueError(f"the port must be between 0 and 65535, not {port}")
    return Address(_normal_host(host), int(port))


def resolve(address: Address) -> list[Address]:
    """Look the host up: its numeric addresses, in the system's order of preference.

    Raises `socket.gaierror` (an `OSError`) if the name is unknown or nobody answers.
    """
    if _literal(address.host) is not None:
        return [address]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(
            socket.EAI_NONAME, f"{address.host!r} is no host name: {error}"
        ) from error
    hosts = dict.fromkeys(_sockaddr_host(sockaddr) for *_, sockaddr in found)
    return [Address(host, address.port) for host in hosts]


def is_loopback(address: Address) -> bool:
    """Tell whether the address stays on this machine.

    True for a loopback literal, and for a name all of whose addresses are loopback.
    Raises `socket.gaierror` for a name that can't be looked up.
    """
    return all(_is_loopback_literal(one.host) for one in resolve(address))


def family(address: Address) -> socket.AddressFamily:
    """Tell the address family to make a socket with; of a name, that of its first address.

    Raises `socket.gaierror` for a name that can't be looked up.
    """
    host = resolve(address)[0].host
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def in_ephemeral_range(port: int) -> bool:
    """Tell whether the system hands this port out to outgoing connections (known on Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        with open(_EPHEMERAL, encoding="ascii") as file:
            low, high = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return False
    return low <= port <= high


def _normal_host(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        literal = _literal(host[1:-1])
        if literal is None or ":" not in literal:
            raise ValueError(f"{host!r} is not an IPv6 address in brackets")
        return literal
    if host.lower() in ("", "localhost"):
        return "127.0.0.1"
    literal = _literal(host)
    if literal is not None:
        return literal
    if ":" in host:
        raise ValueError(f"{host!r} is not a host; give host and port separately")
    if "/" in host or "\\" in host or any(c.isspace() or not c.isprintable() for c in host):
        raise ValueError(f"{host!r} is neither a host name nor an IP address")
    return host.lower()


def _literal(host: str) -> str | None:
    """Give the normal spelling of an IP address, None for a name."""
    bare, percent, scope = host.partition("%")
    # An "%" is part of IPv6 addresses only, where it names the network interface.
    kinds = [socket.AF_INET6] if percent else [socket.AF_INET, socket.AF_INET6]
    for kind in kinds:
        try:
            normal = socket.inet_ntop(kind, socket.inet_pton(kind, bare))
        except (OSError, ValueError):
            continue
        if percent and not (scope and scope.isalnum() and scope.isascii()):
            return None
        return normal + percent + scope
    return None


def _is_loopback_literal(host: str) -> bool:
    return host == "::1" or host.removeprefix("::ffff:").startswith("127.")


def _sockaddr_host(sockaddr: tuple[object, ...]) -> str:
    host = str(sockaddr[0])
    if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
        return f"{host}%{sockaddr[3]}"
    return host
