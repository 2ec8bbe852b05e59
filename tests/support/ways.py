"""The ways in which clients reach a server; what holds on one holds on all.

Where a network is in between, a test goes all `WAYS`; elsewhere `PLAIN` is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bgpy import Client, Handle, Limits, Server

TOKEN = "of-the-chaos-and-long-enough-not-to-be-stretched"


class Way(NamedTuple):
    """How a server is started and a client made, over one sort of connection."""

    name: str
    hides: bool
    """Whether a stranger in the middle can change nothing without being noticed."""
    server: Callable[..., Server]
    client: Callable[..., Client]

    def start(self, **limits: Any) -> Handle:
        """Start a server in the background, without tasks."""
        return self.server(limits=Limits(**limits)).run_background()


def _plain_server(**options: Any) -> Server:
    return Server("127.0.0.1", 0, TOKEN, **options)


def _plain_client(port: int, **options: Any) -> Client:
    return Client("127.0.0.1", port, TOKEN, **options)


def _tls_server(**options: Any) -> Server:
    return Server("127.0.0.1", 0, TOKEN, tls=True, **options)


def _tls_client(port: int, **options: Any) -> Client:
    return Client("127.0.0.1", port, TOKEN, tls=True, **options)


PLAIN = Way("plain", False, _plain_server, _plain_client)
TLS = Way("tls", True, _tls_server, _tls_client)
WAYS = [PLAIN, TLS]
