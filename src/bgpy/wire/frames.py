"""Frames: how messages lie in the stream of bytes between client and server.

A frame is a header of fixed size and what the header announces. All numbers are
little-endian and unsigned::

     0      1      2             4                    8                           16
    ┌──────┬──────┬─────────────┬────────────────────┬───────────────────────────┐
    │ kind │ tags │ buffers: n  │ head length: h     │ request id                │
    ├──────┴──────┴─────────────┴────────────────────┴───────────────────────────┤
    │ n sizes of 8 bytes: s1 … sn                                                │
    ├────────────────────────────────────────────────────────────────────────────┤
    │ head: h bytes                                                              │
    ├────────────────────────────────────────────────────────────────────────────┤
    │ buffer 1: s1 bytes │ … │ buffer n: sn bytes                                │
    └────────────────────────────────────────────────────────────────────────────┘

    tags   bits 7-4: codec of the payload, bits 3-0: flags

The size of a message is h + s1 + … + sn. Size and number of buffers are checked
against the limits as soon as they are known, before anything is allocated for them.

`FrameReader` is fed what a socket received. Small parts are copied out of it; while a
large part is under way, `FrameReader.target` is the memory where its bytes belong, so
that the socket can receive them there, and nothing is copied::

    target = reader.target
    if target is None:
        frames = reader.feed(shared[: sock.recv_into(shared)])
    else:
        frames = reader.filled(sock.recv_into(target))

What a reader takes, and what it gives for each frame, is said by one function per kind
(`bgpy.wire.table`): a message, or a `Frame`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge, RemoteProtocolError
from bgpy.memory import Allocate, Head, HeadParts, Piece

HEADER_SIZE = 16
SMALL = 64 * 1024
"""Bytes: up to here a head is copied, beyond it keeps its own memory."""
DIRECT = 16 * 1024
"""Bytes: with less than this missing, receiving into shared memory is cheaper."""

MOST_BUFFERS = 0xFFFF
"""Buffers that a header can announce."""

_header = struct.Struct("<BBHIQ")
pack_header = _header.pack
_unpack_from = _header.unpack_from


class SizeLimits(Protocol):
    """What a reader takes; `bgpy.config.Limits` and `ServerTerms` both fit."""

    @property
    def max_message(self) -> int:
        """Bytes of head and buffers together."""

    @property
    def max_buffers(self) -> int:
        """Out-of-band buffers in one message."""


class Frame(NamedTuple):
    """One frame as it arrived. `head` is `bytes`, or a memoryview where it is large."""

    kind: int
    tags: int
    request: int
    head: Head
    buffers: Sequence[memoryview]


T = TypeVar("T")
Decode = Callable[[int, int, int, Head, Sequence[memoryview]], T]
"""Makes something of a frame, given as the fields of `Frame`."""


def encode_frame(
    kind: int, tags: int, request: int, head: Head | HeadParts, buffers: Sequence[memoryview] = ()
) -> list[Piece]:
    """Give the pieces of a frame, to be sent in this order; none of them is empty.

    A small frame without buffers is one piece. Buffers, heads over `SMALL` bytes and
    heads in parts are not copied: they must stay unchanged until they are sent. All
    memoryviews are flat (one dimension of bytes). Raises `MessageTooLarge` for what a
    header can't say.
    """
    length = len(head)
    if length <= SMALL and not buffers and isinstance(head, bytes):
        return [pack_header(kind, tags, 0, length, request) + head]
    parts = head if isinstance(head, tuple) else (head,)
    length = sum(map(len, parts))
    if length > 0xFFFF_FFFF or len(buffers) > MOST_BUFFERS:
        raise MessageTooLarge(
            f"a message with a head of {length} bytes and {len(buffers)} buffers can't be sent: "
            "4294967295 bytes and 65535 buffers fit in a frame; send it in parts"
        )
    sizes = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    start = pack_header(kind, tags, len(buffers), length, request) + sizes
    if len(parts[0]) <= SMALL:
        start, parts = start + parts[0], parts[1:]
    return [start, *(piece for piece in (*parts, *buffers) if len(piece))]


class _Assembly:
    """A frame whose parts are received into memory of their own, one after the other."""

    __slots__ = ("_head", "_parts", "_sizes", "_start", "given", "request", "room", "thrown")

    def __init__(self, start: tuple[int, int, int], head: bytes | None, sizes: list[int]) -> None:
        self._start = start
        self.request = start[2]
        self._head = head
        self._sizes: Iterator[int] = iter(sizes)
        self._parts: list[memoryview] = []
        self.room = memoryview(b"")
        """The memory where its next bytes belong."""
        self.given = 0
        """Bytes of memory that its parts have."""
        self.thrown: int | None = None
        """Bytes to come that are thrown away; None while the frame is kept."""

    def take(self, data: memoryview) -> int:
        """Take what belongs here from the front of `data`; gives how many bytes."""
        if self.thrown is not None:
            return min(len(data), self.thrown)
        size = min(len(data), len(self.room))
        self.room[:size] = data[:size]
        return size

    def filled(self, size: int, allocate: Allocate) -> bool:
        """Take note of `size` bytes that have come; True when the frame is whole."""
        if self.thrown is not None:
            self.thrown -= size
            return not self.thrown
        self.room = self.room[size:]
        while not self.room:
            following = next(self._sizes, None)
            if following is None:
                return True
            memory = allocate(following) if following else memoryview(bytearray())
            if memory is None:
                self.throw_away(following)
                return False
            self._parts.append(memory)
            self.given += following
            self.room = memory
        return False

    def throw_away(self, missing: int) -> None:
        """Keep nothing of the frame: `missing` bytes are to come of the part under way."""
        self.thrown = missing + sum(self._sizes)
        self._parts, self.room, self.given = [], memoryview(b""), 0

    def frame(self) -> Frame:
        """Give the whole frame."""
        if self._head is not None:
            return Frame(*self._start, self._head, self._parts)
        return Frame(*self._start, self._parts[0], self._parts[1:])


class FrameReader(Generic[T]):
    """Bytes in, what `make` makes of each frame out; holds at most one that isn't whole.

    `make` has a function for each kind that is taken from this peer. Any error, also of
    those functions, is final: each later call raises it again, and what came in the same
    call before the wrong frame is dropped.

    A frame for which `allocate` gives no memory is thrown away as it comes, and so is one
    that `throw_away` is called for: `take_thrown` tells of it when its last byte has come.
    """

    __slots__ = (
        "_allocate",
        "_assembly",
        "_make",
        "_max_buffers",
        "_max_message",
        "_needed",
        "_pending",
        "error",
        "failed_request",
        "idle",
        "target",
        "thrown",
    )

    def __init__(
        self, limits: SizeLimits, allocate: Allocate, make: Mapping[int, Decode[T]]
    ) -> None:
        self._max_message = limits.max_message
        self._max_buffers = limits.max_buffers
        self._allocate = allocate
        self._make = make
        self._pending: bytearray | bytes = b""  # most frames come whole
        self._needed = HEADER_SIZE
        self._assembly: _Assembly | None = None
        self.idle = True
        """Whether no frame is under way, so that the end of the stream is clean here."""
        self.target: memoryview | None = None
        """The memory where the next bytes belong, if a large part is under way."""
        self.error: BgpyError | None = None
        """What is wrong with what came; nothing more is taken then."""
        self.thrown: tuple[int, ...] = ()
        """The requests that have been thrown away, and that nobody has taken note of."""
        self.failed_request = 0
        """The request id of the frame that was refused; 0 before."""

    def feed(self, data: memoryview | bytes) -> list[T]:
        """Take received bytes, give what was made of the frames that are whole now.

        `data` is valid during the call only. Raises `RemoteProtocolError` for a kind
        that is unknown, `MessageTooLarge` for sizes over the limits.
        """
        if self.error is not None:
            raise self.error
        made: list[T] = []
        view = memoryview(data)
        try:
            if self.idle:
                view = view[self._take_whole(view, made) :]
            while view:
                assembly = self._assembly
                if assembly is None:
                    view = self._begin(view, made)
                else:
                    size = assembly.take(view)
                    self._advance(assembly, size, made)
                    view = view[size:]
        except BgpyError as error:
            self.refuse(self.failed_request, error)
            raise
        self.idle = not self._pending and self._assembly is None
        return made

    def filled(self, size: int) -> list[T]:
        """Take note that `size` bytes were received into `target`; else like `feed`."""
        if self.error is not None:
            raise self.error
        assembly = self._assembly
        if assembly is None or size > len(assembly.room):
            raise LocalProtocolError(f"{size} bytes were received without a place for them")
        made: list[T] = []
        try:
            self._advance(assembly, size, made)
        except BgpyError as error:
            self.refuse(self.failed_request, error)
            raise
        return made

    @property
    def under_way(self) -> tuple[int, int]:
        """Bytes of memory that the frame under way has, and how many of these are to come."""
        assembly = self._assembly
        return (0, 0) if assembly is None else (assembly.given, len(assembly.room))

    def throw_away(self) -> None:
        """Give back the memory of the frame under way, and take it without keeping it."""
        if self._assembly is not None:
            self._assembly.throw_away(len(self._assembly.room))
            self.target = None

    def take_thrown(self) -> tuple[int, ...]:
        """The requests whose frames were thrown away since the last time."""
        thrown, self.thrown = self.thrown, ()
        return thrown

    def refuse(self, request: int, error: BgpyError) -> None:
        """Make `error` final; it is about the message `request`, or 0."""
        self.failed_request = request
        self.error = error
        self.idle = False
        self.target = None
        self._assembly = None
        self._pending = b""

    def _take_whole(self, view: memoryview, made: list[T]) -> int:
        """Take the small frames that lie whole at the front of `view`; gives their bytes.

        The quick way for what comes most. It stops at all else.
        """
        at, size = 0, len(view)
        while size - at >= HEADER_SIZE:
            kind, tags, count, length, request = _unpack_from(view, at)
            end = at + HEADER_SIZE + length
            make = self._make.get(kind)
            if count or end > size or length > self._max_message or make is None:
                break
            self.failed_request = request  # unless it can be made
            made.append(make(kind, tags, request, view[at + HEADER_SIZE : end].tobytes(), ()))
            at = end
        self.failed_request = 0
        return at

    def _begin(self, view: memoryview, made: list[T]) -> memoryview:
        """Take a frame's start (header, sizes, small head) from `view`; give what is left."""
        pending = self._pending
        if not pending:
            used = self._start(view, made)
            if not used:
                self._pending = bytearray(view)
            return view[used or len(view) :]
        missing = self._needed - len(pending)
        pending += view[:missing]
        if len(pending) >= self._needed and self._start(memoryview(bytes(pending)), made):
            self._pending = b""
        return view[missing:]

    def _start(self, source: memoryview, made: list[T]) -> int:
        """Start the frame at the front of `source`, if enough of it is there.

        Gives how many bytes were used; else 0, and `_needed` says how many it takes.
        """
        self._needed = HEADER_SIZE
        if len(source) < HEADER_SIZE:
            return 0
        count: int
        length: int
        kind, tags, count, length, request = _unpack_from(source)
        sizes_end = HEADER_SIZE + 8 * count
        self._check(kind, request, count, length)
        if len(source) < sizes_end:
            self._needed = sizes_end
            return 0
        sizes = list(struct.unpack_from(f"<{count}Q", source, HEADER_SIZE))
        self._check(kind, request, count, length + sum(sizes))
        end = sizes_end + length
        head: bytes | None = None
        if len(source) >= end:
            head = bytes(source[sizes_end:end])
        elif length <= SMALL:
            self._needed = end
            return 0
        else:
            sizes.insert(0, length)
            end = sizes_end
        if head is not None and not sizes:
            self._finish(Frame(kind, tags, request, head, ()), made)
            return end
        assembly = _Assembly((kind, tags, request), head, sizes)
        self._advance(assembly, 0, made)
        return end

    def _check(self, kind: int, request: int, count: int, size: int) -> None:
        self.failed_request = request
        if kind not in self._make:
            raise RemoteProtocolError(
                f"the other side sent a message of kind {kind}, which this side doesn't accept"
            )
        if count > self._max_buffers:
            raise MessageTooLarge(
                f"a message of {count} buffers: the limit is {self._max_buffers} (max_buffers)"
            )
        if size > self._max_message:
            raise MessageTooLarge(
                f"a message of {size} bytes: the limit is {self._max_message} bytes (max_message)"
            )
        self.failed_request = 0

    def _advance(self, assembly: _Assembly, size: int, made: list[T]) -> None:
        try:
            whole = assembly.filled(size, self._allocate)
        except (MemoryError, OSError, OverflowError) as error:
            self.failed_request = assembly.request
            raise MessageTooLarge(f"there is no memory for a message: {error}") from error
        if whole and assembly.thrown is not None:
            self.thrown += (assembly.request,)
        elif whole:
            self._finish(assembly.frame(), made)
        self._assembly = None if whole else assembly
        self.idle = whole
        self.target = None if whole or len(assembly.room) < DIRECT else assembly.room

    def _finish(self, frame: Frame, made: list[T]) -> None:
        self.failed_request = frame.request
        made.append(self._make[frame.kind](*frame))
        self.failed_request = 0
