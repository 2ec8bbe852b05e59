"""The address of a server, a TCP port or a Unix socket, in one normal form.

Every interface accepts the same notation, and also the old pair of host and port. All
spellings of a place must give the same address, since records and tokens are found by it::

    "127.0.0.1:5", "localhost:5", ("", 5)  ->  127.0.0.1:5
    "[::1]:5", ("0:0:0:0:0:0:0:1", 5)      ->  [::1]:5
    "Box.Example.ORG:5"                    ->  box.example.org:5   (looked up by `resolve` only)
    "unix:/run//me/model"                  ->  unix:/run/me/model
"""

from __future__ import annotations

import codecs
import os
import posixpath
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple

from bgpy.config import checked_port, checked_text
from bgpy.late import once

_EPHEMERAL = "/proc/sys/net/ipv4/ip_local_port_range"

UNIX = "unix:"
"""Begins the address of a Unix socket."""

LONGEST_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes that the path of a Unix socket can have: one less than ``sun_path`` holds."""

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all interfaces, and the loopback address that reaches them."""

HAS_UNIX_SOCKETS = hasattr(socket, "AF_UNIX")
NO_UNIX_SOCKETS = "Python has no Unix sockets on Windows"
USE_LOOPBACK = "use 127.0.0.1 and a port"
"""What an error says of a ``unix:`` address there, and advises."""


class Address(NamedTuple):
    """Where a server is. Make one with `parse`, which checks and normalises it.

    Of a Unix socket `host` is the whole notation, ``unix:/path``, and `port` is 0, so
    that host and port name any server.
    """

    host: str
    port: int

    def __str__(self) -> str:
        if self.path is not None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def path(self) -> str | None:
        """The path of a Unix socket; None for TCP."""
        return self.host[len(UNIX) :] if self.host.startswith(UNIX) else None


def parse(host: str, port: int | None = None) -> Address:
    """Give the one address for `host` and `port`, without looking up names.

    Without `port` the whole address stands in `host`: ``host:port``, ``[::1]:port`` or
    ``unix:/path``. Port 0 stands for a free port. Raises `TypeError` for anything but a
    string and an integer, naming which, `ValueError` for a port beyond 0 to 65535, a host
    that can't be one, or a path that no Unix socket can have.
    """
    host = _host_text(host)
    if port is not None:
        port = checked_port(port)
    if host.startswith(UNIX):
        if port:
            raise ValueError(f"a Unix socket such as {host!r} has no port: leave {port} out")
        return _unix(host[len(UNIX) :])
    if port is None:
        host, port = _apart(host)
    return Address(_normal_host(host), checked_port(port))


def _host_text(host: object) -> str:
    """Of a handle, a server or a client, which have an address, the error names that."""
    try:
        return checked_text(host, "host")
    except TypeError as error:
        if isinstance(getattr(type(host), "address", None), property):
            way_out = f"give its address, as in {type(host).__name__.lower()}.address"
        elif callable(host):
            way_out = "the three functions are given to initialize(), or in an init file"
        else:
            way_out = "write '127.0.0.1:24321', or host and port as two arguments"
        raise TypeError(f"{error}: {way_out}") from None


def _unix(path: str) -> Address:
    if not path.startswith("/") or not path.strip("/"):
        raise ValueError(f"a Unix socket needs an absolute path, as in unix:/path, not {path!r}")
    if "\0" in path:
        raise ValueError(f"the path of a Unix socket can't hold a null character: {path!r}")
    # POSIX leaves two slashes at the start alone.
    normal = "/" + posixpath.normpath(path).lstrip("/")
    if len(os.fsencode(normal)) > LONGEST_PATH:
        raise ValueError(
            f"the path of a Unix socket can have {LONGEST_PATH} bytes here, and {normal} has "
            f"{len(os.fsencode(normal))}: use a shorter one"
        )
    return Address(UNIX + normal, 0)


