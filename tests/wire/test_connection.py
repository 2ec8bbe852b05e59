"""Connections: two sides that exchange nothing but bytes, however those are cut."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import ENV_ROAD
from bgpy.errors import (
    AuthenticationError,
    BgpyError,
    LocalProtocolError,
    MessageTooLarge,
    NotBgpy,
    RemoteProtocolError,
)
from bgpy.memory import Payload
from bgpy.wire.connection import Connection, ConnectionState
from bgpy.wire.frames import FrameReader
from bgpy.wire.handshake import (
    MAGIC,
)
from bgpy.wire.messages import (
    Cancel,
    Execute,
    Exit,
    Failure,
    Goodbye,
    Init,
    Message,
    Modules,
    Ping,
    Pong,
    Reason,
    Receipt,
    Reply,
    Status,
)
from bgpy.wire.small import SMALL_CALL
from bgpy.wire.table import TO_CLIENT, TO_SERVER, encode
from tests.support.connections import (
    BLOCK,
    LARGE,
    LIMITS,
    PAYLOADS,
    comparable,
    make_client,
    make_server,
    memory,
    pair,
    sent,
)

FROM_CLIENT: list[Message] = [
    Init(1, b"tasks", [LARGE, memoryview(b"")]),
    Init(1, b"tasks", extensions=BLOCK),
    Execute(2, b"a" * 100_000, [LARGE], 1, True, True, BLOCK),
    Exit(3, b"", (), 0, False, True, BLOCK),
    Execute(2, b"args"),
    Execute(2, b"a" * 100_000, (), 1, True, True),
    Exit(3, b"args", [memoryview(b"x")]),
    Cancel(4, 2),
    Ping(5),
    Status(6, "{}"),
    Goodbye("done"),
    Modules(7, "{}"),
]
FROM_SERVER: list[Message] = [
    Reply(1, b"value", [LARGE]),
    Reply(1, b"value", (), 1, False, True),
    Failure(2, Reason.TASK, "builtins.KeyError", "'a'", "Traceback", b"exception", [LARGE], 1),
    Receipt(3, 0),
    Pong(4),
    Status(5, "{}"),
    Goodbye("the server ends"),
    Modules(6, "{}"),
]


def deliver(receiver: Connection, data: bytes, size: int) -> list[Message]:
    """Bring `data` over as a socket would, at most `size` bytes at a time."""
    messages: list[Message] = []
    left = memoryview(data)
    while left:
        reader = receiver.reader
        target = None if reader is None else reader.target
        count = min(size, len(left), len(left) if target is None else len(target))
        if target is None:
            messages += receiver.receive(left[:count])
        else:
            target[:count] = left[:count]
            assert reader is not None
            messages += reader.filled(count)
        left = left[count:]
    return messages


BOTH_WAYS = [("client", message) for message in FROM_CLIENT] + [
    ("server", message) for message in FROM_SERVER
]


@pytest.mark.parametrize(("side", "message"), BOTH_WAYS)
@pytest.mark.parametrize("size", [1, 5000, 10**9])
def test_message_arrives_in_any_pieces_when_its_side_sends_it(side, message, size) -> None:
    """Whole, byte by byte and in pieces, with the next message trailing, in both directions."""
    client, server = pair()
    sender, receiver = (client, server) if side == "client" else (server, client)
    data = sent(sender, message)
    received = deliver(receiver, data + data, size)
    assert list(map(comparable, received)) == [comparable(message)] * 2
    receiver.eof()
    assert receiver.state is ConnectionState.CLOSED


@pytest.mark.parametrize(("side", "message"), BOTH_WAYS)
def test_end_of_stream_is_an_error_when_a_message_is_not_whole(side, message) -> None:
    """A truncated message is never taken for a clean end."""
    client, server = pair()
    sender, receiver = (client, server) if side == "client" else (server, client)
    receiver.receive(sent(sender, message)[:-1] or b"\0")
    with pytest.raises(RemoteProtocolError, match="within a message"):
        receiver.eof()
    assert receiver.state is ConnectionState.FAILED
    receiver.eof()


@pytest.mark.parametrize(("side", "message"), BOTH_WAYS)
def test_message_is_refused_when_it_goes_in_the_wrong_direction(side, message) -> None:
    """A kind is taken from one side only, and this side doesn't send the other's."""
    client, server = pair()
    other = server if side == "client" else client
    kind = encode(message)[0][0]
    if kind in TO_CLIENT.decoders and kind in TO_SERVER.decoders:
        assert sent(other, message) == b"".join(encode(message))
        return
    with pytest.raises(LocalProtocolError, match=type(message).__name__):
        other.send(message)
    receiver = client if side == "client" else server
    with pytest.raises(RemoteProtocolError, match=f"kind {kind}"):
        receiver.receive(b"".join(encode(message)))


@pytest.mark.parametrize("size", [1, 31, 10**9])
def test_frames_are_read_when_they_trail_the_handshake(size) -> None:
    """A request sent together with the proof is received as if it came later."""
    client, server = make_client(), make_server()
    server.receive(client.take_outgoing())
    client.receive(server.take_outgoing())
    request = Execute(1, b"args", (), 1, False, True)
    data = client.take_outgoing() + b"".join(encode(request))
    assert list(map(comparable, deliver(server, data, size))) == [comparable(request)]
    reply = Reply(1, b"value")
    data = server.take_outgoing() + sent(server, reply)
    assert list(map(comparable, deliver(client, data, size))) == [comparable(reply)]


def test_client_takes_its_limits_from_the_server_when_it_is_established() -> None:
    """Both directions have the server's limits; the sender is told before it sends."""
    client, server = pair()
    for sender, make in ((client, Execute), (server, Reply)):
        for head, count in ((b"h" * 200_000, 0), (b"h" * 199_997, 3), (b"", 4)):
            sender.send(make(1, head, [memoryview(b"b")] * count))
        for head, count in ((b"h" * 200_001, 0), (b"h" * 199_998, 3), (b"", 5)):
            with pytest.raises(MessageTooLarge, match="limit is"):
                sender.send(make(1, head, [memoryview(b"b")] * count))
        with pytest.raises(MessageTooLarge, match="5 buffers"):
            sender.send(make(1, b"", [memoryview(b"")] * 5))
        sender.send(make(1, b"usable still"))
    with pytest.raises(MessageTooLarge):
        client.receive(b"".join(encode(Reply(9, b"h" * 200_001))))
    assert client.failed_request == 9


