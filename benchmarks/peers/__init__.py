"""The peers: one module each, which serves in one process and calls from another.

A module has ``serve(tell, **options)``, which announces where it serves and then serves until
its standard input ends, and a class ``Connection``. It does what the peer's documentation
recommends for speed, with authentication where the peer has one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

ALL = frozenset({"call", "pipeline", "connect", "put", "get", "clients", "start"})
SMALL = frozenset({"call", "pipeline", "connect", "clients"})
UNIX = MappingProxyType({"unix": True})


class Peer(NamedTuple):
    """A peer as the report shows it."""

    title: str
    module: str
    package: str | None
    """The distribution whose version is told; None for the standard library."""
    how: str
    """How it is used, for the report."""
    can: frozenset[str] = ALL
    options: Mapping[str, Any] = MappingProxyType({})
    """What `serve` of the module is given."""
    environment: str = ""
    """The virtual environment it needs, ``.venv-bench-NAME``; empty for the run's own.

    Such a peer is started for its own slices only: its other processes would take time from
    those of the rest.
    """


PEERS = {
    "raw": Peer(
        "raw sockets, TCP",
        "raw",
        None,
        "the limit: blocking TCP with TCP_NODELAY, one server thread per connection, `recv_into`, "
        "32 bytes back and forth, no pickle, no authentication; arrays are received in fresh "
        "private memory advised MADV_HUGEPAGE",
        ALL - {"pipeline"},
    ),
    "raw_unix": Peer(
        "raw sockets, Unix",
        "raw",
        None,
        "the same over a Unix socket",
        SMALL - {"pipeline"},
        UNIX,
    ),
    "bgpy": Peer(
        "bgpy, TCP",
        "background",
        "bgpy",
        "`run_background()`, a token, `client.call`; `client.submit` where calls are pipelined",
        ALL | {"ping", "idle"},
    ),
    "bgpy_unix": Peer(
        "bgpy, Unix",
        "background",
        "bgpy",
        "the same over a Unix socket, which a server without host and port makes",
        SMALL,
        UNIX,
    ),
    "raw_tls": Peer(
        "ssl sockets",
        "raw_tls",
        None,
        "the limit over TLS 1.3: as raw sockets, through `ssl.SSLSocket`, with a self-signed P-256 "
        "certificate",
        frozenset({"call", "connect", "put", "get"}),
    ),
    "bgpy_tls": Peer(
        "bgpy over TLS",
        "background",
        "bgpy",
        "bgpy over TCP, with `tls=True` on both sides",
        frozenset({"call", "pipeline", "connect", "put", "get"}),
        MappingProxyType({"tls": True}),
    ),
    "managers": Peer(
        "multiprocessing.managers, TCP",
        "managers",
        None,
        "a `BaseManager` on TCP with an authkey, a proxy's method; calls one by one where others "
        "pipeline; each new connection's handshake waits for a delayed ACK, about 44 ms, of which "
        "a client has several",
    ),
    "managers_unix": Peer(
        "multiprocessing.managers, Unix",
        "managers",
        None,
        "the same over a Unix socket",
        SMALL,
        UNIX,
    ),
    "connection": Peer(
        "multiprocessing.connection",
        "connection",
        None,
        "`Listener` and `Client` on TCP with an authkey, `send` and `recv`; for arrays only",
        frozenset({"put", "get"}),
    ),
    "pyro5": Peer(
        "Pyro5",
        "pyro",
        "Pyro5",
        "threaded daemon, the marshal serializer (its fastest), SOCK_NODELAY, a token checked in "
        "`validateHandshake`; a batch, with serpent, where "
        "calls are pipelined; arrays as bytes",
    ),
    "rpyc": Peer(
        "RPyC",
        "rpyc_service",
        "rpyc",
        "`ThreadedServer`, TCP_NODELAY, a token checked by an authenticator, compression off; "
        "dicts travel by value as tuples, arrays in pieces; `async_` where calls are pipelined",
    ),
    "pyzmq": Peer(
        "pyzmq",
        "zeromq",
        "pyzmq",
        "REQ and REP with pickle, PLAIN authentication; a DEALER where calls are pipelined; arrays "
        "as a frame of their own, sent and received with `copy=False`",
    ),
    "ray": Peer(
        "Ray actor",
        "ray_actor",
        "ray",
        "one actor in a local cluster of its own with a token, `ray.get` of a remote method; the "
        "cluster's other processes are never pinned, and the memory of arrays is theirs",
        ALL - {"clients", "connect"},
        environment="ray",
    ),
    "bgpy031": Peer(
        "bgpy 0.3.1",
        "background_031",
        "bgpy",
        "`run_background()`, a token, `client.execute(..., await_response=True)`",
        frozenset({"call", "start"}),
        environment="031",
    ),
}


class Unsupported(Exception):
    """What a peer can't do, said so that the report can show it."""


class Connection:
    """One client of a peer's server; made with what the server announced."""

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """One small dict there and one back."""
        raise Unsupported("no calls")

    def pipeline(self, count: int) -> None:
        """Make `count` calls without waiting for each, and wait for all."""
        raise Unsupported("no pipelining")

    def put(self, array: Any) -> float:
        """Send the array; gives its last number as the server read it."""
        raise Unsupported("no arrays")

    def get(self) -> Any:
        """Give the server's array."""
        raise Unsupported("no arrays")

    def close(self) -> None:
        """Close the connection; the server stays."""


def unix_path() -> str:
    """Where this process's Unix socket shall be: in the run's folder, which ends with the run."""
    return os.path.join(os.environ["BGPY_HOME"], str(os.getpid()))


def load(name: str) -> Any:
    """The module of the peer."""
    return import_module(f"benchmarks.peers.{PEERS[name].module}")
