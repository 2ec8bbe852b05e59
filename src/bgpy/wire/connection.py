"""Connection: what one side knows of one peer, from the first byte to the last.

::

    HANDSHAKE ──proved──► OPEN ──end of stream──► CLOSED
        │                  │
        └──────broken──────┴──────broken────────► FAILED

Bytes in, messages out, without a socket. A shell moves the bytes::

    connection = Connection.client_side(handshake, allocate)
    sock.sendall(connection.take_outgoing())
    while not connection.established:
        received = sock.recv(65536)
        if not received:
            connection.eof()
        messages = connection.receive(received)
        sock.sendall(connection.take_outgoing())

`take_outgoing` has something after `client_side`, during the handshake, and after an
error: the refusal, or the failure and goodbye that tell the peer. A shell that catches
an error from `receive`, `filled` or `eof` sends those bytes, if it can, and closes.
"""

from __future__ import annotations

import struct
from enum import Enum
from typing import NoReturn

from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge, RemoteProtocolError
from bgpy.wire.frames import HEADER_SIZE, Allocate, Frame, FrameReader, Piece, SizeLimits
from bgpy.wire.handshake import ClientHandshake, ServerHandshake
from bgpy.wire.messages import (
    CLIENT_SENDS,
    DECODERS,
    ENCODERS,
    SERVER_SENDS,
    Failure,
    Goodbye,
    Message,
    Reason,
    encode,
)