def test_nothing_can_be_sent_when_the_handshake_is_not_done() -> None:
    """Messages before the proof are this side's mistake."""
    for connection in (make_client(), make_server()):
        with pytest.raises(LocalProtocolError, match="handshake"):
            connection.send(Status(1, "{}"))
        with pytest.raises(RemoteProtocolError, match="handshake"):
            connection.eof()
        assert connection.state is ConnectionState.FAILED


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("flag", [False, True])
def test_execute_gives_the_bytes_of_its_message(payload, flag) -> None:
    """Whichever way it takes: the quick one is the same frame."""
    client, _ = pair()
    head, buffers, code = payload
    execute = Execute(5, head, buffers, code=code, wait=flag)
    assert b"".join(client.execute(5, payload, flag)) == sent(client, execute)


def test_execute_raises_when_nothing_can_be_sent() -> None:
    """Before the handshake is done, over a limit, and after an error."""
    small: Payload = (b"small", (), False)
    with pytest.raises(LocalProtocolError):
        make_client().execute(1, small, False)
    client, _ = pair()
    with pytest.raises(MessageTooLarge):
        client.execute(1, (bytes(LIMITS.max_message + 1), (), False), False)
    with pytest.raises(RemoteProtocolError):
        client.receive(header(kind=99))
    with pytest.raises(LocalProtocolError):
        client.execute(1, small, False)