def _apart(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``."""
    if "://" in text:
        raise ValueError(
            f"{text!r} is a URL, not an address: leave {text.partition('//')[0]}// out"
        )
    _check_no_path(text)
    host, colon, port = text.rpartition(":")
    if not colon and text.isascii() and text.isdigit():
        raise ValueError(
            f"{text!r} is a port without a host: write 127.0.0.1:{text} for one on this machine"
        )
    if not colon:
        example = f"{text}:24321"
        raise ValueError(
            f"{text!r} has no port: write host:port (such as {example}), [::1]:port or unix:/path"
        )
    if not (port.isascii() and port.isdigit()):
        raise ValueError(f"{port!r} in {text!r} is no port: use a number from 0 to 65535")
    if ":" in host and not host.startswith("["):
        raise ValueError(f"put an IPv6 address in brackets before its port: [{host}]:{port}")
    return host, int(port)


def _check_no_path(text: str) -> None:
    if text.startswith("/"):
        raise ValueError(f"{text!r} is a path: write {UNIX}{text} for a Unix socket")
    if text.startswith(("./", "../", "~")):
        raise ValueError(
            f"{text!r} is a path: write {UNIX} and the absolute path for a Unix socket"
        )


def resolve(address: Address) -> list[Address]:
    """Look the host up: its numeric addresses, in the system's order of preference.

    A Unix socket is its own.
    Raises `socket.gaierror` (an `OSError`) if the name is unknown or can't be looked up.
    """
    if address.path is not None or _literal(address.host) is not None:
        return [address]
    try:
        found = socket.getaddrinfo(_spelt(address.host), address.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(
            socket.EAI_NONAME, f"{address.host!r} is no host name: {error}"
        ) from error
    hosts = dict.fromkeys(_sockaddr_host(sockaddr) for *_, sockaddr in found)
    return [Address(host, address.port) for host in hosts]


def _spelt(host: str) -> bytes:
    """A host name as it is looked up; raises `UnicodeError` if it is none."""
    return host.encode() if host.isascii() else _idna()(host)[0]


@once
def _idna() -> Callable[[str], tuple[bytes, int]]:
    """What encodes international names: Python imports it, and what it needs, at first use."""
    codecs.lookup("punycode")
    return codecs.getencoder("idna")


def is_name(host: str) -> bool:
    """Tell whether a host of a TCP address has to be looked up."""
    return _literal(host) is None


def is_loopback_host(host: str) -> bool:
    """Tell whether a resolved host (no name) stays on this machine."""
    return host == "::1" or host.startswith(UNIX) or host.removeprefix("::ffff:").startswith("127.")


def dialled(address: Address) -> Address:
    """Where to connect to for a server that listens on `address`.

    A server on all interfaces (``0.0.0.0``, ``::``) is reached over loopback.
    """
    return address._replace(host=_WILDCARDS.get(address.host, address.host))


def overlap(one: Address, other: Address) -> bool:
    """Whether servers at both addresses would need the same port or path.

    Both are resolved: a host is no name.
    """
    if one.path is not None or other.path is not None:
        return None not in (one.path, other.path) and _same_file(one.host, other.host)
    hosts = {one.host.removeprefix("::ffff:"), other.host.removeprefix("::ffff:")}
    # "::" stands for the interfaces of IPv4 as well.
    of_ipv4 = not any(":" in host for host in hosts)
    return one.port == other.port and (
        len(hosts) == 1 or "::" in hosts or ("0.0.0.0" in hosts and of_ipv4)
    )


def _same_file(one: str, other: str) -> bool:
    return os.path.realpath(one[len(UNIX) :]) == os.path.realpath(other[len(UNIX) :])


def wildcards(address: Address) -> list[Address]:
    """The addresses of servers on all interfaces that answer at this loopback address."""
    if address.path is not None or not is_loopback_host(address.host):
        return []
    return [Address(host, address.port) for host in _WILDCARDS]


def family(address: Address) -> socket.AddressFamily:
    """Tell the family of a TCP address; of a name, that of its first address.

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
        raise ValueError(f"{host!r} is not a host; give it alone, or host and port separately")
    _check_no_path(host)
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


def _sockaddr_host(sockaddr: tuple[object, ...]) -> str:
    host = str(sockaddr[0])
    if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
        return f"{host}%{sockaddr[3]}"
    return host
