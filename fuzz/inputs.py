"""Inputs for hypothesis: any bytes, honest ones changed, and frames whose headers lie."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from bgpy.wire.table import TABLE
from fuzz.corpus import CORPORA
from fuzz.mutation import NUMBERS, mutations

_ways = st.integers(0, 20).map(lambda way: bytes((way,)))
_FRAMED = ("server_frames", "client_frames", "messages", "session")


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Inputs for the target `name`."""
    seeds = CORPORA[name]
    changed = st.integers(0, 2**64).map(lambda seed: next(mutations(seeds, seed)))
    sorts = [changed, st.builds(bytes.__add__, _ways, st.binary(max_size=400))]
    if name in _FRAMED:
        # Behind a handshake that is right, where there is one.
        start = seeds[0][1:] if name == "session" else b""
        sorts.append(st.builds(lambda way, frames: way + start + frames, _ways, _frames()))
    return st.one_of(sorts)


def _frames() -> st.SearchStrategy[bytes]:
    return st.lists(st.builds(_frame, *_parts()), max_size=4).map(b"".join)


def _parts() -> tuple[st.SearchStrategy[object], ...]:
    kinds = st.one_of(st.sampled_from([row.number for row in TABLE]), st.integers(0, 255))
    numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**64 - 1))
    lie = st.one_of(st.just(None), st.integers(0, 2**32 - 1))
    sizes = st.lists(st.one_of(st.integers(0, 40), numbers), max_size=4)
    return kinds, st.integers(0, 255), lie, numbers, sizes, st.binary(max_size=60)


def _frame(
    kind: int, tags: int, length: int | None, request: int, sizes: list[int], head: bytes
) -> bytes:
    """A frame; `length` may lie about its head, and `sizes` about what comes behind it."""
    announced = len(head) if length is None else length
    header = struct.pack("<BBHIQ", kind, tags, len(sizes), announced, request)
    behind = b"".join(bytes(size) for size in sizes if size <= 40)
    return header + struct.pack(f"<{len(sizes)}Q", *sizes) + head + behind
