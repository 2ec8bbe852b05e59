"""Messages: each survives the way there, and what isn't one is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import Limits
from bgpy.errors import RemoteProtocolError
from bgpy.wire.frames import AS_FRAMES, Frame, FrameReader, Kind
from bgpy.wire.messages import (
    CLIENT_SENDS,
    SERVER_SENDS,
    TO_CLIENT,
    TO_SERVER,
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
    ReceiptCode,
    Reply,
    Status,
    encode,
)

BUFFERS = [memoryview(b"one"), memoryview(b""), memoryview(b"three")]

MESSAGES: list[Message] = [
    Init(1, b"tasks"),
    Init(1, b"tasks", BUFFERS, 1, True),
    Execute(2, b"args"),
    Execute(2, b"args", BUFFERS, 15, True, True),
    Execute(3, b"", (), 1, False, True),
    Exit(4, b"", (), 0, False, True),
    Exit(4, b"args", BUFFERS, 1, True, False),
    Reply(5, b"value"),
    Reply(5, b"value", BUFFERS, 1, True, True),
    Failure(6, Reason.NOT_STARTED),
    Failure(6, Reason.TASK, "builtins.ValueError", "größer", "Traceback …", b"exc", BUFFERS, 1),
    Failure(0, 200, "", "a reason of a later version", ""),
    Receipt(7, ReceiptCode.RECEIVED),
    Receipt(7, ReceiptCode.INITIALIZED),
    Receipt(7, ReceiptCode.ALREADY_INITIALIZED),
    Cancel(8, 2**64 - 1),
    Ping(9),
    Pong(2**64 - 1),
    Status(10, '{"call": 7}'),
    Goodbye("the server ends"),
    Goodbye(""),
    Modules(11, '{"modules": ["größe"]}'),
]


DECODERS = TO_SERVER.decoders | TO_CLIENT.decoders


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
    fields, expected = decoded._asdict(), message._asdict()
    if "buffers" in expected:
        assert [bytes(b) for b in fields.pop("buffers")] == [
            bytes(b) for b in expected.pop("buffers")
        ]
    assert fields == expected


def test_table_of_messages_covers_every_kind() -> None:
    """No kind is left out of the table above, and each has a direction."""
    kinds = {encode(message)[0][0] for message in MESSAGES}
    assert kinds == AS_FRAMES.keys() == CLIENT_SENDS | SERVER_SENDS
    assert {Kind.STATUS, Kind.GOODBYE, Kind.MODULES} == CLIENT_SENDS & SERVER_SENDS


WRONG = [
    Frame(Kind.INIT, 0x11, 1, b"", ()),
    Frame(Kind.EXECUTE, 0x12, 1, b"", ()),
    Frame(Kind.EXECUTE, 0x18, 1, b"", ()),
    Frame(Kind.EXECUTE, 0x01, 1, b"args", ()),
    Frame(Kind.EXECUTE, 0x01, 1, b"", (memoryview(b""),)),
    Frame(Kind.EXECUTE, 0x04, 1, b"", ()),
    Frame(Kind.EXIT, 0x12, 1, b"", ()),
    Frame(Kind.REPLY, 0x11, 1, b"", ()),
    Frame(Kind.REPLY, 0x00, 1, b"value", ()),
    Frame(Kind.FAILURE, 0x10, 1, b"", ()),
    Frame(Kind.FAILURE, 0x00, 1, b"\0", ()),
    Frame(Kind.FAILURE, 0x00, 1, b"\0" + struct.pack("<I", 5) + b"abcd", ()),
    Frame(Kind.FAILURE, 0x00, 1, b"\0" + struct.pack("<I", 2**32 - 1), ()),
    Frame(Kind.FAILURE, 0x00, 1, bytes(12), ()),
    Frame(Kind.FAILURE, 0x00, 1, bytes(13) + b"payload", ()),
    Frame(Kind.FAILURE, 0x12, 1, bytes(13) + b"payload", ()),
    Frame(Kind.FAILURE, 0x00, 1, b"\0" + struct.pack("<I", 1) + b"\xff" + bytes(8), ()),
    Frame(Kind.RECEIPT, 0, 1, b"", ()),
    Frame(Kind.RECEIPT, 0, 1, b"\3", ()),
    Frame(Kind.RECEIPT, 0, 1, b"\0\0", ()),
    Frame(Kind.RECEIPT, 0x10, 1, b"\0", ()),
    Frame(Kind.CANCEL, 0, 1, bytes(7), ()),
    Frame(Kind.CANCEL, 0, 1, bytes(9), ()),
    Frame(Kind.PING, 0, 1, b"x", ()),
    Frame(Kind.PING, 1, 1, b"", ()),
    Frame(Kind.PONG, 0, 1, b"", (memoryview(b""),)),
    Frame(Kind.STATUS, 0, 1, b"\xff", ()),
    Frame(Kind.STATUS, 0x10, 1, b"{}", ()),
    Frame(Kind.GOODBYE, 0, 0, b"\xed\xa0\x80", ()),
    Frame(Kind.MODULES, 0, 1, b"{}", (memoryview(b""),)),
]


@pytest.mark.parametrize("frame", WRONG, ids=lambda frame: f"{frame.kind}-{frame.tags:02x}")
def test_decoding_raises_remote_protocol_error_when_a_frame_is_no_message(frame) -> None:
    """Unknown flags, wrong lengths and broken text are refused."""
    with pytest.raises(RemoteProtocolError):
        decode(frame)


frames_of_any_kind = st.builds(
    Frame,
    st.sampled_from(sorted(DECODERS)),
    st.one_of(st.integers(0, 255), st.sampled_from([0, 0x10])),
    st.integers(0, 2**64 - 1),
    st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(memoryview)),
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
    decoded = decode(Frame(Kind.FAILURE, 0x10, 1, head, ()))
    assert isinstance(decoded, Failure)
    assert decoded.head == memoryview(b"payload")
    assert isinstance(decoded.head, memoryview)
    assert (decoded.type_name, decoded.text, decoded.traceback) == ("a", "b", "c")
