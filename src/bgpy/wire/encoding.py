"""Encoding: how each message lies in a frame, and back.

A pair of functions per message, which `bgpy.wire.table` puts beside the message's number:
`encode(kind, message)` gives the pieces of the frame, `decode(kind, tags, request, head,
buffers)` the message. Each `decode` raises `RemoteProtocolError` for what is none, and
takes exactly what its `encode` gives. ``docs/protocol.md`` draws the layouts.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from bgpy.errors import RemoteProtocolError
from bgpy.memory import Buffers, Head, HeadParts, Piece
from bgpy.wire.extensions import check_block
from bgpy.wire.frames import SMALL, encode_frame, pack_header
from bgpy.wire.messages import (
    CODEC_NONE,
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
    Progress,
    Receipt,
    ReceiptCode,
    Reply,
)


class Tag:
    """The low four bits of a frame's tags, the high four are the codec's number.

    Plain numbers, since several messages use bit 0 each in a way of its own, and an enum would
    take those for one.
    """

    WAIT: Final = 1
    """Of a request: the client waits for the task's end and what it responds."""
    LAST: Final = 1
    """Of an item: its stream has no more."""
    END: Final = 1
    """Of a credit: its receiver wants no more."""
    INTERRUPT: Final = 1
    """Of a cancel: interrupt the request if it runs."""
    ERROR: Final = 2
    """The value was handed to ``respond`` marked as an error, or is an exception."""
    CODE: Final = 4
    """The payload holds bytecode of this Python version."""
    EXTENDED: Final = 8
    """Of a request: a block of extensions lies before the payload."""


MOST_ACKNOWLEDGED = 8191
"""Ids in one acknowledge beside its high-water mark: 64 KiB."""

# Half the time of calling the class, on the way that every call takes.
_new = tuple.__new__
_u16 = struct.Struct("<H")
_u32 = struct.Struct("<I")
_u64 = struct.Struct("<Q")
_item = struct.Struct("<IQ")
_credit = struct.Struct("<IQQ")
_event = struct.Struct("<QH")
_progress = struct.Struct("<dd")

M = TypeVar("M", bound=Message)


class _Text(Protocol):
    """A message that is a text."""

    @property
    def request(self) -> int: ...
    @property
    def text(self) -> str: ...


def encode_init(kind: int, message: Init) -> list[Piece]:
    """Tasks as payload."""
    request, head, buffers, codec, code, extensions = message
    return _request(kind, codec << 4 | code << 2, request, head, buffers, extensions)


