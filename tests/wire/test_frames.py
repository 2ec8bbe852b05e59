"""Frames: any chunking gives the same frames, and nothing is allocated for a wrong size."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import Limits
from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge, RemoteProtocolError
from bgpy.memory import Allocate
from bgpy.wire.frames import DIRECT, SMALL, Frame, FrameReader, encode_frame, pack_header
from bgpy.wire.handshake import ServerTerms

LIMITS = Limits(max_message=4 * SMALL, max_buffers=8)
KIND, OTHER = 2, 5
AS_FRAMES = dict.fromkeys((KIND, OTHER), Frame)


class Memory:
    """Gives memory and remembers the sizes that it was asked for."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, size: int) -> memoryview:
        self.sizes.append(size)
        return memoryview(bytearray(size))


def header(kind: int = KIND, count: int = 0, length: int = 0, request: int = 1) -> bytes:
    return struct.pack("<BBHIQ", kind, 0x10, count, length, request)


def whole(kind: int, tags: int, request: int, head: bytes, buffers: list[bytes]) -> bytes:
    return b"".join(encode_frame(kind, tags, request, head, [memoryview(b) for b in buffers]))


def plain(frame: Frame) -> tuple[int, int, int, bytes, list[bytes]]:
    return (frame[0], frame[1], frame[2], bytes(frame.head), [bytes(b) for b in frame.buffers])


def deliver(reader: FrameReader[Frame], data: bytes, sizes: list[int]) -> list[Frame]:
    """Bring `data` to the reader as a socket would, in pieces of `sizes`, then the rest."""
    frames: list[Frame] = []
    shared = bytearray(len(data) + 1)
    left = memoryview(data)
    pieces = iter(sizes)
    while left:
        target = reader.target
        place = memoryview(shared) if target is None else target
        size = min(next(pieces, len(left)), len(left), len(place))
        place[:size] = left[:size]
        left = left[size:]
        frames += reader.feed(place[:size]) if target is None else reader.filled(size)
        # What the reader keeps must not lie in the shared memory.
        shared[:size] = b"\xff" * size
    return frames


FRAMES = [
    (KIND, 0x10, 0, b"", []),
    (KIND, 0x11, 1, b"head", []),
    (OTHER, 0xFF, 2**64 - 1, b"x" * SMALL, []),
    (KIND, 0x10, 3, b"y" * (SMALL + 1), []),
    (KIND, 0x10, 4, b"", [b""]),
    (KIND, 0x10, 5, b"head", [b"", b"small", b""]),
    (KIND, 0x10, 6, b"head", [b"z" * (DIRECT + 5), b"", b"q" * DIRECT]),
    (KIND, 0x10, 7, b"w" * (SMALL + 9), [b"z" * SMALL]),
]


