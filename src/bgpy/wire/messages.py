"""Messages: what client and server say to each other, one immutable class each.

::

    kind            from    head                                    answered by
     1 Init         C       payload                                 Receipt | Failure
     2 Execute      C       payload                                 Reply | Receipt | Failure
     3 Exit         C       payload                                 Reply | Receipt | Failure
     4 Reply          S     payload
     5 Failure        S     reason, type, text, traceback, payload
     6 Receipt        S     code u8
     9 Cancel       C       target u64                              Status
    10 Ping         C       -                                       Pong
    11 Pong           S     -
    12 Status       C S     JSON object, UTF-8                      Status
    14 Goodbye      C S     text, UTF-8
    15 Modules      C S     JSON object, UTF-8                      Modules

A payload is a head and out-of-band buffers that only its codec understands (a head that
is sent may come in parts, one that was received is whole); `codec` is
the codec's number and `code` says that it holds bytecode. Exit, Failure, Ping, Pong and
Status never change their meaning between versions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, get_args

from bgpy.errors import RemoteProtocolError
from bgpy.memory import Buffers, Head, Parts, Piece
from bgpy.wire.frames import (
    SMALL,
    Kind,
    Make,
    encode_frame,
    pack_header,
    whole,
)

WAIT = 1
"""Flag: the client waits for the task's end and what it responds."""
ERROR = 2
"""Flag: the value was handed to ``respond`` marked as an error."""
CODE = 4
"""Flag: the payload holds bytecode of this Python version."""

CODEC_NONE = 0
CODEC_PICKLE = 1

# Half the time of calling the class, on the way that every call takes.
_new = tuple.__new__
_target = struct.Struct("<Q")
_length = struct.Struct("<I")


class Reason(IntEnum):
    """Why a request failed. A number that isn't here is kept as it is."""

    TASK = 0
    """A task raised."""
    NOT_INITIALIZED = 1
    """The server has no tasks yet."""
    NO_RESPONSE = 2
    """The task ended without a response though the client waits."""
    NOT_STARTED = 3
    """It was withdrawn, or the server ends: it never ran and never will."""
    PROTOCOL = 4
    """The peer broke the protocol; the connection is closed."""
    TOO_LARGE = 5
    """The request, or its reply, is over the limit for a message."""
    DECODE = 6
    """The request's payload can't be rebuilt."""
    PYTHON = 7
    """The payload holds bytecode of another Python version."""
    CODEC = 8
    """The server doesn't allow this codec."""
    OVERLOAD = 9
    """The server takes no more requests now."""


class ReceiptCode(IntEnum):
    """What a receipt says."""

    RECEIVED = 0
    INITIALIZED = 1
    ALREADY_INITIALIZED = 2


class Init(NamedTuple):
    """The three tasks; the payload is theirs."""

    request: int
    head: Head | Parts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False


class Execute(NamedTuple):
    """Run the exec task with the payload; answer with its response if `wait`."""

    request: int
    head: Head | Parts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    wait: bool = False


class Exit(NamedTuple):
    """Run the exit task with the payload and end the server."""

    request: int
    head: Head | Parts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    wait: bool = False


class Reply(NamedTuple):
    """The payload is what the task responded; `error` if it was marked as an error."""

    request: int
    head: Head | Parts
    buffers: Buffers = ()
    codec: int = CODEC_PICKLE
    code: bool = False
    error: bool = False


class Failure(NamedTuple):
    """The request failed. Readable without its payload, which rebuilds the exception.

    `reason` is a `Reason`, or a plain number that a later version added; `type_name`
    the full name of the exception's type. Request 0 means the connection itself.
    """

    request: int
    reason: int
    type_name: str = ""
    text: str = ""
    traceback: str = ""
    head: Head | Parts = b""
    buffers: Buffers = ()
    codec: int = CODEC_NONE
    code: bool = False


class Receipt(NamedTuple):
    """The request arrived, or (for an Init) what came of it; `code` is a `ReceiptCode`."""

    request: int
    code: int


class Cancel(NamedTuple):
    """Withdraw the request `target` of this connection's client, if it hasn't started."""

    request: int
    target: int


class Ping(NamedTuple):
    """Asks for a `Pong`."""

    request: int


class Pong(NamedTuple):
    """The answer to a `Ping`."""

    request: int


class Status(NamedTuple):
    """A question or its answer: the text of a JSON object."""

    request: int
    text: str = "{}"


class Goodbye(NamedTuple):
    """The sender closes the connection on purpose; `text` says why, for a human."""

    text: str = ""
    request: int = 0