@pytest.mark.parametrize("road", ["short", "general"])
def test_short_roads_are_for_small_heads_of_an_open_connection(
    road: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number says so on both sides; it is below any head before, after, and if switched off."""
    monkeypatch.setenv(ENV_ROAD, road)
    assert make_client().small_head == -1
    for side in pair():
        assert side.small_head == (min(SMALL_CALL, side.plain_head) if road == "short" else -1)
        with pytest.raises(RemoteProtocolError):
            side.receive(b"x" * 1000)
        assert side.small_head == -1


def header(kind: int = 2, tags: int = 0x10, count: int = 0, length: int = 0) -> bytes:
    return struct.pack("<BBHIQ", kind, tags, count, length, 7)


BROKEN = [
    (header(length=2**32 - 1), MessageTooLarge, Reason.TOO_LARGE),
    (header(length=200_001), MessageTooLarge, Reason.TOO_LARGE),
    (header(count=1) + struct.pack("<Q", 2**63), MessageTooLarge, Reason.TOO_LARGE),
    (header(count=5), MessageTooLarge, Reason.TOO_LARGE),
    (header(kind=0), RemoteProtocolError, Reason.PROTOCOL),
    (header(kind=7), RemoteProtocolError, Reason.PROTOCOL),
    (header(kind=4), RemoteProtocolError, Reason.PROTOCOL),
    (header(tags=0x18), RemoteProtocolError, Reason.PROTOCOL),
    (header(kind=10, tags=1), RemoteProtocolError, Reason.PROTOCOL),
    (header(kind=12, tags=0, length=1) + b"\xff", RemoteProtocolError, Reason.PROTOCOL),
]


@pytest.mark.parametrize(("data", "error", "reason"), BROKEN)
@pytest.mark.parametrize("size", [1, 10**9])
def test_client_is_told_when_it_breaks_the_protocol(data, error, reason, size) -> None:
    """The server allocates nothing, ends the connection and says why, with the request's id."""
    asked: list[int] = []

    def allocate(size: int) -> memoryview:
        asked.append(size)
        return memory(size)

    client, server = pair(allocate)
    with pytest.raises(error) as caught:
        deliver(server, data, size)
    assert asked == []
    assert server.state is ConnectionState.FAILED
    assert server.failed_request == 7
    failure, goodbye = client.receive(server.take_outgoing())
    assert isinstance(failure, Failure)
    assert (failure.request, failure.reason) == (7, reason)
    assert failure.text == str(caught.value)
    assert isinstance(goodbye, Goodbye)
    with pytest.raises(error):
        server.receive(sent(client, Ping(8)))
    assert server.take_outgoing() == b""
    with pytest.raises(LocalProtocolError, match="failed"):
        server.send(Receipt(7, 0))


def test_server_is_told_when_it_breaks_the_protocol() -> None:
    """A client that gives up says goodbye with the reason."""
    client, server = pair()
    with pytest.raises(RemoteProtocolError):
        client.receive(header(kind=8))
    (goodbye,) = server.receive(client.take_outgoing())
    assert isinstance(goodbye, Goodbye)
    assert "kind 8" in goodbye.text


def test_server_raises_and_has_the_refusal_to_send_when_it_refuses_a_client() -> None:
    """The shell sends what is outgoing, and closes."""
    server = make_server()
    with pytest.raises(RemoteProtocolError, match="role 3"):
        server.receive(MAGIC + bytes([2, 2, 0, 3]) + bytes(48))
    with pytest.raises(RemoteProtocolError, match="reason 2"):
        make_client().receive(server.take_outgoing())
    assert server.state is ConnectionState.FAILED
    with pytest.raises(RemoteProtocolError, match="role 3"):
        server.receive(b"more")


def test_peer_gets_nothing_when_it_does_not_speak_the_protocol() -> None:
    """Strangers are closed without an answer."""
    server = make_server()
    with pytest.raises(NotBgpy, match="HTTP"):
        server.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert server.take_outgoing() == b""


def test_client_sends_nothing_after_its_hello_when_the_token_is_wrong() -> None:
    """The proof doesn't leave before the server's was verified."""
    client, server = make_client("u" * 32), make_server()
    server.receive(client.take_outgoing())
    with pytest.raises(AuthenticationError):
        client.receive(server.take_outgoing())
    assert client.take_outgoing() == b""
    assert client.state is ConnectionState.FAILED


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.sampled_from(
                [b"".join(encode(message))[:60] for message in FROM_CLIENT + FROM_SERVER]
            ),
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_connection_raises_a_documented_error_or_none_when_fed_any_bytes(data, server) -> None:
    """After the handshake, any bytes are messages or an error of the tree, which stays."""
    client_side, server_side = pair()
    connection = server_side if server else client_side
    failed = False
    for piece in data:
        try:
            connection.receive(piece)
            assert not failed
        except (RemoteProtocolError, MessageTooLarge):
            failed = True
    assert connection.established is not failed


@given(st.binary(max_size=200), st.booleans())
def test_connection_is_never_established_when_fed_any_bytes_first(data, server) -> None:
    """Without the token nobody gets past the handshake, and nothing becomes a message."""
    connection = make_server() if server else make_client()
    try:
        assert connection.receive(MAGIC + data) == []
    except BgpyError:
        assert connection.state is ConnectionState.FAILED
    assert not connection.established


def test_receiving_adds_no_frames_of_its_own_when_compared_with_its_parts() -> None:
    """A connection gives exactly what reader and decoder give."""
    client, server = pair()
    data = b"".join(sent(client, message) for message in FROM_CLIENT)
    reader = FrameReader(LIMITS, memory, TO_SERVER.decoders)
    assert list(map(comparable, server.receive(data))) == list(map(comparable, reader.feed(data)))
