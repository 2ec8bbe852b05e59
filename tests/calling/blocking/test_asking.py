"""What a server says of itself, or does not."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from bgpy import Server
from bgpy.address import Address, parse
from bgpy.calling.blocking import asking
from bgpy.calling.blocking.connecting import Connected, Target, connect
from bgpy.calling.blocking.dialling import Reached
from bgpy.state.tokens import FoundToken, Source
from bgpy.wire.messages import Goodbye, Message, Pong, Status
from tests.support.channels import Far
from tests.support.connections import WELCOME, pair

TOKEN = FoundToken("t" * 40, Source.ARGUMENT)


@pytest.mark.parametrize("tls", [None, True])
def test_server_describes_itself_over_each_transport(tls: bool | None) -> None:
    """It isn't ending, whether asked with TLS or not."""
    handle = Server("127.0.0.1", 0, TOKEN.token, tls=tls).run_background()
    try:
        target = Target(parse(handle.address), tls, lambda: TOKEN)
        connected = connect(target, os.urandom(16), 10)
        said = asking.description(connected, 10)
        connected.reached.sock.close()
        assert said is not None
        assert (said["pid"], said["ending"]) == (handle.pid, False)
        assert not asking.is_ending(target._replace(tls=None), 10)
    finally:
        handle.kill()


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ([Pong(7), Status(1, '{"ending": true}')], {"ending": True}),
        ([Status(1, "[]")], None),
        ([Goodbye("no")], None),
        ([], None),
    ],
)
def test_server_that_says_something_else_has_said_nothing(
    says: list[Message], expected: dict[str, object] | None
) -> None:
    """Nor has one that closes the connection."""
    client, server = pair()
    ours, theirs = socket.socketpair()

    def answer() -> None:
        far = Far(theirs, server)
        assert far.read() == Status(1)
        for message in says:
            far.say(message)
        theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with ours:
        said = asking.description(Connected(Reached(ours, b""), client, WELCOME), 30)
    thread.join()
    assert said == expected


def test_server_that_takes_its_time_has_said_nothing() -> None:
    """And where none is, none is ending."""
    client, _ = pair()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert asking.description(Connected(Reached(ours, b""), client, WELCOME), 0.01) is None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert not asking.is_ending(Target(Address("127.0.0.1", port), None, lambda: TOKEN), 1)