class Modules(NamedTuple):
    """Asks for modules by name, answers with their source hashes: the text of a JSON object."""

    request: int
    text: str = "{}"


FromClient = Init | Execute | Exit | Cancel | Ping | Status | Goodbye | Modules
FromServer = Reply | Failure | Receipt | Pong | Status | Goodbye | Modules
Message = FromClient | FromServer

CLIENT_SENDS = frozenset((1, 2, 3, 9, 10, 12, 14, 15))
"""Kinds that go from client to server."""
SERVER_SENDS = frozenset((4, 5, 6, 11, 12, 14, 15))
"""Kinds that go from server to client."""


def encode(message: Message) -> list[Piece]:
    """Give the bytes of `message` as pieces, as `bgpy.wire.frames.encode_frame` does."""
    return _ENCODERS[message.__class__](message)


def _encode_init(message: Init) -> list[Piece]:
    request, head, buffers, codec, code = message
    return encode_frame(1, codec << 4 | code << 2, request, head, buffers)


def _encode_execute(message: Execute) -> list[Piece]:
    request, head, buffers, codec, code, wait = message
    tags = codec << 4 | code << 2 | wait
    if buffers or head.__class__ is not bytes or len(head) > SMALL:
        return encode_frame(2, tags, request, head, buffers)
    return [pack_header(2, tags, 0, len(head), request) + head]


def _encode_exit(message: Exit) -> list[Piece]:
    request, head, buffers, codec, code, wait = message
    return encode_frame(3, codec << 4 | code << 2 | wait, request, head, buffers)


def _encode_reply(message: Reply) -> list[Piece]:
    request, head, buffers, codec, code, error = message
    tags = codec << 4 | code << 2 | error << 1
    if buffers or head.__class__ is not bytes or len(head) > SMALL:
        return encode_frame(4, tags, request, head, buffers)
    return [pack_header(4, tags, 0, len(head), request) + head]


def _encode_failure(message: Failure) -> list[Piece]:
    parts = [bytes((message.reason,))]
    for text in (message.type_name, message.text, message.traceback):
        encoded = _utf8(text)
        parts += [_length.pack(len(encoded)), encoded]
    parts.append(whole(message.head))
    tags = message.codec << 4 | message.code << 2
    return encode_frame(Kind.FAILURE, tags, message.request, b"".join(parts), message.buffers)


def _encode_receipt(message: Receipt) -> list[Piece]:
    return encode_frame(Kind.RECEIPT, 0, message.request, bytes((message.code,)))


def _encode_cancel(message: Cancel) -> list[Piece]:
    return encode_frame(Kind.CANCEL, 0, message.request, _target.pack(message.target))


def _encode_empty(message: Ping | Pong) -> list[Piece]:
    kind = Kind.PING if message.__class__ is Ping else Kind.PONG
    return encode_frame(kind, 0, message.request, b"")


def _encode_text(message: Status | Goodbye | Modules) -> list[Piece]:
    return encode_frame(_TEXT_KINDS[message.__class__], 0, message.request, _utf8(message.text))


def _known_tags(flag: int) -> dict[int, tuple[int, bool, bool]]:
    """Codec, `CODE` and `flag` for all tags of a payload that may have these two flags."""
    return {
        tags: (tags >> 4, tags & CODE != 0, tags & flag != 0)
        for tags in range(16, 256)
        if not tags & 0xF & ~(CODE | flag)
    }


_TASK_TAGS = _known_tags(WAIT)
_REPLY_TAGS = _known_tags(ERROR)


