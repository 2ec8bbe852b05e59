"""The table of messages: one row per kind, of which all else is derived.

A new message is a class in `bgpy.wire.messages`, a pair of functions in
`bgpy.wire.encoding`, and a row here; the table in ``docs/protocol.md`` is held against
this one. A kind that is not `spoken` has its number and layout, so that it needs no new
version of the protocol, and neither side sends or takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from bgpy.memory import Piece
from bgpy.wire import encoding as lies
from bgpy.wire.frames import Decode
from bgpy.wire.messages import (
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
    Receipt,
    Reply,
    Status,
    Subscribe,
)


class Row(NamedTuple):
    """One kind of message. `sent_by`: ``C`` client, ``S`` server."""

    number: int
    message: type
    sent_by: str
    encode: Callable[[int, Any], list[Piece]]
    decode: Decode[Any]
    spoken: bool = True


LATER = False
"""Laid out, and refused until it is spoken."""

TABLE = (
    Row(1, Init, "C", lies.encode_init, lies.decode_init),
    Row(2, Execute, "C", lies.encode_task, lies.decode_execute),
    Row(3, Exit, "C", lies.encode_task, lies.decode_exit),
    Row(4, Reply, "S", lies.encode_reply, lies.decode_reply),
    Row(5, Failure, "S", lies.encode_failure, lies.decode_failure),
    Row(6, Receipt, "S", lies.encode_receipt, lies.decode_receipt),
    Row(7, Item, "CS", lies.encode_item, lies.decode_item, LATER),
    Row(8, Event, "S", lies.encode_event, lies.decode_event, LATER),
    Row(9, Cancel, "C", lies.encode_cancel, lies.decode_cancel),
    Row(10, Ping, "C", lies.encode_empty, lies.empty(Ping)),
    Row(11, Pong, "S", lies.encode_empty, lies.empty(Pong)),
    Row(12, Status, "CS", lies.encode_text, lies.text(Status)),
    Row(13, Acknowledge, "C", lies.encode_acknowledge, lies.decode_acknowledge, LATER),
    Row(14, Goodbye, "CS", lies.encode_text, lies.text(lies.farewell)),
    Row(15, Modules, "CS", lies.encode_text, lies.text(Modules)),
    Row(16, Credit, "CS", lies.encode_credit, lies.decode_credit, LATER),
    Row(17, Progress, "S", lies.encode_progress, lies.decode_progress, LATER),
    Row(18, Subscribe, "C", lies.encode_text, lies.text(Subscribe), LATER),
)

NUMBERS: dict[type, int] = {row.message: row.number for row in TABLE}
"""The kind of each class of messages."""

Encoders = dict[type, Callable[[Any], list[Piece]]]


class Direction(NamedTuple):
    """The messages of one direction between client and server."""

    encoders: Encoders
    """Gives the pieces of a message, by its class."""
    decoders: dict[int, Decode[Message]]
    """Makes a message of a frame, by its kind; raises `RemoteProtocolError` if it is none."""


def _encoders(rows: list[Row]) -> Encoders:
    return {row.message: partial(row.encode, row.number) for row in rows}


def _sent_by(side: str) -> Direction:
    rows = [row for row in TABLE if side in row.sent_by and row.spoken]
    return Direction(_encoders(rows), {row.number: row.decode for row in rows})


TO_SERVER = _sent_by("C")
TO_CLIENT = _sent_by("S")

_ENCODERS = _encoders(list(TABLE))


def encode(message: Message) -> list[Piece]:
    """Give the bytes of `message` as pieces, as `bgpy.wire.frames.encode_frame` does.

    Of any message, also of one that isn't spoken yet.
    """
    return _ENCODERS[message.__class__](message)
