"""What a socket hasn't taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from bgpy.memory import Piece
from bgpy.serving.io.transport import MOST_PIECES

PIECE = 64
"""Bytes that the object of a piece takes besides what is in it, about."""


class SendBuffer:
    """Pieces in the order in which they leave; owns its memory."""

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        """Whoever extends it counts them in `size`."""
        self.size = 0
        """Bytes, with those of the objects."""

    def first(self) -> list[Piece]:
        """As many of them as one system call takes."""
        return list(islice(self.pieces, MOST_PIECES))

    def took(self, offered: Sequence[Piece], taken: int) -> None:
        """Forget the first `taken` bytes, which have left, of what `first` has offered.

        Done again where it was interrupted, it does the rest: what is gone isn't first.
        """
        pieces = self.pieces
        for piece in offered:
            size = len(piece)
            if taken < size:
                if taken and pieces[0] is piece:
                    pieces[0] = memoryview(piece)[taken:]
                    self.size -= taken
                return
            taken -= size
            if pieces and pieces[0] is piece:
                pieces.popleft()
                self.size -= size + PIECE

    def joined(self) -> SendBuffer:
        """The same bytes as one piece: many small ones cost more to send than to copy."""
        one = SendBuffer()
        one.pieces.append(b"".join(self.pieces))
        one.recount()
        return one

    def recount(self) -> None:
        """Find the size anew."""
        self.size = size_of(self.pieces)


def size_of(pieces: Sequence[Piece]) -> int:
    """Bytes that `pieces` take when they are kept."""
    return sum(map(len, pieces)) + PIECE * len(pieces)


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
