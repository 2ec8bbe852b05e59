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
an error from `receive`, `reader` or `eof` sends those bytes, if it can, and closes.
"""

from __future__ import annotations

import struct
from enum import Enum
from functools import lru_cache
from typing import Any, NoReturn

from bgpy.config import short_roads
from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge, RemoteProtocolError
from bgpy.memory import Allocate, Payload, Piece, Within
from bgpy.wire.frames import (
    HEADER_SIZE,
    MOST_BUFFERS,
    SMALL,
    FrameReader,
    SizeLimits,
    pack_header,
)
from bgpy.wire.handshake import ClientHandshake, ServerHandshake
from bgpy.wire.messages import (
    CODEC_PICKLE,
    Execute,
    Failure,
    Goodbye,
    Message,
    Reason,
)
from bgpy.wire.small import SMALL_CALL
from bgpy.wire.table import NUMBERS, TO_CLIENT, TO_SERVER, Encoders, encode

_EXECUTE = NUMBERS[Execute]
_PICKLED = CODEC_PICKLE << 4


class ConnectionState(Enum):
    """Where a connection is in its life."""

    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


class ConnectionEvent(Enum):
    """What moves a connection on."""

    PROVED = "proved"
    BROKEN = "broken"
    END = "end of stream"


TRANSITIONS: dict[tuple[ConnectionState, ConnectionEvent], ConnectionState] = {
    (ConnectionState.HANDSHAKE, ConnectionEvent.PROVED): ConnectionState.OPEN,
    (ConnectionState.HANDSHAKE, ConnectionEvent.BROKEN): ConnectionState.FAILED,
    (ConnectionState.OPEN, ConnectionEvent.BROKEN): ConnectionState.FAILED,
    (ConnectionState.OPEN, ConnectionEvent.END): ConnectionState.CLOSED,
}


class Connection:
    """One peer. Make it with `server_side` or `client_side`.

    Any error that `receive`, `reader` or `eof` raise is final. What is received belongs to one
    thread at a time: `receive`, `reader`, `eof`, `take_outgoing`. `send` and `execute` may be
    called from any thread, meanwhile too: they read what the handshake has set, or, once
    the connection has broken, that nothing can be sent any more.
    """

    __slots__ = (
        "_allocate",
        "_encoders",
        "_handshake",
        "_is_client",
        "_limits",
        "_most_buffers",
        "_outgoing",
        "_plain_size",
        "_state",
        "_within",
        "plain_head",
        "reader",
        "small_head",
    )

    def __init__(
        self,
        handshake: ClientHandshake | ServerHandshake,
        limits: SizeLimits | None,
        allocate: Allocate,
        within: Within | None,
    ) -> None:
        self._state = ConnectionState.HANDSHAKE
        self._handshake: ClientHandshake | ServerHandshake | None = handshake  # until it is done
        self._is_client = isinstance(handshake, ClientHandshake)
        self._limits = limits
        self._allocate = allocate
        self._within = within
        self._most_buffers = 0
        self._outgoing = handshake.hello() if isinstance(handshake, ClientHandshake) else b""
        # Empty while not open, so that one look tells `send` both state and direction.
        self._encoders: Encoders = {}
        self._plain_size = 0
        self.plain_head = -1
        """Bytes of the largest head of one piece that keeps all limits; -1 while not open."""
        self.small_head = -1
        """The same, of what may take the short roads; -1 too where those are switched off."""
        self.reader: FrameReader[Message] | None = None
        """Takes what is received once the handshake is done; None before.

        A shell may feed it directly: an error of its own breaks the connection.
        """

    @classmethod
    def server_side(
        cls,
        handshake: ServerHandshake,
        limits: SizeLimits,
        allocate: Allocate,
        within: Within | None = None,
    ) -> Connection:
        """Make the server's side; `limits` are those that the handshake's terms announce.

        `within` is the codec's way to send a payload of more buffers than the limits
        allow; without it such a payload is refused.
        """
        return cls(handshake, limits, allocate, within)

    @classmethod
    def client_side(
        cls, handshake: ClientHandshake, allocate: Allocate, within: Within | None = None
    ) -> Connection:
        """Make the client's side; the limits are the ones that the server announces."""
        return cls(handshake, None, allocate, within)

    @property
    def state(self) -> ConnectionState:
        """Where the connection is in its life."""
        failed = self.reader is not None and self.reader.error is not None
        return ConnectionState.FAILED if failed else self._state

    @property
    def established(self) -> bool:
        """Whether the handshake is done and messages can be sent."""
        return self.state is ConnectionState.OPEN

    @property
    def failed_request(self) -> int:
        """The id of the request that broke the connection, 0 where there is none."""
        return 0 if self.reader is None else self.reader.failed_request

    def take_outgoing(self) -> bytes:
        """Give the bytes that the handshake or an error has to send, and forget them."""
        if self.reader is not None and self.reader.error is not None:
            self._break(self.reader.error)
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: memoryview | bytes) -> list[Message]:
        """Take received bytes (valid during the call), give the messages that are whole.

        Raises what the handshake and `FrameReader.feed` raise, and `RemoteProtocolError`
        for frames that are no message.
        """
        if self.reader is None:
            return self._shake_hands(data)
        try:
            return self.reader.feed(data)
        except BgpyError as error:
            self._fail(error)

    def send(self, message: Message) -> list[Piece]:
        """Give the bytes of `message` as pieces, to be sent in this order.

        Raises `MessageTooLarge` where it is over the limits that both sides share, and
        `LocalProtocolError` where this side can't say it (yet); the connection stays
        usable after both.
        """
        encode = self._encoders.get(message.__class__)
        if encode is None:
            raise LocalProtocolError(
                f"{type(message).__name__} can't be sent on this side of a connection "
                f"that is {self.state.value}"
            )
        buffers = getattr(message, "buffers", None)
        if buffers and len(buffers) > self._most_buffers:
            message = self._with_fewer_buffers(message)
        pieces = encode(message)
        if len(pieces) > 1 or len(pieces[0]) > self._plain_size:
            self._check_size(pieces)
        return pieces

    def execute(
        self, request: int, payload: Payload, wait: bool, extensions: bytes = b""
    ) -> list[Piece]:
        """As `send` of an `Execute` with a pickled payload, in few steps where it is small."""
        head, buffers, code = payload
        if (
            code
            or buffers
            or extensions
            or head.__class__ is not bytes
            or len(head) > self.plain_head
        ):
            return self.send(Execute(request, head, buffers, CODEC_PICKLE, code, wait, extensions))
        return [pack_header(_EXECUTE, _PICKLED | wait, 0, len(head), request) + head]

    def eof(self) -> None:
        """Take note that the peer sends nothing more.

        Raises `RemoteProtocolError` in the middle of the handshake or of a frame.
        """
        if self.state in (ConnectionState.CLOSED, ConnectionState.FAILED):
            return
        if self.reader is None or not self.reader.idle:
            where = "during the handshake" if self.reader is None else "within a message"
            text = f"the other side closed the connection {where}"
            if isinstance(self._handshake, ServerHandshake) and self._handshake.awaits_proof:
                text = (
                    "the client hung up during authentication: its token is wrong or missing, or "
                    "it gave up waiting, as while a task kept the server from answering"
                )
            self._fail(RemoteProtocolError(text))
        self._move(ConnectionEvent.END)

    def _break(self, error: BgpyError) -> None:
        """Take note of the error that ends it, and tell the peer if it can understand."""
        if self._state is ConnectionState.OPEN:
            self._outgoing += b"".join(self._farewell(error))
        if (self._state, ConnectionEvent.BROKEN) in TRANSITIONS:
            self._move(ConnectionEvent.BROKEN)
        self._encoders = {}
        self.plain_head = self.small_head = -1

    def _shake_hands(self, data: memoryview | bytes) -> list[Message]:
        handshake = self._handshake
        assert handshake is not None
        try:
            self._outgoing += handshake.receive(data)
            if handshake.refused:
                raise RemoteProtocolError(f"the client was refused: {handshake.refused}")
        except BgpyError as error:
            self._fail(error)
        if not handshake.done:
            return []
        self._open(handshake)
        return self.receive(handshake.rest) if handshake.rest else []

    def _open(self, handshake: ClientHandshake | ServerHandshake) -> None:
        self._handshake = None
        if isinstance(handshake, ClientHandshake):
            self._limits, sends, takes = handshake.terms, TO_SERVER, TO_CLIENT
        else:
            sends, takes = TO_CLIENT, TO_SERVER
        limits = self._limits
        assert limits is not None
        self.reader = FrameReader(limits, self._allocate, takes.decoders)
        self._encoders = sends.encoders
        # One piece of this size keeps both limits, whatever it holds.
        self._plain_size = _plain_size(limits.max_message, limits.max_buffers)
        self.plain_head = min(limits.max_message, SMALL)
        self.small_head = min(self.plain_head, SMALL_CALL) if short_roads() else -1
        self._most_buffers = min(limits.max_buffers, MOST_BUFFERS)
        self._move(ConnectionEvent.PROVED)

    def _with_fewer_buffers(self, message: Any) -> Any:
        """`message` with as many buffers as the limits allow, if the codec has a way."""
        if self._within is None or message.codec != CODEC_PICKLE:
            return message
        payload = (message.head, message.buffers, message.code)
        head, buffers, _ = self._within(payload, self._most_buffers)
        return message._replace(head=head, buffers=buffers)

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

    def _move(self, event: ConnectionEvent) -> None:
        self._state = TRANSITIONS[self._state, event]

    def _fail(self, error: BgpyError) -> NoReturn:
        self._break(error)
        try:
            raise error
        finally:
            del error  # else its traceback and this frame would keep each other, and all below

    def _farewell(self, error: BgpyError) -> list[Piece]:
        pieces = encode(Goodbye(str(error)))
        if self._is_client:
            return pieces
        reason = Reason.TOO_LARGE if isinstance(error, MessageTooLarge) else Reason.PROTOCOL
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        return encode(Failure(self.failed_request, reason, name, str(error))) + pieces


@lru_cache(maxsize=4)
def _plain_size(max_message: int, max_buffers: int) -> int:
    """One number for all connections of a server, not an object for each."""
    return HEADER_SIZE + min(max_message, 8 * max_buffers)