def decode_init(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Init:
    """The inverse of `encode_init`."""
    if tags & Tag.EXTENDED:
        extensions, head = _take_block(kind, head)
        message = decode_init(kind, tags & ~Tag.EXTENDED, request, head, buffers)
        return message._replace(extensions=extensions)
    _check_tags(kind, tags, head, buffers, Tag.CODE)
    return Init(request, head, buffers, tags >> 4, tags & Tag.CODE != 0)


def encode_task(kind: int, message: Execute | Exit) -> list[Piece]:
    """Arguments as payload."""
    request, head, buffers, codec, code, wait, extensions = message
    tags = codec << 4 | code << 2 | wait
    if buffers or extensions or head.__class__ is not bytes or len(head) > SMALL:
        return _request(kind, tags, request, head, buffers, extensions)
    return [pack_header(kind, tags, 0, len(head), request) + head]


def decode_execute(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Execute:
    """The inverse of `encode_task`."""
    known = _TASK_TAGS.get(tags)
    if known is None:
        if tags & Tag.EXTENDED:
            extensions, head = _take_block(kind, head)
            message = decode_execute(kind, tags & ~Tag.EXTENDED, request, head, buffers)
            return message._replace(extensions=extensions)
        known = (*_without_payload(kind, tags, head, buffers, Tag.WAIT), b"")
    return _new(Execute, (request, head, buffers, *known))


def decode_exit(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Exit:
    """The inverse of `encode_task`."""
    return _new(Exit, decode_execute(kind, tags, request, head, buffers))


def encode_reply(kind: int, message: Reply) -> list[Piece]:
    """A response as payload."""
    request, head, buffers, codec, code, error = message
    tags = codec << 4 | code << 2 | error << 1
    if buffers or head.__class__ is not bytes or len(head) > SMALL:
        return encode_frame(kind, tags, request, head, buffers)
    return [pack_header(kind, tags, 0, len(head), request) + head]


def decode_reply(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Reply:
    """The inverse of `encode_reply`."""
    known = _REPLY_TAGS.get(tags)
    if known is None:
        known = _without_payload(kind, tags, head, buffers, Tag.ERROR)
    return _new(Reply, (request, head, buffers, *known))


def encode_failure(kind: int, message: Failure) -> list[Piece]:
    """Reason and texts, then an exception as payload."""
    parts = [bytes((message.reason,))]
    for text in (message.type_name, message.text, message.traceback):
        encoded = _utf8(text)
        parts += [_u32.pack(len(encoded)), encoded]
    head = _behind(b"".join(parts), message.head)
    tags = message.codec << 4 | message.code << 2
    return encode_frame(kind, tags, message.request, head, message.buffers)


def decode_failure(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Failure:
    """The inverse of `encode_failure`."""
    texts: list[str] = []
    at = 1
    try:
        reason = head[0]
        for _ in range(3):
            (length,) = _u32.unpack_from(head, at)
            at += 4 + length
            if at > len(head):
                raise RemoteProtocolError("a failure is shorter than the texts that it announces")
            texts.append(str(head[at - length : at], "utf-8"))
    except (IndexError, struct.error) as error:
        raise RemoteProtocolError("a failure is too short to say what failed") from error
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"a failure has text that isn't UTF-8: {error}") from error
    payload = head[at:]
    _check_tags(kind, tags, payload, buffers, Tag.CODE)
    fields = (request, reason, *texts, payload, buffers, tags >> 4, tags & Tag.CODE != 0)
    return _new(Failure, fields)


def encode_receipt(kind: int, message: Receipt) -> list[Piece]:
    """One byte."""
    return encode_frame(kind, 0, message.request, bytes((message.code,)))


def decode_receipt(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Receipt:
    """The inverse of `encode_receipt`."""
    _check_plain(kind, tags, head, buffers, 1)
    code = head[0]
    if code > ReceiptCode.ALREADY_INITIALIZED:
        raise RemoteProtocolError(f"a receipt has the unknown code {code}")
    return Receipt(request, code)


def encode_item(kind: int, message: Item) -> list[Piece]:
    """Stream and place, then a value as payload."""
    tags = message.codec << 4 | message.code << 2 | message.error << 1 | message.last
    head = _behind(_item.pack(message.stream, message.place), message.head)
    return encode_frame(kind, tags, message.request, head, message.buffers)


def decode_item(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Item:
    """The inverse of `encode_item`."""
    stream, place = _start(kind, head, _item)
    payload = head[_item.size :]
    _check_tags(kind, tags, payload, buffers, Tag.CODE | Tag.ERROR | Tag.LAST)
    flags = (tags & Tag.CODE != 0, tags & Tag.LAST != 0, tags & Tag.ERROR != 0)
    return Item(request, payload, buffers, tags >> 4, *flags, stream, place)


def encode_credit(kind: int, message: Credit) -> list[Piece]:
    """Stream, items and bytes."""
    request, stream, items, size, end = message
    return encode_frame(kind, end * Tag.END, request, _credit.pack(stream, items, size))


def decode_credit(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Credit:
    """The inverse of `encode_credit`."""
    _check_plain(kind, tags & ~Tag.END, head, buffers, _credit.size)
    stream, items, size = _credit.unpack(head)
    return Credit(request, stream, items, size, tags & Tag.END != 0)


def encode_event(kind: int, message: Event) -> list[Piece]:
    """Sequence number and topic, then a value as payload; a topic has at most 65535 bytes."""
    topic = _utf8(message.topic)
    start = _event.pack(message.sequence, len(topic)) + topic
    tags = message.codec << 4 | message.code << 2
    return encode_frame(kind, tags, message.request, _behind(start, message.head), message.buffers)


def decode_event(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Event:
    """The inverse of `encode_event`."""
    sequence, length = _start(kind, head, _event)
    at = _event.size + length
    if at > len(head):
        raise RemoteProtocolError("an event is shorter than the topic that it announces")
    topic = _from_utf8(kind, head[_event.size : at])
    payload = head[at:]
    _check_tags(kind, tags, payload, buffers, Tag.CODE)
    return Event(request, payload, buffers, tags >> 4, tags & Tag.CODE != 0, topic, sequence)


def encode_progress(kind: int, message: Progress) -> list[Piece]:
    """Two numbers and a text."""
    head = _progress.pack(message.done, message.total) + _utf8(message.text)
    return encode_frame(kind, 0, message.request, head)


def decode_progress(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Progress:
    """The inverse of `encode_progress`; numbers below 0, infinite ones and NaN are none."""
    done, total = _start(kind, head, _progress)
    _check_plain(kind, tags, head, buffers, len(head))
    if not (0 <= done < math.inf and 0 <= total < math.inf):
        raise RemoteProtocolError(f"a request can't have done {done} of {total}")
    return Progress(request, done, total, _from_utf8(kind, head[_progress.size :]))


def encode_acknowledge(kind: int, message: Acknowledge) -> list[Piece]:
    """The high-water mark and ids above it, at most `MOST_ACKNOWLEDGED`."""
    ids = (message.upto, *message.requests)
    return encode_frame(kind, 0, message.request, struct.pack(f"<{len(ids)}Q", *ids))


def decode_acknowledge(
    kind: int, tags: int, request: int, head: Head, buffers: Buffers
) -> Acknowledge:
    """The inverse of `encode_acknowledge`."""
    count = min(len(head) // 8, MOST_ACKNOWLEDGED + 1)
    _check_plain(kind, tags, head, buffers, 8 * max(count, 1))
    upto, *requests = struct.unpack(f"<{count}Q", head)
    if any(one >= other for one, other in zip((upto, *requests), requests, strict=False)):
        raise RemoteProtocolError("an acknowledge names requests that don't ascend")
    return Acknowledge(upto, tuple(requests), request)


def encode_cancel(kind: int, message: Cancel) -> list[Piece]:
    """The other request's id."""
    request, target, interrupt = message
    return encode_frame(kind, interrupt * Tag.INTERRUPT, request, _u64.pack(target))


def decode_cancel(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> Cancel:
    """The inverse of `encode_cancel`."""
    _check_plain(kind, tags & ~Tag.INTERRUPT, head, buffers, _u64.size)
    (target,) = _u64.unpack(head)
    return Cancel(request, target, tags & Tag.INTERRUPT != 0)


def encode_empty(kind: int, message: Message) -> list[Piece]:
    """Nothing but the header."""
    return encode_frame(kind, 0, message.request, b"")


def empty(make: Callable[[int], M]) -> Callable[[int, int, int, Head, Buffers], M]:
    """The inverse of `encode_empty` for the messages that `make` makes."""

    def decode(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> M:
        _check_plain(kind, tags, head, buffers, 0)
        return make(request)

    return decode


def encode_text(kind: int, message: _Text) -> list[Piece]:
    """The text."""
    return encode_frame(kind, 0, message.request, _utf8(message.text))


def text(make: Callable[[int, str], M]) -> Callable[[int, int, int, Head, Buffers], M]:
    """The inverse of `encode_text` for the messages that `make` makes."""

    def decode(kind: int, tags: int, request: int, head: Head, buffers: Buffers) -> M:
        _check_plain(kind, tags, head, buffers, len(head))
        return make(request, _from_utf8(kind, head))

    return decode


def farewell(request: int, text: str) -> Goodbye:
    """A goodbye, whose text comes first."""
    return Goodbye(text, request)


def _request(
    kind: int, tags: int, request: int, head: Head | HeadParts, buffers: Buffers, extensions: bytes
) -> list[Piece]:
    """A request's frame, with its block of extensions before its payload if it has one."""
    if extensions:
        tags |= Tag.EXTENDED
        head = _behind(_u16.pack(len(extensions)) + extensions, head)
    return encode_frame(kind, tags, request, head, buffers)


def _take_block(kind: int, head: Head) -> tuple[bytes, Head]:
    """The block of extensions at the front of `head`, and the head of the payload."""
    (length,) = _start(kind, head, _u16)
    at = _u16.size + length
    if not 0 < length <= len(head) - _u16.size:
        raise RemoteProtocolError(
            f"a message of kind {kind} announces {length} bytes of extensions"
        )
    block = bytes(head[_u16.size : at])
    check_block(block)
    return block, head[at:]


def _behind(start: bytes, head: Head | HeadParts) -> Head | HeadParts:
    """`start` and behind it `head`, which is copied only if it is small."""
    if isinstance(head, tuple):
        return (start, *head)
    return start + head if len(head) <= SMALL else (start, head)


def _start(kind: int, head: Head, layout: struct.Struct) -> tuple[int, ...]:
    """The numbers at the front of `head`."""
    if len(head) < layout.size:
        raise RemoteProtocolError(
            f"a message of kind {kind} has {len(head)} bytes; it takes {layout.size} or more"
        )
    return layout.unpack_from(head)


def _known_tags(flag: int) -> dict[int, tuple[int, bool, bool]]:
    """Codec, `Tag.CODE` and `flag` for all tags of a payload that may have these two flags."""
    return {
        tags: (tags >> 4, tags & Tag.CODE != 0, tags & flag != 0)
        for tags in range(16, 256)
        if not tags & 0xF & ~(Tag.CODE | flag)
    }


_TASK_TAGS = {tags: (*known, b"") for tags, known in _known_tags(Tag.WAIT).items()}
"""What follows the buffers in an `Execute` or `Exit` without extensions."""
_REPLY_TAGS = _known_tags(Tag.ERROR)


def _utf8(text: str) -> bytes:
    # Texts of exceptions hold file names, and those may hold lone surrogates.
    return text.encode("utf-8", "backslashreplace")


def _from_utf8(kind: int, data: Head) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(
            f"a message of kind {kind} has text that isn't UTF-8: {error}"
        ) from error


def _check_tags(kind: int, tags: int, head: Head, buffers: Buffers, flags: int) -> None:
    """Refuse flags other than `flags`, and a payload without a codec."""
    if tags & 0xF & ~flags:
        raise RemoteProtocolError(
            f"a message of kind {kind} has flags {tags & 0xF:#x}, known are {flags:#x}"
        )
    if tags < 16 and (tags & Tag.CODE or len(head) or buffers):
        raise RemoteProtocolError(f"a message of kind {kind} has a payload without a codec")


def _without_payload(
    kind: int, tags: int, head: Head, buffers: Buffers, flag: int
) -> tuple[int, bool, bool]:
    """The tags of a message without a payload; refuses those that no message has."""
    _check_tags(kind, tags, head, buffers, Tag.CODE | flag)
    return CODEC_NONE, False, tags & flag != 0


def _check_plain(kind: int, tags: int, head: Head, buffers: Buffers, length: int) -> None:
    """Refuse tags, buffers and a head of another length than `length` bytes."""
    if tags or buffers or len(head) != length:
        raise RemoteProtocolError(
            f"a message of kind {kind} has tags {tags:#04x}, {len(buffers)} "
            f"buffers and {len(head)} bytes; it takes no tags, no buffers, {length} bytes"
        )
