"""An exit that a server refuses: it lives, and whoever asked is told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bgpy import CallingSelf, Client, Handle

Start = Callable[..., tuple[Handle, Client]]
TOKEN = "t" * 40


def _nothing(client_socket: Any, state: Any, args: Any) -> None: ...


def _call_on(client_socket: Any, state: Any, args: Any) -> None:
    """Call the server at ``ways[0]``; the last one of them is terminated instead."""
    from bgpy import Client, respond

    way, *rest = args["ways"]
    with Client(*way) as inner:
        answer = inner.call({"ways": rest}, timeout=60) if rest else inner.terminate(timeout=60)
    respond(client_socket, answer)


def test_exit_in_a_circle_of_calls_is_refused_and_ends_nothing(start: Start) -> None:
    """A's task waits for B, whose task wants to end A: neither waits for ever."""
    servers = [start(token=TOKEN) for _ in range(2)]
    for _, client in servers:
        client.initialize(lambda: None, _call_on, _nothing)
    first, second = ((handle.host, handle.port, TOKEN) for handle, _ in servers)
    with pytest.raises(CallingSelf):
        servers[0][1].call({"ways": [second, first]}, timeout=60)
    for handle, client in servers:
        assert client.ping() > 0
        assert handle.is_alive()
