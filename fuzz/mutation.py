"""Inputs made from honest ones, the same for the same seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence

NUMBERS = (0, 1, 7, 8, 15, 16, 127, 128, 255, 2**15, 2**16 - 1, 2**16, 2**16 + 1, 2**31 - 1)
NUMBERS += (2**31, 2**31 + 1, 2**32 - 1, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (b"\xb9bgpy\r\n\n", b"{}", b"[" * 50, b'"', b"\x00" * 16, b"\xff" * 16, b"\x80\x05.", b"e9")


def mutations(seeds: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Without end: inputs near `seeds`."""
    chance = random.Random(seed)
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _CHANGES[chance.randrange(len(_CHANGES))](chance, data, seeds)
        yield bytes(data)


def _place(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


def _flip(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _number(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    code, size = chance.choice((("<H", 2), ("<I", 4), ("<Q", 8)))
    at = _place(chance, data)
    number = chance.choice(NUMBERS) & (2 ** (8 * size) - 1)
    data[at : at + size] = struct.pack(code, number)


def _insert(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(chance, data)
    data[at:at] = chance.choice((chance.randbytes(chance.randrange(1, 40)), chance.choice(WORDS)))


def _remove(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(chance, data)
    del data[at : at + chance.randrange(1, 40)]


def _cut(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    del data[_place(chance, data) :]


def _repeat(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    at = _place(chance, data)
    data[at:at] = data[at : at + chance.randrange(1, 100)] * chance.randrange(1, 4)


def _splice(chance: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    other = chance.choice(seeds)
    data[_place(chance, data) :] = other[chance.randrange(len(other) + 1) :]


_CHANGES = (_flip, _set, _number, _insert, _remove, _cut, _repeat, _splice)
