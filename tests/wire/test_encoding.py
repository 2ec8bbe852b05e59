"""Encoding: each message survives the way there, and what isn't one is refused."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import Limits
from bgpy.errors import RemoteProtocolError
from bgpy.wire.encoding import MOST_ACKNOWLEDGED
from bgpy.wire.extensions import LARGEST_BLOCK, Extension, encode_extensions
from bgpy.wire.frames import SMALL, Frame, FrameReader
from bgpy.wire.messages import (
    UNLIMITED,
    Acknowledge,
    Cancel,
    Credit,
    Event,
    Execute,
    Exit,
    Failure,
    Goodbye,
    Init,
    Item,
    Message,
    Modules,
    Ping,
    Pong,
    Progress,
    Reason,
    Receipt,
    ReceiptCode,
    Reply,
    Status,
    Subscribe,
)
from bgpy.wire.table import NUMBERS, TABLE, encode

BLOCK = encode_extensions({Extension.KEY: b"order-17", 200: b""}, {200})
LARGEST = encode_extensions({200: bytes(LARGEST_BLOCK - 4)})
BUFFERS = [memoryview(b"one"), memoryview(b""), memoryview(b"three")]

MESSAGES: list[Message] = [
    Init(1, b"tasks"),
    Init(1, b"tasks", BUFFERS, 1, True),
    Execute(2, b"args"),
    Execute(2, b"args", BUFFERS, 15, True, True),
    Execute(3, b"", (), 1, False, True),
    Init(1, b"tasks", BUFFERS, 1, True, BLOCK),
    Execute(2, b"args", extensions=BLOCK),
    Execute(2, b"a" * (SMALL + 1), BUFFERS, 15, True, True, BLOCK),
    Execute(2, b"", (), 0, False, True, LARGEST),
    Exit(4, b"", (), 0, False, True),
    Exit(4, b"", (), 0, False, True, BLOCK),
    Exit(4, b"args", BUFFERS, 1, True, False),
    Reply(5, b"value"),
    Reply(5, b"value", BUFFERS, 1, True, True),
    Failure(6, Reason.NOT_STARTED),
    Failure(6, Reason.TASK, "builtins.ValueError", "größer", "Traceback …", b"exc", BUFFERS, 1),
    Failure(0, 200, "", "a reason of a later version", ""),
    Receipt(7, ReceiptCode.RECEIVED),
    Receipt(7, ReceiptCode.INITIALIZED),
    Receipt(7, ReceiptCode.ALREADY_INITIALIZED),
    Item(7, b"value"),
    Item(7, b"value", BUFFERS, 1, True, False, True, 2**32 - 1, 2**64 - 1),
    Item(7, b"", codec=0, last=True),
    Event(7, b"value", topic="größe", sequence=2**64 - 1),
    Event(7, b"value", BUFFERS, 1, True, "t" * 0xFFFF),
    Cancel(8, 2**64 - 1),
    Cancel(8, 7, True),
    Acknowledge(2**64 - 1),
    Acknowledge(3, (5, 6, 9)),
    Acknowledge(0, tuple(range(1, MOST_ACKNOWLEDGED + 1))),
    Credit(7, 1, 16),
    Credit(7, 2**32 - 1, UNLIMITED, 2**20, True),
    Progress(7, 0.5),
    Progress(7, 3, 7, "größer"),
    Subscribe(8, '{"topics": ["a"]}'),
    Ping(9),
    Pong(2**64 - 1),
    Status(10, '{"call": 7}'),
    Goodbye("the server ends"),
    Goodbye(""),
    Modules(11, '{"modules": ["größe"]}'),
]


DECODERS = {row.number: row.decode for row in TABLE}
AS_FRAMES = dict.fromkeys(DECODERS, Frame)


def decode(frame: Frame) -> Message:
    return DECODERS[frame.kind](*frame)


def limitless(data: bytes) -> list[Frame]:
    return FrameReader(Limits(), lambda size: memoryview(bytearray(size)), AS_FRAMES).feed(data)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_comes_back_the_same_when_encoded_and_decoded(message) -> None:
    """Type and every field survive."""
    (frame,) = limitless(b"".join(encode(message)))
    decoded = decode(frame)
    assert type(decoded) is type(message)
    fields, expected = decoded._asdict(), message._asdict()  # type: ignore[attr-defined]
    if "buffers" in expected:
        assert [bytes(b) for b in fields.pop("buffers")] == [
            bytes(b) for b in expected.pop("buffers")
        ]
    assert fields == expected


def test_table_of_messages_covers_every_kind() -> None:
    """No kind is left out of the table above."""
    assert {type(message) for message in MESSAGES} == NUMBERS.keys()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_comes_back_the_same_when_it_arrives_byte_by_byte_with_more_behind(message) -> None:
    """The frame says where a message ends."""
    data = b"".join(encode(message))
    if len(data) > 2**17:
        return  # a byte at a time takes long, and shows nothing more
    reader = FrameReader(Limits(), lambda size: memoryview(bytearray(size)), DECODERS)
    arrived = []
    for at in range(len(data)):
        arrived += reader.feed(data[at : at + 1])
    arrived += reader.feed(data + data[:5])
    assert [b"".join(encode(each)) for each in arrived] == [data, data]
    assert not reader.idle


def extended(block: bytes, length: int | None = None) -> bytes:
    return struct.pack("<H", len(block) if length is None else length) + block


WRONG = [
    Frame(NUMBERS[Init], 0x11, 1, b"", ()),
    Frame(NUMBERS[Execute], 0x12, 1, b"", ()),
    Frame(NUMBERS[Init], 0x18, 1, b"", ()),
    Frame(NUMBERS[Exit], 0x18, 1, b"\1", ()),
    Frame(NUMBERS[Execute], 0x18, 1, extended(b""), ()),
    Frame(NUMBERS[Execute], 0x18, 1, extended(BLOCK, len(BLOCK) + 1), ()),
    Frame(NUMBERS[Execute], 0x18, 1, extended(BLOCK, 0xFFFF), ()),
    Frame(NUMBERS[Execute], 0x18, 1, extended(BLOCK[:-1]), ()),
    Frame(NUMBERS[Execute], 0x18, 1, extended(BLOCK + BLOCK), ()),
    Frame(NUMBERS[Execute], 0x18, 1, memoryview(extended(BLOCK + BLOCK)), ()),
    Frame(NUMBERS[Execute], 0x08, 1, extended(BLOCK) + b"args", ()),
    Frame(NUMBERS[Execute], 0x08, 1, extended(BLOCK), (memoryview(b""),)),
    Frame(NUMBERS[Execute], 0x1A, 1, extended(BLOCK), ()),
    Frame(NUMBERS[Init], 0x19, 1, extended(BLOCK), ()),
    Frame(NUMBERS[Reply], 0x18, 1, extended(BLOCK), ()),
    Frame(NUMBERS[Item], 0x10, 1, bytes(11), ()),
    Frame(NUMBERS[Item], 0x18, 1, bytes(12), ()),
    Frame(NUMBERS[Item], 0x00, 1, bytes(13), ()),
    Frame(NUMBERS[Event], 0x10, 1, bytes(9), ()),
    Frame(NUMBERS[Event], 0x10, 1, bytes(8) + b"\1\0", ()),
    Frame(NUMBERS[Event], 0x10, 1, bytes(8) + b"\1\0\xff", ()),
    Frame(NUMBERS[Event], 0x11, 1, bytes(10), ()),
    Frame(NUMBERS[Credit], 0, 1, bytes(19), ()),
    Frame(NUMBERS[Credit], 0, 1, bytes(21), ()),
    Frame(NUMBERS[Credit], 2, 1, bytes(20), ()),
    Frame(NUMBERS[Progress], 0, 1, bytes(15), ()),
    Frame(NUMBERS[Progress], 1, 1, bytes(16), ()),
    Frame(NUMBERS[Progress], 0, 1, bytes(16) + b"\xff", ()),
    Frame(NUMBERS[Progress], 0, 1, struct.pack("<2d", math.nan, 1), ()),
    Frame(NUMBERS[Progress], 0, 1, struct.pack("<2d", 1, math.inf), ()),
    Frame(NUMBERS[Progress], 0, 1, struct.pack("<2d", -1, 1), ()),
    Frame(NUMBERS[Acknowledge], 0, 0, b"", ()),
    Frame(NUMBERS[Acknowledge], 0, 0, bytes(7), ()),
    Frame(NUMBERS[Acknowledge], 0, 0, bytes(12), ()),
    Frame(NUMBERS[Acknowledge], 0, 0, bytes(16), ()),
    Frame(NUMBERS[Acknowledge], 0, 0, struct.pack("<3Q", 1, 3, 2), ()),
    Frame(NUMBERS[Acknowledge], 0, 0, bytes(8 * (MOST_ACKNOWLEDGED + 2)), ()),
    Frame(NUMBERS[Cancel], 2, 1, bytes(8), ()),
    Frame(NUMBERS[Subscribe], 0, 1, b"\xff", ()),
    Frame(NUMBERS[Execute], 0x01, 1, b"args", ()),
    Frame(NUMBERS[Execute], 0x01, 1, b"", (memoryview(b""),)),
    Frame(NUMBERS[Execute], 0x04, 1, b"", ()),
    Frame(NUMBERS[Exit], 0x12, 1, b"", ()),
    Frame(NUMBERS[Reply], 0x11, 1, b"", ()),
    Frame(NUMBERS[Reply], 0x00, 1, b"value", ()),
    Frame(NUMBERS[Failure], 0x10, 1, b"", ()),
    Frame(NUMBERS[Failure], 0x00, 1, b"\0", ()),
    Frame(NUMBERS[Failure], 0x00, 1, b"\0" + struct.pack("<I", 5) + b"abcd", ()),
    Frame(NUMBERS[Failure], 0x00, 1, b"\0" + struct.pack("<I", 2**32 - 1), ()),
    Frame(NUMBERS[Failure], 0x00, 1, bytes(12), ()),
    Frame(NUMBERS[Failure], 0x00, 1, bytes(13) + b"payload", ()),
    Frame(NUMBERS[Failure], 0x12, 1, bytes(13) + b"payload", ()),
    Frame(NUMBERS[Failure], 0x00, 1, b"\0" + struct.pack("<I", 1) + b"\xff" + bytes(8), ()),
    Frame(NUMBERS[Receipt], 0, 1, b"", ()),
    Frame(NUMBERS[Receipt], 0, 1, b"\3", ()),
    Frame(NUMBERS[Receipt], 0, 1, b"\0\0", ()),
    Frame(NUMBERS[Receipt], 0x10, 1, b"\0", ()),
    Frame(NUMBERS[Cancel], 0, 1, bytes(7), ()),
    Frame(NUMBERS[Cancel], 0, 1, bytes(9), ()),
    Frame(NUMBERS[Ping], 0, 1, b"x", ()),
    Frame(NUMBERS[Ping], 1, 1, b"", ()),
    Frame(NUMBERS[Pong], 0, 1, b"", (memoryview(b""),)),
    Frame(NUMBERS[Status], 0, 1, b"\xff", ()),
    Frame(NUMBERS[Status], 0x10, 1, b"{}", ()),
    Frame(NUMBERS[Goodbye], 0, 0, b"\xed\xa0\x80", ()),
    Frame(NUMBERS[Modules], 0, 1, b"{}", (memoryview(b""),)),
]


@pytest.mark.parametrize("frame", WRONG, ids=lambda frame: f"{frame.kind}-{frame.tags:02x}")
def test_decoding_raises_remote_protocol_error_when_a_frame_is_no_message(frame) -> None:
    """Unknown flags, wrong lengths and broken text are refused."""
    with pytest.raises(RemoteProtocolError):
        decode(frame)


HEADS = [b"".join(encode(each)[:1])[16:60] for each in MESSAGES if not getattr(each, "buffers", ())]
"""Heads that lie right in some kind."""

frames_of_any_kind = st.builds(
    Frame,
    st.sampled_from(sorted(DECODERS)),
    st.one_of(st.integers(0, 255), st.sampled_from([0, 0x10])),
    st.integers(0, 2**64 - 1),
    st.one_of(
        st.binary(max_size=40), st.binary(max_size=40).map(memoryview), st.sampled_from(HEADS)
    ),
    st.lists(st.binary(max_size=3).map(memoryview), max_size=2),
)


@given(frames_of_any_kind)
def test_decoding_gives_a_message_or_a_documented_error_when_given_any_frame(frame) -> None:
    """Nothing but messages and `RemoteProtocolError` comes out; messages encode again."""
    try:
        message = decode(frame)
    except RemoteProtocolError:
        return
    (again,) = limitless(b"".join(encode(message)))
    assert again[:3] == frame[:3]
    assert bytes(again.head) == bytes(frame.head)


@given(st.text(), st.text(st.characters()), st.text(), st.integers(0, 255), st.binary())
def test_failure_comes_back_readable_when_its_texts_are_anything(name, text, trace, reason, head):
    """Texts of any characters can be sent, those of broken file names included."""
    failure = Failure(1, reason, name, text + "\udc80", trace, head, (), 1)
    (frame,) = limitless(b"".join(encode(failure)))
    decoded = decode(frame)
    assert isinstance(decoded, Failure)
    assert decoded.text.endswith("\\udc80")
    assert (decoded.reason, bytes(decoded.head)) == (reason, head)


def test_failure_is_decoded_when_its_head_lies_in_a_memoryview() -> None:
    """A large failure's payload is handed on without a copy."""
    (data,) = encode(Failure(1, 0, "a", "b", "c", b"payload", (), 1))
    head = memoryview(bytes(data)[16:])
    decoded = decode(Frame(NUMBERS[Failure], 0x10, 1, head, ()))
    assert isinstance(decoded, Failure)
    assert decoded.head == memoryview(b"payload")
    assert isinstance(decoded.head, memoryview)
    assert (decoded.type_name, decoded.text, decoded.traceback) == ("a", "b", "c")
