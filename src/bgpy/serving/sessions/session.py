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
server closes *lingers*, if its client may not have read all or sends still: it sends what
is left and ends its side, then reads and drops until the client ends the other, or some
time is over. Closed over unread bytes the connection would be reset, and what the client
has not read yet would be thrown away.

All state here belongs to the thread that polls. An exception of a signal handler's that
strikes there closes the session which it struck, and only that: part of a message may
be lost. Closing is done in steps that may be done again; the first leaves them with the
reactor, so that they are done whatever strikes.
"""

from __future__ import annotations

import logging
from functools import partial

from bgpy.codec.payload import within
from bgpy.config import Limits
from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge
from bgpy.memory import Payload
from bgpy.serving.budget import Budget
from bgpy.serving.io.poller import READ, STRUCK, WRITE
from bgpy.serving.io.reactor import Deadline, Reactor
from bgpy.serving.io.transport import Transport
from bgpy.serving.queue import Overloaded
from bgpy.serving.sessions.intake import Intake
from bgpy.serving.sessions.outflow import Outflow
from bgpy.serving.sessions.owner import SessionOwner
from bgpy.serving.sessions.stall import Stall
from bgpy.wire.connection import Connection
from bgpy.wire.frames import FrameReader
from bgpy.wire.handshake import ServerHandshake
from bgpy.wire.messages import Failure, Goodbye, Message, Reason

log = logging.getLogger("bgpy.server")

DIRECT_READS = 16
"""Receives into one large message before other clients get their turn."""

UNSURE = ~(READ | WRITE)
"""What is watched where an exception may have struck while that was changed."""

LINGER = 1.0
"""Seconds that a client has to read what it was told before the connection closes."""

OVERLOAD = (
    "the server's memory for requests and replies is used up (max_memory): this request did not "
    "start; send it again later"
)


class Session:
    """A client's connection to this server."""

    def __init__(
        self,
        transport: Transport,
        peer: str,
        handshake: ServerHandshake,
        limits: Limits,
        reactor: Reactor,
        service: SessionOwner[Session],
        shared: memoryview,
        budget: Budget,
    ) -> None:
        self.peer = peer
        self.client_id = b""
        """Empty until the client has proved the token."""
        self.outcome = "left"
        """How it ended, for the log."""
        self._transport = transport
        self._receive = transport.direct()[0]
        self._handshake = handshake
        self._limits = limits
        self._reader: FrameReader[Message] | None = None  # until the client has proved the token
        self._reactor = reactor
        self._service = service
        self._handlers = service.handlers
        self._shared = shared
        outflow = Outflow(transport, limits, budget, partial(reactor.change, self._attend))
        self._outflow = outflow
        self._send = outflow.send
        self._intake = Intake(budget, lambda: service.queued(handshake.client_id) + outflow.size)
        self._connection = Connection.server_side(handshake, limits, self._intake.allocate, within)
        self._clogged = False
        self._paused: set[str] = set()
        self._watched = READ
        self._open = True
        self._told = False  # the service knows that it is closed
        self._lost = False  # nothing can be sent any more
        self._lingering: Deadline | None = None
        self._half_closed = False
        self._deadline: Deadline | None = None
        self._received = 0  # receives of messages that came in parts, ever
        self._half: Stall | None = None  # looks whether the one under way goes on

    def open(self) -> None:
        """Begin to read; called by the holder of the polling role."""
        self._deadline = self._reactor.after(
            self._limits.handshake_timeout, self._handshake_expired
        )
        self._reactor.register(self._transport.sock, READ, self._ready)

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
        except (BlockingIOError, InterruptedError):
            pass  # nothing is there after all
        except BgpyError as error:
            self.outcome = f"closed: {error}"
            self._linger(self._connection.take_outgoing())
        except OSError as error:
            self.outcome = f"lost: {error}"
            self._close()
        except BaseException as error:
            self.outcome = "failed"
            self._close()  # first: another may strike
            log.exception("%s: closed after an unexpected failure", self.peer)
            if not isinstance(error, Exception):
                raise

    def _ready_for(self, events: int) -> None:
        """As `_ready`, where there is more to do than to read."""
        if not self._open or events == STRUCK:
            self._close()  # what was begun, and interrupted
        elif self._lingering is not None:
            self._drop_and_end()
        else:
            self._attend()
            if events & READ and self._watched & READ and self._open:
                self._read()

    def _read(self) -> None:
        reader = self._reader
        if reader is None:
            if self._open:
                self._shake_hands()
        elif reader.target is not None:
            self._read_large(reader)
        elif count := self._receive(self._shared):
            message = reader.lone(self._shared, count)
            if message is not None:
                try:
                    self._handlers[message.__class__](self, message)
                except Overloaded:
                    self._refuse(message.request)
            else:
                messages = reader.feed(self._shared[:count])
                self._came(reader, messages)
                if not messages:
                    self._read_large(reader)
        elif count is not None:
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
        if self._intake.counted or not reader.idle:
            if not self._intake.came(*reader.under_way):
                reader.throw_away()
                self._intake.came(*reader.under_way)
            self._look_for_more(reader)
        if reader.thrown:
            for request in reader.take_thrown():
                self._refuse(request)
        for message in messages:
            if not self._open or self._lingering is not None:
                return
            try:
                self._handlers[message.__class__](self, message)
            except Overloaded:
                self._refuse(message.request)

    def _refuse(self, request: int) -> None:
        self.send(Failure(request, Reason.OVERLOAD, text=OVERLOAD))

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
            self.client_id = self._handshake.client_id
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

    def _look_for_more(self, reader: FrameReader[Message]) -> None:
        """Drop the client if nothing of a message that is under way comes for long.

        No clock is looked at when bytes come, and no timer set for messages that come whole.
        """
        if reader.idle:
            return
        self._received += 1
        if self._half is None:
            seconds = self._limits.message_timeout
            text = f"dropped: nothing more of a message came for {seconds} s"
            self._half = Stall(self._reactor, seconds, self._progress, partial(self.drop, text))
        self._half.watch()

    def _progress(self) -> int | None:
        """How much has come of messages under way; None if none is."""
        reader = self._reader
        if not self._open or self._lingering is not None or reader is None or reader.idle:
            return None
        if not self._watched & READ:
            self._received += 1  # it isn't the client's fault
        return self._received

    # What the outflow can do no more, or again, on the thread that polls

    def _attend(self) -> None:
        """Send what waits, and look what has become of sending."""
        if not self._open:
            return
        outflow = self._outflow
        outflow.flush()
        if self._lingering is not None:
            self._half_close()
            return
        if outflow.lost is not None and not self._lost:
            self._lose(outflow.lost)
        if outflow.clogged is not self._clogged:
            clogged = outflow.clogged
            if clogged:
                self._service.clogged(self)
                self._wait_for_reader()
            else:
                self._service.cleared(self)
            self._clogged = clogged  # only now: what is struck before is done again
        self._watch_for()

    def _lose(self, error: BaseException) -> None:
        """Nothing can be sent any more: what was received before still counts."""
        self.outcome = f"lost: {error}"
        if not isinstance(error, OSError) or self._reader is None:
            self.outcome = f"dropped: {error}"
            self._close()
        else:
            # A peer that ended but one side could go on asking for ever.
            self._reactor.after(self._limits.stall_timeout, self._close)
        self._lost = True  # only now: what is struck before is done again

    def _watch_for(self) -> None:
        """Have the reactor watch for what can go on: reading, writing, both or none."""
        if not self._open:
            return
        reads = not self._paused and not self._clogged
        events = (READ if reads else 0) | (WRITE if self._outflow.waiting else 0)
        self._watch(events)

    def _watch(self, events: int) -> None:
        before, sock = self._watched, self._transport.sock
        if events == before:
            return
        self._watched = UNSURE  # until it is done: what is struck between is done again
        if before == UNSURE or not events:
            self._reactor.unregister(sock)
            before = 0
        if events and before:
            self._reactor.modify(sock, events, self._ready)
        elif events:
            self._reactor.register(sock, events, self._ready)
        self._watched = events

    def _wait_for_reader(self) -> None:
        """Drop the client if it takes nothing at all for long."""
        outflow = self._outflow
        taken = lambda: outflow.taken if self._open and outflow.clogged else None  # noqa: E731
        Stall(self._reactor, self._limits.stall_timeout, taken, self._stalled).watch()

    def _stalled(self) -> None:
        left, seconds = self._outflow.size, self._limits.stall_timeout
        self.drop(f"dropped: it left {left} bytes of replies unread for {seconds} s")

    # Back-pressure, on the thread that polls

    def pause(self, reason: str = "requests") -> None:
        """Read no more until `resume` for the same reason."""
        self._paused.add(reason)
        if self._lingering is None:
            self._watch_for()

    def resume(self, reason: str = "requests") -> None:
        """Read again, if there is no other reason not to."""
        self._paused.discard(reason)
        if self._lingering is None:
            self._watch_for()

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
            self._close()  # a stranger that hears nothing
            return
        if last:
            self._send([last], False)
        self._lingering = self._reactor.after(LINGER, self._close)
        self._half_close()

    def _half_close(self) -> None:
        """End this side once everything has left."""
        if self._outflow.lost is not None:
            self._close()
        elif self._outflow.waiting:
            self._watch(READ | WRITE)
        else:
            self._watch(READ)
            if not self._half_closed:
                self._half_closed = True
                self._transport.end()

    def _drop_and_end(self) -> None:
        """While it lingers: send on, and drop what comes until the client ends its side."""
        self._attend()
        if self._open and self._transport.receive_into(self._shared) == 0:
            self._close()

    def _close(self) -> None:
        """Close by unregister, shutdown, close; all of it may be done again."""
        if self._told:
            return
        self._reactor.change(self._close)  # for what an exception leaves undone here
        self._open = False
        for deadline in (self._deadline, self._lingering):
            if deadline is not None:
                deadline.cancel()
        self._intake.close()
        if self._reader is not None:
            self._reader.refuse(0, LocalProtocolError("closed"))  # and give up what is under way
        sock = self._transport.sock
        if self._watched and sock.fileno() >= 0:
            self._reactor.unregister(sock)
            self._watched = 0
        self._transport.shut_down()
        if self._outflow.close():  # else who sends closes, so that it meets no other's descriptor
            self._transport.close()
        self._service.closed(self)
        self._told = True
