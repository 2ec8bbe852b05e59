"""Connections: extensions, more buffers than the limit, and kinds that are not spoken yet."""

from __future__ import annotations

import pytest

from bgpy.errors import (
    LocalProtocolError,
    MessageTooLarge,
    RemoteProtocolError,
)
from bgpy.memory import Payload
from bgpy.wire.messages import (
    Execute,
    Exit,
    Failure,
    Init,
    Reason,
    Reply,
)
from bgpy.wire.table import NUMBERS, TABLE, encode
from tests.support.connections import (
    BLOCK,
    LIMITS,
    PAYLOADS,
    comparable,
    pair,
    sent,
)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("flag", [False, True])
def test_execute_carries_extensions_whatever_its_payload(payload, flag) -> None:
    """As the message does."""
    client, server = pair()
    head, buffers, code = payload
    message = Execute(5, head, buffers, code=code, wait=flag, extensions=BLOCK)
    data = b"".join(client.execute(5, payload, flag, BLOCK))
    assert data == sent(client, message)
    (arrived,) = server.receive(data)
    assert isinstance(arrived, Execute)
    assert (arrived.extensions, arrived.wait, arrived.code) == (BLOCK, flag, code)
    assert bytes(arrived.head) == (b"".join(head) if isinstance(head, tuple) else head)


def test_extensions_count_when_a_message_is_near_the_limit() -> None:
    """Their bytes belong to the message, on both sides."""
    client, server = pair()
    room = LIMITS.max_message - len(BLOCK) - 2
    (arrived,) = server.receive(b"".join(client.execute(1, (bytes(room), (), False), True, BLOCK)))
    assert isinstance(arrived, Execute)
    assert len(arrived.head) == room
    with pytest.raises(MessageTooLarge, match="limit is"):
        client.execute(2, (bytes(room + 1), (), False), True, BLOCK)
    with pytest.raises(MessageTooLarge):
        server.receive(b"".join(encode(Execute(3, bytes(room + 1), extensions=BLOCK))))


def test_connection_fails_when_a_block_of_extensions_is_malformed() -> None:
    """It is looked at when it arrives, so that nobody has to later."""
    client, server = pair()
    with pytest.raises(RemoteProtocolError, match="ascending"):
        server.receive(b"".join(encode(Execute(7, b"", extensions=BLOCK + BLOCK))))
    failure, _ = client.receive(server.take_outgoing())
    assert isinstance(failure, Failure)
    assert (failure.request, failure.reason) == (7, Reason.PROTOCOL)


def fewer(payload: Payload, most: int) -> Payload:
    """As a codec would: the surplus goes into the head."""
    head, buffers, code = payload
    assert not isinstance(head, tuple)
    return (bytes(head), *buffers[most:]), buffers[:most], code


BESIDE = [memoryview(bytes([at]) * 9) for at in range(7)]
WITH_SURPLUS = [
    ("client", Init(1, b"h", BESIDE)),
    ("client", Execute(1, b"h", BESIDE, wait=True, extensions=BLOCK)),
    ("client", Exit(1, b"h", BESIDE)),
    ("server", Reply(1, b"h", BESIDE)),
    ("server", Failure(1, Reason.TASK, "a", "b", "c", b"h", BESIDE, 1)),
]


@pytest.mark.parametrize(("side", "message"), WITH_SURPLUS)
def test_surplus_of_buffers_goes_into_the_head_when_the_codec_can(side, message) -> None:
    """Only what the limit of this connection requires; else the message is refused."""
    client, server = pair(within=fewer)
    sender, receiver = (client, server) if side == "client" else (server, client)
    (arrived,) = receiver.receive(sent(sender, message))
    assert comparable(arrived) == comparable(
        message._replace(head=b"h" + b"".join(BESIDE[4:]), buffers=BESIDE[:4])
    )
    with pytest.raises(MessageTooLarge, match="7 buffers"):
        sender.send(message._replace(codec=2))
    sender, receiver = pair() if side == "client" else reversed(pair())
    with pytest.raises(MessageTooLarge, match="7 buffers"):
        sender.send(message)


def test_surplus_goes_into_the_head_when_no_frame_could_say_so_many() -> None:
    """An execute as the shells call it, a reply, and more buffers than a header counts."""
    client, server = pair(within=fewer)
    many = [memoryview(b"")] * 70_000
    execute = client.execute(1, (b"h", many, False), False)
    for pieces, receiver in ((execute, server), (server.send(Reply(1, b"h", many)), client)):
        (arrived,) = receiver.receive(b"".join(pieces))
        assert isinstance(arrived, Execute | Reply)
        assert (bytes(arrived.head), len(arrived.buffers)) == (b"h", 4)


UNSPOKEN = [(side, row.message) for row in TABLE for side in row.sent_by if not row.spoken]


@pytest.mark.parametrize(("side", "message"), UNSPOKEN)
def test_message_is_neither_sent_nor_taken_when_it_is_not_spoken_yet(side, message) -> None:
    """Its number is refused as any that this side doesn't take."""
    client, server = pair()
    sender, receiver = (client, server) if side == "C" else (server, client)
    given = {"request": 3, "head": b"x", "done": 1.0}
    example = message(**{name: given[name] for name in given if name in message._fields})
    with pytest.raises(LocalProtocolError, match=message.__name__):
        sender.send(example)
    with pytest.raises(RemoteProtocolError, match=f"kind {NUMBERS[message]}"):
        receiver.receive(b"".join(encode(example)))
