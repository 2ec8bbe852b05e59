"""Extensions: what a request carries beside its payload.

A block is a row of entries, in ascending order of their types, so that no type comes
twice and a block has at most 256 entries::

    ┌─────────┬─────────┬──────────────┬───────────────────┐
    │ type u8 │ mark u8 │ length n u16 │ value: n bytes    │ …
    └─────────┴─────────┴──────────────┴───────────────────┘

The mark is 1 for an entry without which the request must not run, and 0 for one that a
server may ignore. So a type can be added at any time: a server that doesn't support it
ignores it, or fails that one request. A frame without a block has no byte of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import IntEnum

from bgpy.errors import BgpyError, RemoteProtocolError

LARGEST_BLOCK = 0xFFFF
"""Bytes of a block."""

_entry = struct.Struct("<BBH")
_REQUIRED = 1
_CHAIN_ENTRY = 24


class Extension(IntEnum):
    """The types, and how their values lie. Numbers are little-endian."""

    CHAIN = 1
    """The calls that wait for this request: entries of the server's incarnation[16] and the u64
    serial of the call that its task thread runs (`bgpy.tasks.current`)."""
    DEADLINE = 2
    """Microseconds u64 from the request's arrival on, after which the caller waits no more."""
    KEY = 3
    """The caller's own name for what is to be done once: 1 to 255 bytes."""
    ATTEMPT = 4
    """The how-manieth time this request is sent, u32, from 1 up; without it the first."""
    OUTPUT = 5
    """What the caller wants to see while the task runs: `Output` bits, u8."""
    TRACE = 6
    """W3C trace context: trace id[16], span id[8], flags u8, then the trace state, ASCII."""


class Output(IntEnum):
    """Bits of `Extension.OUTPUT`; others are reserved."""

    STDOUT = 1
    STDERR = 2
    LOG = 4
    PROGRESS = 8


SUPPORTED = frozenset({Extension.CHAIN})
"""The types that a server of this version acts on."""

_FITS: dict[int, Callable[[bytes], bool]] = {
    Extension.CHAIN: lambda value: len(value) % _CHAIN_ENTRY == 0 and len(value) > 0,
    Extension.DEADLINE: lambda value: len(value) == 8,
    Extension.KEY: lambda value: 1 <= len(value) <= 255,
    Extension.ATTEMPT: lambda value: len(value) == 4 and any(value),
    Extension.OUTPUT: lambda value: len(value) == 1,
    Extension.TRACE: lambda value: len(value) >= 25 and value[25:].isascii(),
}


class UnknownExtension(BgpyError):
    """A request requires an extension that this side doesn't support: it must not run.

    The request alone fails (`Reason.UNSUPPORTED`), the connection stays. `type` is the
    extension's number.
    """

    def __init__(self, type: int) -> None:
        self.type = type
        super().__init__(
            f"the request requires the extension {_name(type)}, which this side doesn't "
            "support: install the same version of bgpy on both sides"
        )


def encode_extensions(
    extensions: Mapping[int, bytes], required: Collection[int] = frozenset()
) -> bytes:
    """Give the block with these values; without any it is empty.

    `required` are the types without which the request must not run. Raises `ValueError`
    for what doesn't fit in a block: a type above 255, a value of the wrong layout, more
    than 65535 bytes.
    """
    parts = []
    for type in sorted(extensions):
        value = extensions[type]
        if not 0 <= type <= 255 or not _fits(type, value) or len(value) > LARGEST_BLOCK:
            raise ValueError(f"{len(value)} bytes are no value of the extension {_name(type)}")
        parts += [_entry.pack(type, type in required, len(value)), value]
    block = b"".join(parts)
    if len(block) > LARGEST_BLOCK:
        raise ValueError(f"{len(block)} bytes of extensions: the limit is {LARGEST_BLOCK}")
    missing = [type for type in required if type not in extensions]
    if missing:
        raise ValueError(f"the extension {_name(missing[0])} is required and has no value")
    return block


def decode_extensions(block: bytes, supported: Collection[int] = SUPPORTED) -> Mapping[int, bytes]:
    """Give the values in `block` by their types, without those of types not known here.

    Raises `UnknownExtension` for one that is required and not in `supported`, and
    `RemoteProtocolError` where `block` is no block (one that arrived in a message is
    one: that is looked at before).
    """
    values = {}
    for type, required, value in _entries(block):
        if required and type not in supported:
            raise UnknownExtension(type)
        if type in _FITS:
            values[type] = value
    return values


def check_block(block: bytes) -> None:
    """Raise `RemoteProtocolError` where `block` is no block."""
    for _ in _entries(block):
        pass


def _entries(block: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Type, whether it is required, and value of each entry."""
    at, last = 0, -1
    while at < len(block):
        start = at + _entry.size
        if start > len(block):
            raise RemoteProtocolError("a block of extensions ends within an entry")
        type, mark, length = _entry.unpack_from(block, at)
        at = start + length
        if at > len(block):
            raise RemoteProtocolError(
                f"the extension {_name(type)} is shorter than the {length} bytes it announces"
            )
        if type <= last:
            raise RemoteProtocolError(
                f"the extension {_name(type)} comes after {_name(last)}: each type comes once, "
                "in ascending order"
            )
        if mark not in (0, _REQUIRED):
            raise RemoteProtocolError(f"the extension {_name(type)} has the mark {mark}")
        value = block[start:at]
        if not _fits(type, value):
            raise RemoteProtocolError(
                f"the extension {_name(type)} can't have a value of {length} bytes"
            )
        last = type
        yield type, mark == _REQUIRED, value


def _fits(type: int, value: bytes) -> bool:
    fits = _FITS.get(type)
    return fits is None or fits(value)


def _name(type: int) -> str:
    return f"{type} ({Extension(type).name})" if type in _FITS else str(type)
