"""One connection of one client: bytes from its transport to messages, and its life.

::

    handshake ─► open ─► lingering ─► closed
                   └────────────────────^

Reading happens on the thread that polls; what is sent goes through the `Outflow`.

A client that leaves replies unread is *clogged* beyond a limit: it isn't read and
nothing more runs for it until it has taken half of them; it is dropped if it takes
nothing at all for a time. A client is *paused* while its line of requests is full.

What a client sent is read before its session closes: at the end of the stream, which is
read last, and also where nothing can be sent to it any more (*lost*). A session that the
server closes *lingers*, if its client may not have read all or sends still
(`bgpy.serving.sessions.lingering`).

All state here belongs to the thread that polls. An exception of a signal handler's that
strikes there closes the session which it struck, and only that: part of a message may
be lost. Closing is done in steps that may be done again; the first leaves them with the
reactor, so that they are done whatever strikes.
"""

from __future__ import annotations

import logging

from bgpy.codec.payload import within
from bgpy.config import Limits, short_roads
from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge
from bgpy.memory import Payload
from bgpy.serving.budget import NO_ROOM, Budget
from bgpy.serving.io.poller import READ, STRUCK
from bgpy.serving.io.reactor import Deadline, Reactor
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.intake import Intake
from bgpy.serving.sessions.lingering import LINGER, Lingering
from bgpy.serving.sessions.outflow import Outflow
from bgpy.serving.sessions.owner import SessionOwner
from bgpy.serving.sessions.stall import Stall
from bgpy.serving.sessions.watch import Pause, Watch
from bgpy.system.strikes import is_strike
from bgpy.wire.connection import Connection
from bgpy.wire.frames import FrameReader
from bgpy.wire.handshake import ServerHandshake
from bgpy.wire.messages import Failure, Goodbye, Message, Reason
from bgpy.wire.small import REPLY, SMALL_CALL, pack_start

log = logging.getLogger("bgpy.server")

DIRECT_READS = 16
"""Receives into one large message before other clients get their turn."""