@pytest.mark.parametrize("parts", FRAMES)
@pytest.mark.parametrize("size", [None, 1, 7, 16, 17, 1000, DIRECT])
def test_reader_gives_the_frame_in_any_pieces_when_it_arrives(parts, size) -> None:
    """A frame is the same whole, byte by byte and in pieces of any size."""
    data = whole(*parts)
    reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
    frames = deliver(reader, data, [] if size is None else [size] * (len(data) // size + 1))
    assert [plain(frame) for frame in frames] == [parts]
    assert reader.idle


@pytest.mark.parametrize("parts", FRAMES)
def test_reader_keeps_the_start_of_the_next_frame_when_data_trails(parts) -> None:
    """What follows a frame in the same bytes belongs to the next one."""
    data = whole(*parts)
    reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
    frames = list(reader.feed(data + data[:9]))
    assert not reader.idle
    frames += deliver(reader, data[9:], [])
    assert [plain(frame) for frame in frames] == [parts, parts]
    assert reader.idle


@pytest.mark.parametrize("parts", FRAMES)
def test_reader_is_not_at_a_boundary_when_any_byte_is_missing(parts) -> None:
    """A truncated frame is never taken for a clean end, and never given out."""
    data = whole(*parts)
    for size in {1, 15, 16, 17, len(data) // 2, len(data) - 1}:
        if 0 < size < len(data):
            reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
            assert reader.feed(data[:size]) == []
            assert not reader.idle


payloads = st.one_of(st.binary(max_size=40), st.sampled_from([b"a" * SMALL, b"b" * (SMALL + 1)]))
frames_of_any_shape = st.tuples(
    st.sampled_from(sorted(AS_FRAMES)),
    st.integers(0, 255),
    st.integers(0, 2**64 - 1),
    payloads,
    st.lists(st.one_of(st.binary(max_size=40), st.just(b"c" * (DIRECT + 1))), max_size=4),
)


@given(st.lists(frames_of_any_shape, max_size=5), st.lists(st.integers(1, 50_000), max_size=40))
def test_frames_come_back_the_same_when_cut_anywhere(parts, sizes) -> None:
    """Encoding and reading are inverse, whatever the pieces."""
    data = b"".join(whole(*part) for part in parts)
    reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
    assert [plain(frame) for frame in deliver(reader, data, sizes)] == parts
    assert reader.idle


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_reader_raises_a_documented_error_or_none_when_fed_any_bytes(pieces) -> None:
    """No bytes do anything but frames or an error of the tree, which then stays."""
    memory = Memory()
    reader = FrameReader(LIMITS, memory, AS_FRAMES)
    errors: list[BgpyError | None] = []
    for piece in pieces:
        try:
            reader.feed(piece)
            errors.append(None)
        except (RemoteProtocolError, MessageTooLarge) as error:
            errors.append(error)
    last = errors[-1] if errors else None
    assert set(errors) <= {None, last}
    assert errors == sorted(errors, key=lambda error: error is not None)
    assert reader.idle or pieces
    assert sum(memory.sizes) <= LIMITS.max_message * (len(pieces) * 4 + 1)


@given(st.binary(min_size=15, max_size=90), st.sampled_from(sorted(AS_FRAMES)))
def test_reader_raises_a_documented_error_or_none_when_the_kind_is_right(data, kind) -> None:
    """Beyond the first byte, too, any bytes are a frame, a part of one, or an error."""
    reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
    try:
        reader.feed(bytes([kind]) + data)
    except (RemoteProtocolError, MessageTooLarge):
        assert not reader.idle


TOO_MUCH = [
    (header(length=4 * SMALL + 1), MessageTooLarge, "262145 bytes: the limit is 262144"),
    (header(length=2**32 - 1), MessageTooLarge, "4294967295 bytes: the limit is 262144"),
    (header(count=9), MessageTooLarge, "9 buffers: the limit is 8"),
    (header(count=65535), MessageTooLarge, "65535 buffers"),
    (header(count=1) + struct.pack("<Q", 2**63), MessageTooLarge, str(2**63)),
    (header(count=2) + struct.pack("<2Q", 2**64 - 1, 2), MessageTooLarge, str(2**64 + 1)),
    (header(count=2) + struct.pack("<2Q", 2 * SMALL, 2 * SMALL + 1), MessageTooLarge, "262145"),
    (header(count=1, length=1) + struct.pack("<Q", 4 * SMALL), MessageTooLarge, "262145"),
    (header(kind=0), RemoteProtocolError, "kind 0"),
    (header(kind=7), RemoteProtocolError, "kind 7"),
    (header(kind=255, length=2**32 - 1), RemoteProtocolError, "kind 255"),
]


@pytest.mark.parametrize(("data", "error", "text"), TOO_MUCH)
@pytest.mark.parametrize("step", [1, 1000])
def test_reader_allocates_nothing_when_a_frame_is_refused(data, error, text, step) -> None:
    """Sizes and kind are checked before memory is asked for; the error names them."""
    memory = Memory()
    reader = FrameReader(LIMITS, memory, AS_FRAMES)
    with pytest.raises(error, match=text):
        deliver(reader, data, [step] * len(data))
    assert memory.sizes == []
    assert reader.failed_request == 1
    assert not reader.idle
    assert reader.target is None
    with pytest.raises(error, match=text):
        reader.feed(whole(*FRAMES[1]))
    with pytest.raises(error, match=text):
        reader.filled(0)


def test_reader_takes_a_message_when_it_is_exactly_at_the_limits() -> None:
    """The limits themselves are allowed."""
    parts = (KIND, 0x10, 1, b"h" * 8, [b"b" * (LIMITS.max_message - 8)] + [b""] * 7)
    assert plain(FrameReader(LIMITS, Memory(), AS_FRAMES).feed(whole(*parts))[0]) == parts


@pytest.mark.parametrize("limit", [0, 3])
def test_reader_refuses_a_whole_small_frame_when_it_is_over_the_limit(limit) -> None:
    """The short way for whole frames knows the limit, too."""
    reader = FrameReader(ServerTerms(max_message=limit, max_buffers=8), Memory(), AS_FRAMES)
    assert [frame.head for frame in reader.feed(whole(KIND, 0, 1, b"a" * limit, []))] == [
        b"a" * limit
    ]
    with pytest.raises(MessageTooLarge):
        reader.feed(whole(KIND, 0, 2, b"a" * (limit + 1), []))
    assert reader.failed_request == 2


def test_reader_allocates_a_part_only_when_the_one_before_is_whole() -> None:
    """A peer that announces much and sends little gets one part's memory."""
    memory = Memory()
    reader = FrameReader(LIMITS, memory, AS_FRAMES)
    data = whole(KIND, 0, 1, b"", [b"a" * SMALL, b"b" * SMALL])
    reader.feed(data[: -SMALL - 1])
    assert memory.sizes == [SMALL]
    reader.feed(data[-SMALL - 1 : -SMALL])
    assert memory.sizes == [SMALL, SMALL]


def test_reader_uses_no_memory_of_its_own_when_a_frame_is_small() -> None:
    """Only buffers and large heads go to `allocate`."""
    memory = Memory()
    deliver(
        FrameReader(LIMITS, memory, AS_FRAMES), whole(KIND, 0, 1, b"h" * SMALL, []), [1000] * 99
    )
    assert memory.sizes == []


def test_reader_gives_a_target_when_much_is_missing_and_none_when_little_is() -> None:
    """Large parts are received in place; a small remainder isn't worth a call of its own."""
    reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
    data = whole(KIND, 0, 1, b"head", [b"a" * (2 * DIRECT)])
    reader.feed(data[: -2 * DIRECT])
    target = reader.target
    assert target is not None
    assert len(target) == 2 * DIRECT
    target[: DIRECT + 1] = b"a" * (DIRECT + 1)
    assert reader.filled(DIRECT + 1) == []
    assert reader.target is None
    (frame,) = reader.feed(b"a" * (DIRECT - 1))
    assert plain(frame) == (KIND, 0, 1, b"head", [b"a" * (2 * DIRECT)])
    assert not frame.buffers[0].readonly


@pytest.mark.parametrize("size", [0, 1])
def test_reader_says_so_when_nothing_can_be_filled(size) -> None:
    """`filled` without a target is this side's mistake."""
    with pytest.raises(LocalProtocolError, match="without a place"):
        FrameReader(LIMITS, Memory(), AS_FRAMES).filled(size)


@pytest.mark.parametrize("kind_of_error", [MemoryError, OSError])
def test_reader_raises_message_too_large_when_there_is_no_memory(kind_of_error) -> None:
    """A failed allocation is an error about the message, not the end of the process."""

    def nothing(size: int) -> memoryview:
        raise kind_of_error(f"{size} bytes")

    reader = FrameReader(LIMITS, nothing, AS_FRAMES)
    with pytest.raises(MessageTooLarge, match="no memory"):
        reader.feed(whole(KIND, 0, 77, b"", [b"abc"]))
    assert reader.failed_request == 77


def test_encoding_gives_one_piece_when_the_frame_is_small() -> None:
    """A small frame is one `bytes`, ready for one `send`."""
    assert encode_frame(2, 0x11, 5, b"head") == [
        header(length=4, request=5)[:1]
        + bytes.fromhex("11 00 00 04 00 00 00 05 00 00 00 00 00 00 00")
        + b"head"
    ]


def test_encoding_copies_nothing_when_parts_are_large() -> None:
    """Large heads and buffers are handed on as they are; empty pieces are left out."""
    head = b"h" * (SMALL + 1)
    buffers = [memoryview(b"a"), memoryview(b""), memoryview(b"b" * SMALL)]
    start, *others = encode_frame(KIND, 0, 1, head, buffers)
    assert len(start) == 16 + 8 * 3
    assert others[0] is head
    assert others[1] is buffers[0]
    assert others[2] is buffers[2]
    assert len(others) == 3


def test_encoding_raises_message_too_large_when_a_header_cannot_say_it() -> None:
    """More buffers than 65535 don't fit in a frame."""
    with pytest.raises(MessageTooLarge, match="65536 buffers"):
        encode_frame(KIND, 0, 1, b"", [memoryview(b"")] * 65536)


@given(st.lists(st.sampled_from(FRAMES), max_size=8), st.lists(st.integers(1, 300)))
def test_reader_gives_frames_in_their_order_when_they_come_together(frames, sizes) -> None:
    """Small ones, which are taken in a row, and those between them."""
    data = b"".join(whole(*parts) for parts in frames)
    reader = FrameReader(LIMITS, Memory(), AS_FRAMES)
    assert [plain(frame) for frame in deliver(reader, data, sizes)] == frames
    assert reader.idle


def test_reader_names_the_request_when_one_of_many_cannot_be_made() -> None:
    """Those before it are dropped with it."""

    def fail(*frame: object) -> Frame:
        raise RemoteProtocolError("no")

    reader = FrameReader(LIMITS, Memory(), {**AS_FRAMES, OTHER: fail})
    with pytest.raises(RemoteProtocolError):
        reader.feed(header(request=1) + header(kind=OTHER, request=2) + header(request=3))
    assert reader.failed_request == 2


def _reader(allocate: Allocate) -> FrameReader[Frame]:
    return FrameReader(LIMITS, allocate, dict.fromkeys([KIND], Frame))


def test_reader_tells_what_memory_the_message_under_way_has() -> None:
    """Also of one that began behind a whole one in the same receive."""
    reader = _reader(Memory())
    small, large = pack_header(KIND, 0, 0, 3, 1) + b"abc", pack_header(KIND, 0, 0, 200_000, 2)
    assert reader.under_way == (0, 0)
    assert len(reader.feed(memoryview(small + large + bytes(1000)))) == 1
    assert reader.under_way == (200_000, 199_000)
    assert len(reader.feed(memoryview(bytes(199_000)))) == 1
    assert reader.under_way == (0, 0)


@pytest.mark.parametrize("size", [1, 4096, 10**9])
@pytest.mark.parametrize("parts", [0, 1])
def test_frame_is_thrown_away_when_there_is_no_memory_for_a_part(size: int, parts: int) -> None:
    """However it is cut, and whichever part it is; those before and behind it come."""
    given: list[int] = []

    def allocate(size: int) -> memoryview | None:
        given.append(size)
        return memoryview(bytearray(size)) if len(given) <= parts else None

    reader = _reader(allocate)
    wanted = whole(KIND, 0, 1, b"before", [])
    data = whole(KIND, 0, 2, b"h" * 100_000, [b"a" * 30_000, b"", b"b" * 20_000])
    frames = _fed(reader, wanted + data + wanted, size)
    assert [frame.request for frame in frames] == [1, 1]
    assert (reader.take_thrown(), reader.take_thrown()) == ((2,), ())
    assert (reader.idle, reader.under_way) == (True, (0, 0))


def test_frame_is_thrown_away_when_that_is_asked_for() -> None:
    """Its memory is given back at once; nothing happens where none is under way."""
    reader = _reader(Memory())
    reader.throw_away()
    data = whole(KIND, 0, 2, b"h" * 100_000, [b"a" * 30_000])
    assert _fed(reader, data[:50_000], 10**9) == []
    assert reader.target is not None
    reader.throw_away()
    assert (reader.target, reader.under_way, reader.idle) == (None, (0, 0), False)
    assert _fed(reader, data[50_000:], 10**9) == []
    assert reader.take_thrown() == (2,)
    assert reader.idle


def _fed(reader: FrameReader[Frame], data: bytes, size: int) -> list[Frame]:
    """What comes out where at most `size` bytes of `data` come at once."""
    frames: list[Frame] = []
    left = memoryview(data)
    while left:
        target = reader.target
        if target is None:
            count = min(size, len(left))
            frames += reader.feed(left[:count])
        else:
            count = min(size, len(left), len(target))
            target[:count] = left[:count]
            frames += reader.filled(count)
        left = left[count:]
    return frames
