"""What a socket hasn't taken: whole, in order, and of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgpy.serving.io.transport import MOST_PIECES
from bgpy.serving.sessions.send_buffer import JOINED, SendBuffer, after

PIECES = st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=4)
STEPS = st.lists(st.one_of(PIECES, st.integers(0, 30)), max_size=40)


@given(STEPS)
def test_unsent_gives_every_byte_once_however_it_is_taken(steps: list[list[bytes] | int]) -> None:
    """Pieces are added and bytes taken in any order."""
    unsent = SendBuffer()
    added = taken = b""
    for step in steps:
        if isinstance(step, list):
            unsent.add(step)
            added += b"".join(step)
        else:
            sent = b"".join(unsent.first())[:step]
            unsent.took(len(sent))
            taken += sent
        assert unsent.size == len(added) - len(taken)
    while unsent.size:
        sent = b"".join(unsent.first())
        unsent.took(len(sent))
        taken += sent
    assert taken == added


def test_unsent_joins_small_pieces() -> None:
    """A client that reads nothing must not cost an object for each small reply."""
    unsent = SendBuffer()
    for _ in range(JOINED // 8):
        unsent.add([b"12345678"])
    assert len(unsent.first()) == 1
    unsent.took(3)
    unsent.add([b"abc"])
    assert b"".join(unsent.first()).endswith(b"678abc")


def test_unsent_keeps_a_copy_of_the_users_memory() -> None:
    """What the user changes later is not what was sent."""
    own = bytearray(b"before")
    unsent = SendBuffer()
    unsent.put_first([memoryview(own)])
    unsent.add([b"head", memoryview(own)])
    own[:] = b"after!"
    assert b"".join(unsent.first()) == b"beforeheadbefore"


def test_unsent_gives_no_more_than_one_system_call_takes() -> None:
    """The rest comes when those have left."""
    unsent = SendBuffer()
    for _ in range(MOST_PIECES):
        unsent.add([b"a", b"b"])
    assert len(unsent.first()) == MOST_PIECES
    assert unsent.size == 2 * MOST_PIECES


@given(PIECES, st.integers(0, 40))
def test_after_gives_what_is_left(pieces: list[bytes], taken: int) -> None:
    """No byte more or less."""
    assert b"".join(after(pieces, taken)) == b"".join(pieces)[taken:]
