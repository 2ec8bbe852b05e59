"""The command line of a server's process ends in its address."""

from __future__ import annotations

import sys

import psutil
import pytest

from bgpy import Client, Server
from bgpy.example import tasks
from bgpy.process.command_line import with_address


@pytest.mark.parametrize(
    ("before", "address", "after"),
    [
        (b"py\0-c\0code  \x00h:0\0", "h:54", b"py\0-c\0code \x00h:54\0"),
        (b"py\0-c\0code  \x00h:0\0", "h:543", b"py\0-c\0code\x00h:543\0"),
        (b"py\0-c\0code  \x00h:0\0", "h:5432", None),
        (b"py\0-c\0code\x00localhost:0\0", "::1:9", b"py\0-c\0code      \x00::1:9\0"),
        (b"h:0\0", "h:5", None),
        (b"py\0code h:0", "h:5", None),
        (b"", "h:5", None),
    ],
)
def test_address_takes_the_place_of_the_one_that_was_asked_for(
    before: bytes, address: str, after: bytes | None
) -> None:
    """Within the same bytes, or not at all."""
    assert with_address(before, address) == after
    assert after is None or len(after) == len(before)


@pytest.mark.parametrize("host", ["127.0.0.1", "unix"])
def test_servers_can_be_told_apart_by_their_command_lines(host: str) -> None:
    """Each ends in its address; tasks don't see that argument."""
    if host == "unix" and sys.platform == "win32":
        pytest.skip("no Unix sockets")
    servers = [Server() if host == "unix" else Server(host, 0) for _ in range(2)]
    handles = [server.run_background() for server in servers]
    try:
        for handle in handles:
            *_, code, last = psutil.Process(handle.pid).cmdline()
            if sys.platform.startswith("linux") or host == "unix":
                assert last == handle.address
            else:
                assert last == "127.0.0.1:0"
            assert "a bgpy server" in code
        with Client(handles[0].address) as client:
            client.initialize(tasks.init_task, arguments, tasks.exit_task)
            assert client.call({}) == ["-c"]
    finally:
        for handle in handles:
            handle.kill()


def arguments(client_socket: object, state: object, args: object) -> None:
    """Respond what the program in this process was given."""
    import sys

    from bgpy import respond

    respond(client_socket, sys.argv)