class State(Enum):
    """Where a connection is in its life."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


class Event(Enum):
    """What moves a connection on."""

    PROVED = "proved"
    BROKEN = "broken"
    END = "end of stream"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.HANDSHAKE, Event.PROVED): State.OPEN,
    (State.HANDSHAKE, Event.BROKEN): State.FAILED,
    (State.OPEN, Event.BROKEN): State.FAILED,
    (State.OPEN, Event.END): State.CLOSED,
}


class Connection:
    """One peer. Make it with `server_side` or `client_side`.

    Any error that `receive`, `filled` or `eof` raise is final. `send` may be called
    from any thread, the rest from one at a time.
    """

    __slots__ = (
        "_allocate",
        "_handshake",
        "_limits",
        "_open_kinds",
        "_outgoing",
        "_plain_size",
        "_reader",
        "_sends",
        "_takes",
        "state",
    )

    def __init__(
        self,
        handshake: ClientHandshake | ServerHandshake,
        limits: SizeLimits | None,
        allocate: Allocate,
    ) -> None:
        self.state = State.HANDSHAKE
        self._handshake = handshake
        self._limits = limits
        self._allocate = allocate
        if isinstance(handshake, ServerHandshake):
            self._outgoing = b""
            self._open_kinds, self._takes = SERVER_SENDS, CLIENT_SENDS
        else:
            self._outgoing = handshake.hello()
            self._open_kinds, self._takes = CLIENT_SENDS, SERVER_SENDS
        # Empty while not open, so that one look tells `send` both state and direction.
        self._sends: frozenset[int] = frozenset()
        self._plain_size = 0
        self._reader: FrameReader | None = None

    @classmethod
    def server_side(
        cls, handshake: ServerHandshake, limits: SizeLimits, allocate: Allocate
    ) -> Connection:
        """Make the server's side; `limits` are those that the handshake's terms announce."""
        return cls(handshake, limits, allocate)

    @classmethod
    def client_side(cls, handshake: ClientHandshake, allocate: Allocate) -> Connection:
        """Make the client's side; the limits are the ones that the server announces."""
        return cls(handshake, None, allocate)

    @property
    def established(self) -> bool:
        """Whether the handshake is done and messages can be sent."""
        return self.state is State.OPEN

    @property
    def failed_request(self) -> int:
        """The id of the request that broke the connection, 0 where there is none."""
        return 0 if self._reader is None else self._reader.failed_request

    def take_outgoing(self) -> bytes:
        """Give the bytes that the handshake or an error has to send, and forget them."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: memoryview | bytes) -> list[Message]:
        """Take received bytes (valid during the call), give the messages that are whole.

        Raises what the handshake and `FrameReader.feed` raise, and `RemoteProtocolError`
        for frames that are no message.
        """
        reader = self._reader
        if reader is None:
            return self._shake_hands(data)
        messages: list[Message] = []
        frame: Frame | None = None
        try:
            for frame in reader.feed(data):
                messages.append(DECODERS[frame[0]](frame))
        except BgpyError as error:
            self._fail(error, frame)
        return messages

    def target(self) -> memoryview | None:
        """Give the memory where the next bytes belong, if a large part is under way."""
        reader = self._reader
        return None if reader is None or reader.idle else reader.target()

    def filled(self, size: int) -> list[Message]:
        """Take note that `size` bytes were received into `target()`; else like `receive`."""
        reader = self._reader
        if reader is None:
            raise LocalProtocolError("nothing can be filled before the handshake is done")
        messages: list[Message] = []
        frame: Frame | None = None
        try:
            for frame in reader.filled(size):
                messages.append(DECODERS[frame[0]](frame))
        except BgpyError as error:
            self._fail(error, frame)
        return messages

    def send(self, message: Message) -> list[Piece]:
        """Give the bytes of `message` as pieces, to be sent in this order.

        Raises `MessageTooLarge` where it is over the limits that both sides share, and
        `LocalProtocolError` where this side can't say it (yet); the connection stays
        usable after both.
        """
        pieces = ENCODERS[message.__class__](message)
        first = pieces[0]
        if first[0] not in self._sends:
            name = type(message).__name__
            raise LocalProtocolError(
                f"{name} can't be sent on this side of a connection that is {self.state.value}"
            )
        if len(pieces) > 1 or len(first) > self._plain_size:
            self._check_size(pieces)
        return pieces

    def eof(self) -> None:
        """Take note that the peer sends nothing more.

        Raises `RemoteProtocolError` in the middle of the handshake or of a frame.
        """
        if self.state in (State.CLOSED, State.FAILED):
            return
        if self._reader is None or not self._reader.idle:
            where = "during the handshake" if self._reader is None else "within a message"
            self._fail(RemoteProtocolError(f"the other side closed the connection {where}"))
        self._move(Event.END)

    def _shake_hands(self, data: memoryview | bytes) -> list[Message]:
        handshake = self._handshake
        try:
            self._outgoing += handshake.receive(data)
            if handshake.refused:
                raise RemoteProtocolError(f"the client was refused: {handshake.refused}")
        except BgpyError as error:
            self._fail(error)
        if not handshake.done:
            return []
        self._open()
        rest, handshake.rest = handshake.rest, b""
        return self.receive(rest) if rest else []

    def _open(self) -> None:
        handshake = self._handshake
        limits = handshake.terms if isinstance(handshake, ClientHandshake) else self._limits
        assert limits is not None
        self._limits = limits
        self._reader = FrameReader(limits, self._allocate, self._takes)
        self._sends = self._open_kinds
        # One piece of this size keeps both limits, whatever it holds.
        self._plain_size = HEADER_SIZE + min(limits.max_message, 8 * limits.max_buffers)
        self._move(Event.PROVED)

    def _check_size(self, pieces: list[Piece]) -> None:
        limits = self._limits
        assert limits is not None
        (count,) = struct.unpack_from("<H", pieces[0], 2)
        size = sum(map(len, pieces)) - HEADER_SIZE - 8 * count
        if size > limits.max_message:
            raise MessageTooLarge(
                f"a message of {size} bytes can't be sent: the server's limit is "
                f"{limits.max_message} bytes (max_message)"
            )
        if count > limits.max_buffers:
            raise MessageTooLarge(
                f"a message of {count} buffers can't be sent: the server's limit is "
                f"{limits.max_buffers} (max_buffers)"
            )

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]

    def _fail(self, error: BgpyError, frame: Frame | None = None) -> NoReturn:
        """Tell the peer, once, if it can understand; then raise `error`."""
        if frame is not None and self._reader is not None:
            self._reader.refuse(frame.request, error)
        if self.state is State.OPEN:
            self._outgoing += b"".join(self._farewell(error))
        if (self.state, Event.BROKEN) in TRANSITIONS:
            self._move(Event.BROKEN)
        self._sends = frozenset()
        raise error

    def _farewell(self, error: BgpyError) -> list[Piece]:
        pieces = encode(Goodbye(str(error)))
        if isinstance(self._handshake, ClientHandshake):
            return pieces
        reason = Reason.TOO_LARGE if isinstance(error, MessageTooLarge) else Reason.PROTOCOL
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        return encode(Failure(self.failed_request, reason, name, str(error))) + pieces