def _decode_init(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Init:
    _check_tags(kind, tags, head, buffers, CODE)
    return Init(request, head, buffers, tags >> 4, tags & CODE != 0)


def _decode_execute(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Execute:
    known = _TASK_TAGS.get(tags)
    if known is None:
        known = _without_payload(kind, tags, head, buffers, WAIT)
    return _new(Execute, (request, head, buffers, *known))


def _decode_exit(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Exit:
    return _new(Exit, _decode_execute(kind, tags, request, head, buffers))


def _decode_reply(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Reply:
    known = _REPLY_TAGS.get(tags)
    if known is None:
        known = _without_payload(kind, tags, head, buffers, ERROR)
    return _new(Reply, (request, head, buffers, *known))


def _decode_failure(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Failure:
    texts: list[str] = []
    at = 1
    try:
        reason = head[0]
        for _ in range(3):
            (length,) = _length.unpack_from(head, at)
            at += 4 + length
            if at > len(head):
                raise RemoteProtocolError("a failure is shorter than the texts that it announces")
            texts.append(str(head[at - length : at], "utf-8"))
    except (IndexError, struct.error) as error:
        raise RemoteProtocolError("a failure is too short to say what failed") from error
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"a failure has text that isn't UTF-8: {error}") from error
    payload = head[at:]
    _check_tags(kind, tags, payload, buffers, CODE)
    fields = (request, reason, *texts, payload, buffers, tags >> 4, tags & CODE != 0)
    return _new(Failure, fields)


def _decode_receipt(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Receipt:
    _check_plain(kind, tags, head, buffers, 1)
    code = head[0]
    if code > ReceiptCode.ALREADY_INITIALIZED:
        raise RemoteProtocolError(f"a receipt has the unknown code {code}")
    return Receipt(request, code)


def _decode_cancel(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Cancel:
    _check_plain(kind, tags, head, buffers, _target.size)
    return Cancel(request, *_target.unpack(head))


def _decode_empty(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Ping | Pong:
    _check_plain(kind, tags, head, buffers, 0)
    return Ping(request) if kind == Kind.PING else Pong(request)


def _decode_text(
    kind: int, tags: int, request: int, head: Head, buffers: Buffers
) -> Status | Goodbye | Modules:
    _check_plain(kind, tags, head, buffers, len(head))
    try:
        text = str(head, "utf-8")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            f"a message of kind {kind} has text that isn't UTF-8: {error}"
        ) from error
    if kind == Kind.GOODBYE:
        return Goodbye(text, request)
    return (Status if kind == Kind.STATUS else Modules)(request, text)


def _utf8(text: str) -> bytes:
    # Texts of exceptions hold file names, and those may hold lone surrogates.
    return text.encode("utf-8", "backslashreplace")


def _check_tags(kind: int, tags: int, head: Head, buffers: Buffers, flags: int) -> None:
    """Refuse flags other than `flags`, and a payload without a codec."""
    if tags & 0xF & ~flags:
        raise RemoteProtocolError(
            f"a message of kind {kind} has flags {tags & 0xF:#x}, known are {flags:#x}"
        )
    if tags < 16 and (tags & CODE or len(head) or buffers):
        raise RemoteProtocolError(f"a message of kind {kind} has a payload without a codec")


def _without_payload(
    kind: int, tags: int, head: Head, buffers: Buffers, flag: int
) -> tuple[int, bool, bool]:
    """The tags of a message without a payload; refuses those that no message has."""
    _check_tags(kind, tags, head, buffers, CODE | flag)
    return CODEC_NONE, False, tags & flag != 0


def _check_plain(kind: int, tags: int, head: Head, buffers: Buffers, length: int) -> None:
    """Refuse tags, buffers and a head of another length than `length` bytes."""
    if tags or buffers or len(head) != length:
        raise RemoteProtocolError(
            f"a message of kind {kind} has tags {tags:#04x}, {len(buffers)} "
            f"buffers and {len(head)} bytes; it takes no tags, no buffers, {length} bytes"
        )


Encoders = dict[type, Callable[[Any], list[Piece]]]

_TEXT_KINDS: dict[type, Kind] = {
    Status: Kind.STATUS,
    Goodbye: Kind.GOODBYE,
    Modules: Kind.MODULES,
}

_ENCODERS: Encoders = {
    Init: _encode_init,
    Execute: _encode_execute,
    Exit: _encode_exit,
    Reply: _encode_reply,
    Failure: _encode_failure,
    Receipt: _encode_receipt,
    Cancel: _encode_cancel,
    Ping: _encode_empty,
    Pong: _encode_empty,
    Status: _encode_text,
    Goodbye: _encode_text,
    Modules: _encode_text,
}

_DECODERS: dict[int, Make[Any]] = {
    1: _decode_init,
    2: _decode_execute,
    3: _decode_exit,
    4: _decode_reply,
    5: _decode_failure,
    6: _decode_receipt,
    9: _decode_cancel,
    10: _decode_empty,
    11: _decode_empty,
    12: _decode_text,
    14: _decode_text,
    15: _decode_text,
}


class Direction(NamedTuple):
    """What goes one way between client and server."""

    encoders: Encoders
    """Gives the pieces of a message, by its class."""
    decoders: dict[int, Make[Message]]
    """Makes a message of a frame, by its kind; raises `RemoteProtocolError` if it is none."""


def _direction(*messages: type, kinds: frozenset[int]) -> Direction:
    return Direction(
        {message: _ENCODERS[message] for message in messages},
        {kind: _DECODERS[kind] for kind in kinds},
    )


TO_SERVER = _direction(*get_args(FromClient), kinds=CLIENT_SENDS)
TO_CLIENT = _direction(*get_args(FromServer), kinds=SERVER_SENDS)
