"""The small frames in one step: the same bytes as the general way makes and takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.messages import CODEC_NONE, Execute, Message, Reply
from bgpy.wire.small import EXECUTE, REPLY, SMALL_CALL, pack_start, unpack_start
from bgpy.wire.table import encode

HEADS = st.binary(max_size=SMALL_CALL)
NUMBERS = st.integers(0, 2**64 - 1)


def _general(message: Message) -> bytes:
    return b"".join(map(bytes, encode(message)))


@given(NUMBERS, HEADS)
def test_frames_are_those_of_the_general_way(request: int, head: bytes) -> None:
    """Of an execute whose client waits, and of a plain reply."""
    execute = pack_start(EXECUTE, len(head), request) + head
    reply = pack_start(REPLY, len(head), request) + head
    assert execute == _general(Execute(request, head, wait=True))
    assert reply == _general(Reply(request, head))


def _execute(request: int, head: bytes, code: bool, wait: bool, extended: bool) -> Execute:
    extensions = bytes.fromhex("0100000000000000") if extended else b""
    return Execute(request, head, code=code, wait=wait, extensions=extensions)


def _reply(request: int, head: bytes, code: bool, error: bool) -> Reply:
    return Reply(request, head, code=code, error=error)


MARK = st.booleans()


@given(
    st.one_of(
        st.builds(_execute, NUMBERS, HEADS, MARK, MARK, MARK),
        st.builds(lambda request: Execute(request, b"", codec=CODEC_NONE, wait=True), NUMBERS),
        st.builds(_reply, NUMBERS, HEADS, MARK, MARK),
    )
)
def test_start_tells_a_plain_frame_from_all_others(message: Execute | Reply) -> None:
    """What holds code, marks, extensions or no payload begins otherwise."""
    data = _general(message)
    start, length, request = unpack_start(data)
    plain = message in (
        Execute(message.request, message.head, wait=True),
        Reply(message.request, message.head),
    )
    assert (start in (EXECUTE, REPLY)) == plain
    if plain:
        assert (length, request) == (len(data) - HEADER_SIZE, message.request)
