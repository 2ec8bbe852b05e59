"""bgpy over TLS: the same server and client, told to speak it on loopback."""

from __future__ import annotations

from typing import Any

from benchmarks.harness.pipes import Tell
from benchmarks.peers import background
from bgpy import Client


def serve(tell: Tell) -> None:
    """Start it, and kill it in the end."""
    background.serve(tell, tls=True)


def connect(target: dict[str, Any]) -> Client:
    """A client of the server; it connects at its first call."""
    host, port = target["address"]
    return Client(host, port, target["token"], tls=True)


class Connection(background.Connection):
    """A client."""

    connect = staticmethod(connect)
