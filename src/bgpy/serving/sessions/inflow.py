"""What comes in through one session: bytes to messages, and the memory of those under way.

::

    socket ──► one small execute, or a row of them ──► the short road  (`bgpy.serving.road`)
         ├───► one whole small message, or several ──► handlers
         └───► a part of a large one ──► received where it belongs ──► handlers

All small messages of all sessions are received into one buffer; what stays longer than the
call is copied out of it. All of this belongs to the thread that polls. An exception that
strikes there closes the session, and with that all that was under way.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from bgpy.errors import LocalProtocolError
from bgpy.serving.budget import NO_ROOM
from bgpy.serving.io.poller import ALONE, READ
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.intake import Intake
from bgpy.serving.sessions.life import ACTED_ON, SessionState
from bgpy.serving.sessions.owner import SessionContext
from bgpy.serving.sessions.stall import Stall
from bgpy.serving.sessions.watch import Watch
from bgpy.wire.frames import FrameReader
from bgpy.wire.messages import Failure, Message, Reason

DIRECT_READS = 16
"""Receives into one large message before other clients get their turn."""


class Receiver(Protocol):
    """The session, as far as what comes needs it."""

    state: SessionState

    @property
    def held(self) -> int:
        """Bytes that the server keeps for the client, but for what is under way."""

    def shake_hands(self) -> None:
        """Receive a part of the handshake."""

    def send(self, message: Message) -> None:
        """Send `message`."""

    def ended(self) -> None:
        """Nothing more comes."""

    def drop(self, outcome: str) -> None:
        """Close without a word."""

    def ready_for(self, events: int) -> None:
        """The socket is ready, and there may be more to do than to read."""

    def failed(self, error: BaseException) -> None:
        """What is done about that which reading, or what it brought, has raised."""


R = TypeVar("R", bound=Receiver)

_OPEN = SessionState.OPEN


class Inflow(Generic[R]):
    """Receives for one session, and has its messages acted on."""

    __slots__ = (
        "_context",
        "_handlers",
        "_intake",
        "_receive_into",
        "_road",
        "_session",
        "_shared",
        "_transport",
        "_view",
        "_watch",
        "reader",
    )

    def __init__(
        self, session: R, context: SessionContext[R], transport: Transport, watch: Watch
    ) -> None:
        self._session = session
        self._context = context
        self._transport = transport
        self._watch = watch
        self._intake: Intake | None = None  # until a message comes in parts
        self.reader: FrameReader[Message] | None = None
        """Makes messages of bytes; None until the client has proved the token."""
        # Looked up once: they are needed for each call.
        self._shared, self._view, owner = context.shared, context.view, context.owner
        self._handlers, self._road = owner.handlers, owner.road
        self._receive_into = transport.sock.recv_into

    def ready(self, events: int) -> None:
        """The socket is ready for `events`: read what may be read.

        Where it is ready `ALONE`, on the task thread while no job waits, what comes may run next.
        """
        session = self._session
        try:
            if session.state is not _OPEN or (events != ALONE and events != READ):
                session.ready_for(events)
            elif events == READ or (reader := self.reader) is None or not reader.idle:
                self.read()
            else:
                receive_into = self._receive_into  # methods that are attributes are called slowly
                count = receive_into(self._view)
                if not self._road.take_alone(session, self._shared, count):
                    self._act_on(reader, count, True)
        except BaseException as error:
            session.failed(error)

    def read(self) -> None:
        """Receive once, or a few times into one large message, and act on what is whole."""
        reader = self.reader
        if reader is None:
            self._session.shake_hands()
        elif reader.target is not None:
            self._read_large(reader)
        else:
            self._act_on(reader, self._receive_into(self._view), False)

    def _act_on(self, reader: FrameReader[Message], count: int, alone: bool) -> None:
        """Act on the `count` bytes that were received; 0 are the end."""
        if not count:
            self._session.ended()
            return
        used = 0
        if reader.idle:
            used = self._road.take_row(self._session, self._shared, count, alone)
            if used == count:
                return
        messages = reader.feed(self._view[used:count])
        self.came(reader, messages)
        if not messages:
            self._read_large(reader)

    def receive_some(self, memory: memoryview) -> int:
        """Bytes received into `memory`; 0 if nothing is there, and at the end, which closes."""
        count = self._transport.receive_into(memory)
        if count == 0:
            self._session.ended()
        return count or 0

    def came(self, reader: FrameReader[Message], messages: list[Message]) -> None:
        """Act on what came whole, and look after what is under way."""
        if self._intake is not None or not reader.idle:
            self._own_intake().look_after(reader)
        if reader.thrown:
            for request in reader.take_thrown():
                self._session.send(Failure(request, Reason.OVERLOAD, text=NO_ROOM))
        for message in messages:
            if self._session.state not in ACTED_ON:
                return
            self._handlers[message.__class__](self._session, message)

    def allocate(self, size: int) -> memoryview | None:
        """Memory for a part of a message, if there is any for this client."""
        return self._own_intake().allocate(size)

    def close(self) -> None:
        """Give up what is under way."""
        if self._intake is not None:
            self._intake.close()
        if self.reader is not None:
            self.reader.refuse(0, LocalProtocolError("closed"))

    def _read_large(self, reader: FrameReader[Message]) -> None:
        """Receive into the memory of a large message, if one is under way."""
        for _ in range(DIRECT_READS):
            target = reader.target
            if target is None:
                return
            count = self.receive_some(target)
            if not count:
                return
            messages = reader.filled(count)
            self.came(reader, messages)
            if messages:
                return

    def _own_intake(self) -> Intake:
        if self._intake is None:
            context, session = self._context, self._session
            seconds = context.limits.message_timeout
            stall = Stall(context.reactor, seconds, self._progress, self._no_progress)
            self._intake = Intake(context.budget, lambda: session.held, stall)
        return self._intake

    def _progress(self) -> int | None:
        """How often something of a message under way has come; None if none is under way."""
        reader, intake = self.reader, self._intake
        over = self._session.state not in ACTED_ON
        if over or reader is None or reader.idle or intake is None:
            return None
        if not self._watch.events & READ:
            intake.receives += 1  # that nothing comes isn't the client's fault
        return intake.receives

    def _no_progress(self) -> None:
        seconds = self._context.limits.message_timeout
        self._session.drop(f"dropped: nothing more of a message came for {seconds} s")
