"""What a socket hasn't taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from bgpy.memory import Piece
from bgpy.serving.io.transport import MOST_PIECES

JOINED = 2**16
"""Bytes up to which small pieces are joined: an object each would cost more than they do."""


class SendBuffer:
    """Pieces in the order in which they leave; owns its memory."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.size = 0
        """Bytes."""

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append `pieces`."""
        size = sum(map(len, pieces))
        last = self._pieces[-1] if self._pieces else None
        if len(pieces) > 1 or len(pieces[0]) > JOINED:
            self._pieces.extend(owned(pieces))
        elif isinstance(last, bytearray) and len(last) < JOINED:
            last += pieces[0]
        else:
            self._pieces.append(bytearray(pieces[0]))
        self.size += size  # only now: making a copy may fail

    def put_first(self, pieces: Sequence[Piece]) -> None:
        """Put `pieces` before all others; may raise `MemoryError`, and nothing was changed then."""
        copies = owned(pieces)
        self._pieces.extendleft(reversed(copies))
        self.size += sum(map(len, copies))

    def first(self) -> list[Piece]:
        """As many of them as one system call takes."""
        return list(islice(self._pieces, MOST_PIECES))

    def took(self, taken: int) -> None:
        """Forget the first `taken` bytes, which have left."""
        self.size -= taken
        pieces = self._pieces
        while taken and taken >= len(pieces[0]):
            taken -= len(pieces.popleft())
        if taken:
            pieces[0] = memoryview(pieces[0])[taken:]


def after(pieces: Sequence[Piece], taken: int) -> list[Piece]:
    """What is left of `pieces` when their first `taken` bytes are gone."""
    left = iter(pieces)
    for piece in left:
        size = len(piece)
        if taken < size:
            return [memoryview(piece)[taken:] if taken else piece, *left]
        taken -= size
    return []


def owned(pieces: Sequence[Piece]) -> list[Piece]:
    """Copies of the pieces that lie in the user's objects, which may change before they leave."""
    return [bytes(piece) if isinstance(piece, memoryview) else piece for piece in pieces]
