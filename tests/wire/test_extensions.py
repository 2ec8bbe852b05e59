"""Extensions: a block says the same on both sides, and what is none is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.errors import RemoteProtocolError
from bgpy.tasks.current import ENTRY
from bgpy.wire.extensions import (
    LARGEST_BLOCK,
    SUPPORTED,
    Extension,
    UnknownExtension,
    check_block,
    decode_extensions,
    encode_extensions,
)

VALUES = {
    Extension.CHAIN: [bytes(24), b"i" * 16 + bytes(8) + b"j" * 16 + b"\xff" * 8],
    Extension.DEADLINE: [bytes(8), b"\xff" * 8],
    Extension.KEY: [b"k", "größe".encode(), b"\xff" * 255],
    Extension.ATTEMPT: [b"\1\0\0\0", b"\xff" * 4],
    Extension.OUTPUT: [b"\0", b"\xff"],
    Extension.TRACE: [bytes(25), b"\xff" * 25 + b"vendor=state"],
}
WRONG_VALUES = {
    Extension.CHAIN: [b"", bytes(23), bytes(25)],
    Extension.DEADLINE: [b"", bytes(7), bytes(9)],
    Extension.KEY: [b"", bytes(256)],
    Extension.ATTEMPT: [b"", bytes(3), bytes(4), b"\1\0\0\0\0"],
    Extension.OUTPUT: [b"", b"\0\0"],
    Extension.TRACE: [b"", bytes(24), bytes(25) + b"\xff"],
}
PAIRS = [(type, value) for type, values in VALUES.items() for value in values]
WRONG_PAIRS = [(type, value) for type, values in WRONG_VALUES.items() for value in values]


def entry(type: int, value: bytes = b"", mark: int = 0, length: int | None = None) -> bytes:
    return struct.pack("<BBH", type, mark, len(value) if length is None else length) + value


@pytest.mark.parametrize(("type", "value"), PAIRS)
def test_value_comes_back_the_same_when_it_lies_right(type, value) -> None:
    """The block of one extension is its entry, whether it is required or not."""
    assert encode_extensions({type: value}) == entry(type, value)
    assert decode_extensions(entry(type, value)) == {type: value}
    assert encode_extensions({type: value}, {type}) == entry(type, value, 1)
    assert decode_extensions(entry(type, value, 1), {type}) == {type: value}


def test_values_are_listed_for_every_type() -> None:
    """None is left out of the tables of this test."""
    assert set(VALUES) == set(WRONG_VALUES) == set(Extension)


@pytest.mark.parametrize(("type", "value"), WRONG_PAIRS)
def test_value_is_refused_on_both_sides_when_it_does_not_lie_right(type, value) -> None:
    """A value is looked at before it leaves, and when it arrives."""
    with pytest.raises(ValueError, match=type.name):
        encode_extensions({type: value})
    with pytest.raises(RemoteProtocolError, match=type.name):
        decode_extensions(entry(type, value))


KEY = entry(Extension.KEY, b"k")
MALFORMED = {
    "half an entry": b"\1",
    "half an entry behind a whole one": KEY + entry(9)[:-1],
    "a value that is too short": entry(9, b"abc", length=4),
    "a length beyond all": entry(9, length=0xFFFF),
    "trailing bytes": KEY + b"\0",
    "a type twice": KEY + KEY,
    "an unknown type twice": entry(200) + entry(200),
    "types that descend": entry(9) + KEY,
    "an unknown mark": entry(9, mark=2),
    "all marks": entry(9, mark=0xFF),
    "very many entries": entry(9) * 16_000,
    "one more than all types": b"".join(map(entry, range(7, 256))) + entry(0),
}


@pytest.mark.parametrize("block", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("read", [decode_extensions, check_block])
def test_block_is_refused_when_it_is_malformed(block, read) -> None:
    """Lengths, order, doubles and marks."""
    with pytest.raises(RemoteProtocolError):
        read(block)


def test_unknown_type_is_ignored_when_it_is_not_required() -> None:
    """So a later version's request runs here."""
    block = encode_extensions({Extension.KEY: b"k", 0: b"first", 255: b"last"})
    assert decode_extensions(block) == {Extension.KEY: b"k"}


@pytest.mark.parametrize("type", sorted({0, 255, *Extension} - SUPPORTED))
def test_type_is_told_when_it_is_required_and_not_supported(type) -> None:
    """A type whose layout is known is no better than an unknown one, if nothing acts on it."""
    value = VALUES.get(type, [b"x"])[0]
    block = encode_extensions({Extension.CHAIN: bytes(24), type: value}, {Extension.CHAIN, type})
    check_block(block)
    with pytest.raises(UnknownExtension, match=f"extension {type}") as caught:
        decode_extensions(block)
    assert caught.value.type == type
    assert not isinstance(caught.value, RemoteProtocolError)


def test_supported_type_is_taken_when_it_is_required() -> None:
    """The chain of a call that waits."""
    block = encode_extensions({Extension.CHAIN: bytes(24)}, {Extension.CHAIN})
    assert decode_extensions(block) == {Extension.CHAIN: bytes(24)}


TOO_MUCH = [
    ({-1: b""}, (), "extension -1"),
    ({256: b""}, (), "extension 256"),
    ({9: bytes(LARGEST_BLOCK + 1)}, (), "extension 9"),
    ({9: bytes(LARGEST_BLOCK - 3)}, (), "limit"),
    ({9: bytes(40_000), 10: bytes(40_000)}, (), "limit"),
    ({}, {Extension.KEY}, "KEY"),
]


@pytest.mark.parametrize(("extensions", "required", "text"), TOO_MUCH)
def test_encoding_raises_value_error_when_it_does_not_fit(extensions, required, text) -> None:
    """The caller is told before anything is sent."""
    with pytest.raises(ValueError, match=text):
        encode_extensions(extensions, required)


def test_block_is_empty_when_there_is_no_extension() -> None:
    """A request without extensions has no byte of them."""
    assert encode_extensions({}) == b""
    assert decode_extensions(b"") == {}


unknown = st.dictionaries(st.integers(7, 255), st.binary(max_size=40), max_size=8)
known = st.lists(st.sampled_from(PAIRS)).map(dict)


@given(unknown, known, st.sets(st.integers(0, 255)))
def test_known_values_come_back_whatever_lies_beside_them(others, ours, required) -> None:
    """Also those that are required, where they are supported."""
    given = {**others, **ours}
    block = encode_extensions(given, required & given.keys())
    assert decode_extensions(block, range(256)) == ours
    assert encode_extensions(ours) == encode_extensions(dict(reversed(ours.items())))


@given(st.one_of(st.binary(max_size=60), st.lists(st.binary(max_size=9)).map(b"".join)))
def test_any_bytes_are_a_block_or_a_documented_error(block) -> None:
    """And looking at a block refuses what decoding it refuses."""
    try:
        check_block(block)
    except RemoteProtocolError:
        with pytest.raises((RemoteProtocolError, UnknownExtension)):
            decode_extensions(block)
        return
    values = decode_extensions(block, range(256))
    assert decode_extensions(encode_extensions(values)) == values


def test_chain_has_whole_entries_of_those_that_tasks_know() -> None:
    """Two packages that can't import each other agree on their size."""
    assert encode_extensions({Extension.CHAIN: bytes(2 * ENTRY.size)})
    for size in (0, 1, ENTRY.size - 1, ENTRY.size + 1):
        with pytest.raises(ValueError, match="CHAIN"):
            encode_extensions({Extension.CHAIN: bytes(size)})