class Session:
    """A client's connection to this server.

    Most are quiet: what one needs only while something waits or is under way is made then.
    """

    __slots__ = (
        "_budget",
        "_connection",
        "_deadline",
        "_handlers",
        "_handshake",
        "_intake",
        "_limits",
        "_lingering",
        "_lost",
        "_open",
        "_outflow",
        "_reactor",
        "_reader",
        "_send",
        "_service",
        "_shared",
        "_small",
        "_told",
        "_transport",
        "_watch",
        "client_id",
        "name",
        "outcome",
    )

    def __init__(
        self,
        transport: Transport,
        name: str,
        handshake: ServerHandshake,
        limits: Limits,
        reactor: Reactor,
        service: SessionOwner[Session],
        shared: memoryview,
        budget: Budget,
    ) -> None:
        self.name = name
        """Where its client is, for the log."""
        self.client_id = b""
        """Empty until the client has proved the token."""
        self.outcome = "left"
        """How it ended, for the log."""
        self._budget = budget
        self._transport = transport
        self._handshake: ServerHandshake | None = handshake  # until the client has proved it
        self._limits = limits
        self._reader: FrameReader[Message] | None = None  # until the client has proved the token
        self._reactor = reactor
        self._service = service
        self._handlers = service.handlers
        self._small = min(SMALL_CALL, limits.max_message) if short_roads() else -1
        self._shared = shared
        self._outflow = outflow = Outflow(transport, limits, budget, self._attend_soon)
        self._send = outflow.send  # bound once: it is called for each reply
        self._intake: Intake | None = None  # until a message comes in parts
        self._connection = Connection.server_side(handshake, limits, self._allocate, within)
        self._open = True
        self._told = False  # the service knows that it is closed
        self._lost = False  # what follows from `outflow.lost` has been done
        self._lingering: Lingering | None = None  # while it lingers
        self._deadline: Deadline | None = None
        self._watch = Watch(reactor, transport.sock, self._ready)

    def open(self) -> None:
        """Begin to read; called by the holder of the polling role."""
        self._deadline = self._reactor.after(
            self._limits.handshake_timeout, self._handshake_expired
        )
        self._watch.set(READ)

    @property
    def unsent(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return self._outflow.waiting

    # Sending, from any thread

    def send(self, message: Message) -> None:
        """Send `message`, or queue what the socket doesn't take; dropped if the client is gone.

        Raises `MessageTooLarge` where it is over the limit; nothing was sent then.
        """
        try:
            self._send(self._connection.send(message), False)
        except LocalProtocolError:
            if self._connection.established:
                raise
            # Else the client has broken the protocol, and is about to be closed.

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        """As `send` of a `Reply`.

        With `more` it may wait for the next message, but no longer than to the next poll.
        """
        head, buffers, code = packed
        if (
            head.__class__ is bytes
            and len(head) <= self._small <= self._connection.plain_head
            and not (buffers or code or error)
        ):
            piece = pack_start(REPLY, len(head), request) + head
            if not (more and self._outflow.gather(piece)):
                self._send((piece,), more)
            return
        try:
            self._send(self._connection.reply(request, packed, error), more)
        except LocalProtocolError:
            if self._connection.established:
                raise

    # Reading, on the thread that polls

    def _ready(self, events: int) -> None:
        try:
            if events == READ and self._lingering is None:
                self._read()
            else:
                self._ready_for(events)
        except BaseException as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        """What is done about that which reading, or what it brought, has raised."""
        if isinstance(error, (OSError, BgpyError)) and not is_strike(error):
            if isinstance(error, BgpyError):
                self.outcome = f"closed: {error}"
                self._linger(self._connection.take_outgoing())
            elif not isinstance(error, (BlockingIOError, InterruptedError)):
                self.outcome = f"lost: {error}"
                self._close()
            # Else nothing is there after all.
        else:
            self.outcome = "failed"
            self._close()  # first: another may strike
            log.exception("%s: closed after an unexpected failure", self.name)
            if not isinstance(error, Exception):
                raise

    def _ready_for(self, events: int) -> None:
        """As `_ready`, where there is more to do than to read."""
        if not self._open or events == STRUCK:
            self._close()  # what was begun, and interrupted
        elif self._lingering is not None:
            self._attend()
            if self._open and self._lingering.drop(self._shared):
                self._close()
        else:
            self._attend()
            if events & READ and self._watch.events & READ and self._open:
                self._read()

    def _read(self) -> None:
        reader = self._reader
        if reader is None:
            if self._open:
                self._shake_hands()
        elif reader.target is not None:
            self._read_large(reader)
        elif count := self._transport.sock.recv_into(self._shared):
            data = self._shared
            if reader.idle and (used := self._service.take(self, data, count)):
                if used == count:
                    return
                data, count = data[used:], count - used
            message = reader.lone(data, count)
            if message is not None:
                self._handlers[message.__class__](self, message)
            else:
                messages = reader.feed(data[:count])
                self._came(reader, messages)
                if not messages:
                    self._read_large(reader)
        else:
            self._ended()

    def _read_large(self, reader: FrameReader[Message]) -> None:
        """Receive into the memory of a large message, if one is under way."""
        for _ in range(DIRECT_READS):
            target = reader.target
            if target is None:
                return
            count = self._receive_some(target)
            if not count:
                return
            messages = reader.filled(count)
            self._came(reader, messages)
            if messages:
                return

    def _came(self, reader: FrameReader[Message], messages: list[Message]) -> None:
        """Act on what came whole, and look after what is under way."""
        if self._intake is not None or not reader.idle:
            self._look_after(reader)
        if reader.thrown:
            for request in reader.take_thrown():
                self._refuse(request)
        for message in messages:
            if not self._open or self._lingering is not None:
                return
            self._handlers[message.__class__](self, message)

    def _allocate(self, size: int) -> memoryview | None:
        """Memory for a part of a message, if there is any for this client."""
        return self._own_intake().allocate(size)

    def _own_intake(self) -> Intake:
        if self._intake is None:
            seconds = self._limits.message_timeout
            stall = Stall(self._reactor, seconds, self._progress, self._no_progress)
            self._intake = Intake(self._budget, self._held, stall)
        return self._intake

    def _look_after(self, reader: FrameReader[Message]) -> None:
        """Look after the memory of a message that is under way, or was, and its progress."""
        intake = self._own_intake()
        if not intake.came(*reader.under_way):
            reader.throw_away()
            intake.came(*reader.under_way)
        if not reader.idle:
            intake.proceeds()

    def _held(self) -> int:
        """Bytes that the server keeps for the client, but for what is under way."""
        return self._service.queued(self.client_id) + self._outflow.size

    def _refuse(self, request: int) -> None:
        self.send(Failure(request, Reason.OVERLOAD, text=NO_ROOM))

    def _shake_hands(self) -> None:
        count = self._receive_some(self._shared)
        if not count:
            return
        messages = self._connection.receive(self._shared[:count])
        outgoing = self._connection.take_outgoing()
        if outgoing:
            self._send([outgoing], False)
        self._reader = self._connection.reader
        if self._connection.established and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            assert self._handshake is not None
            self.client_id, self._handshake = self._handshake.client_id, None
            self._service.proved(self)
        if self._reader is not None:
            self._came(self._reader, messages)

    def _receive_some(self, memory: memoryview) -> int:
        """Bytes received into `memory`; 0 if nothing is there, and at the end, which closes."""
        count = self._transport.receive_into(memory)
        if count == 0:
            self._ended()
        return count or 0

    def _ended(self) -> None:
        if not self._lost:
            self._connection.eof()
        self._close()

    def _handshake_expired(self) -> None:
        self.drop("closed: no proof of the token in time")

    def _progress(self) -> int | None:
        """How often something of a message under way has come; None if none is under way."""
        reader, intake = self._reader, self._intake
        over = not self._open or self._lingering is not None
        if over or reader is None or reader.idle or intake is None:
            return None
        if not self._watch.events & READ:
            intake.receives += 1  # that nothing comes isn't the client's fault
        return intake.receives

    def _no_progress(self) -> None:
        seconds = self._limits.message_timeout
        self.drop(f"dropped: nothing more of a message came for {seconds} s")

    # What the outflow can do no more, or again, on the thread that polls

    def _attend_soon(self) -> None:
        """Have the thread that polls look after the outflow; from any thread."""
        self._reactor.change(self._attend)

    def _attend(self) -> None:
        """Send what waits, and look what has become of sending."""
        if not self._open:
            return
        outflow = self._outflow
        outflow.flush()
        if self._lingering is not None:
            if not self._lingering.end_side():
                self._close()
            return
        if outflow.lost is not None and not self._lost:
            self._lose(outflow.lost)
            if not self._open:
                return
        clogged = outflow.clogged
        if clogged is not bool(self._watch.paused & Pause.CLOGGED):
            if clogged:
                self._service.clogged(self)
                self._wait_for_reader()
            else:
                self._service.cleared(self)
            self._pause(Pause.CLOGGED, clogged)  # only now: what is struck before is done again
        self._watch.attend(outflow.waiting)

    def _lose(self, error: BaseException) -> None:
        """Nothing can be sent any more: what was received before still counts."""
        self.outcome = f"lost: {error}"
        if not isinstance(error, OSError) or self._reader is None:
            self.outcome = f"dropped: {error}"
            self._close()
        else:
            # A peer that reads no more could send requests for ever.
            self._reactor.after(self._limits.stall_timeout, self._close)
        self._lost = True  # only now: what is struck before is done again

    def _wait_for_reader(self) -> None:
        """Drop the client if it takes nothing at all for long."""
        outflow = self._outflow
        taken = lambda: outflow.taken if self._open and outflow.clogged else None  # noqa: E731
        Stall(self._reactor, self._limits.stall_timeout, taken, self._stalled).watch()

    def _stalled(self) -> None:
        left, seconds = self._outflow.size, self._limits.stall_timeout
        self.drop(f"dropped: it left {left} bytes of replies unread for {seconds} s")

    # Back-pressure, on the thread that polls

    def pause(self) -> None:
        """Read no more until `resume`: the client's line of requests is full."""
        self._pause(Pause.LINE_FULL, True)

    def resume(self) -> None:
        """Read again, if there is no other reason not to."""
        self._pause(Pause.LINE_FULL, False)

    def _pause(self, reason: Pause, begins: bool) -> None:
        paused = self._watch.paused
        self._watch.paused = paused | reason if begins else paused & ~reason
        if self._open and self._lingering is None:
            self._watch.attend(self._outflow.waiting)

    # The end

    def close(self, farewell: str | None = None) -> None:
        """Close; called by the holder of the polling role.

        With a `farewell` the client is told it as the reason. The session lingers then
        where its client hasn't read everything, or has sent more.
        """
        if not self._open or self._lingering is not None:
            return
        if farewell is None or not self._connection.established:
            self._close()
            return
        self.outcome = farewell
        try:
            self.send(Goodbye(farewell))
        except MessageTooLarge:
            pass  # over a limit that is smaller than a word
        if self._outflow.waiting or self._something_came():
            self._linger(b"")
        else:
            self._close()

    def drop(self, outcome: str) -> None:
        """Close without a word; `outcome` stands in the log."""
        self.outcome = outcome
        self._close()

    def close_in_child(self) -> None:
        """Give back the descriptor in a forked child; the parent's connection stays."""
        self._open = False
        self._transport.close()

    def _something_came(self) -> bool:
        """Drop what has come; whether there was anything."""
        try:
            return bool(self._transport.receive_into(self._shared))
        except (OSError, BgpyError):
            return False

    def _linger(self, last: bytes) -> None:
        """Send `last` and what waits before it, and end this side; then wait for the other's."""
        if not self._open:
            return
        if not last and not self._outflow.waiting and not self._connection.established:
            self._close()  # a stranger is told nothing
            return
        if last:
            self._send([last], False)
        deadline = self._reactor.after(LINGER, self._close)
        self._lingering = lingering = Lingering(
            self._transport, self._outflow, self._watch, deadline
        )
        if not lingering.end_side():
            self._close()

    def _close(self) -> None:
        """Close by unregister, shutdown, close; all of it may be done again."""
        if self._told:
            return
        self._reactor.change(self._close)  # for what an exception leaves undone here
        self._open = False
        if self._deadline is not None:
            self._deadline.cancel()
        if self._lingering is not None:
            self._lingering.deadline.cancel()
        if self._intake is not None:
            self._intake.close()
        if self._reader is not None:
            self._reader.refuse(0, LocalProtocolError("closed"))  # and give up what is under way
        self._watch.close()
        self._transport.shut_down()
        if self._outflow.close():  # else who sends closes, so that it meets no other's descriptor
            self._transport.close()
        self._service.closed(self)
        self._told = True
