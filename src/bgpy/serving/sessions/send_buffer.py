"""What a socket hasn't taken yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from bgpy.memory import Piece
from bgpy.system.sockets import MOST_PIECES

PIECE = 64
"""Bytes that the object of a piece takes besides what is in it, about."""


class SendBuffer:
    """Pieces in the order in which they leave; owns its memory."""

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        """Code that extends it adds to `size`."""
        self.size = 0
        """Bytes, with those of the objects."""
        self._count = 0  # of pieces, when some were offered last

    def first(self) -> list[Piece]:
        """As many of them as one system call takes."""
        self._count = len(self.pieces)
        return list(islice(self.pieces, MOST_PIECES))

    def took(self, offered: Sequence[Piece], taken: int) -> None:
        """Forget the first `taken` bytes, which have left, of what `first` has offered.

        Done again where it was interrupted, it does the rest: what is to be left is said by
        the number of pieces, since one and the same object may be there twice.
        """
        pieces, left = self.pieces, self._count
        for piece in offered:
            size = len(piece)
            if taken < size:
                if taken:
                    rest = memoryview(piece)[taken:]
                    self.size -= len(pieces[0]) - len(rest)
                    pieces[0] = rest
                return
            taken -= size
            left -= 1
            if len(pieces) > left:
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
