"""What a socket hasn't taken: nothing lost, nothing twice, however little it takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgpy.serving.sessions.send_buffer import PIECE, SendBuffer, after, owned, size_of
from bgpy.system.sockets import MOST_PIECES

PIECES = st.lists(st.sampled_from([b"x", b"yy", b"a long one"]), max_size=10)


def _filled(pieces: list[bytes]) -> SendBuffer:
    buffer = SendBuffer()
    buffer.pieces.extend(pieces)
    buffer.recount()
    return buffer


@given(PIECES, st.lists(st.integers(0, 40), max_size=20))
def test_buffer_gives_what_was_put_in_when_the_socket_takes_any_part(
    pieces: list[bytes], takes: list[int]
) -> None:
    """In order, whole, and counted to the end; told twice of what left, it forgets it once."""
    buffer = _filled(pieces)
    sent = b""
    for take in [*takes, 10**6]:
        first = buffer.first()
        offered = b"".join(first)
        sent += offered[:take]
        buffer.took(first, min(take, len(offered)))
        buffer.took(first, min(take, len(offered)))
    assert sent == b"".join(pieces)
    assert (list(buffer.pieces), buffer.size) == ([], 0)


def test_buffer_offers_no_more_than_a_system_call_takes() -> None:
    """The rest follows when these are gone."""
    buffer = _filled([bytes([1])] * (MOST_PIECES + 3))
    assert len(buffer.first()) == MOST_PIECES


def test_recount_finds_the_size_when_it_was_not_counted() -> None:
    """Objects count besides the bytes in them: many small ones take more than their content."""
    buffer = SendBuffer()
    buffer.pieces.extend([b"abc", b"d"])
    buffer.recount()
    assert buffer.size == size_of([b"abc", b"d"]) == 4 + 2 * PIECE


@given(PIECES, st.integers(0, 200))
def test_after_gives_what_is_left(pieces: list[bytes], taken: int) -> None:
    """However the pieces are cut."""
    whole = b"".join(pieces)
    assert b"".join(after(pieces, taken)) == whole[taken:]


def test_owned_copies_the_memory_of_others_alone() -> None:
    """What can't change is not copied."""
    memory = bytearray(b"before")
    ours = b"ours"
    kept = owned([ours, memoryview(memory)])
    memory[:] = b"after!"
    assert kept == [b"ours", b"before"]
    assert kept[0] is ours
