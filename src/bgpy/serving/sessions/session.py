"""One connection of one client: bytes from its transport to messages, and back.

Reading happens on the thread that polls; sending on any thread, under the session's
lock: at once if nothing waits before it, else queued until the socket is writable.
Replies to a client that has more requests waiting are gathered, to leave in one send.

A client that leaves replies unread is *clogged* beyond a limit: it isn't read and
nothing more runs for it until it has taken half of them; it is dropped if it takes
nothing at all for a time. A client is *paused* while its line of requests is full.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial

from bgpy.codec.payload import within
from bgpy.config import Limits
from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge
from bgpy.memory import Payload, Piece, allocate
from bgpy.serving.io.poller import READ, WRITE
from bgpy.serving.io.reactor import Deadline, Reactor
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.owner import SessionOwner
from bgpy.serving.sessions.send_buffer import SendBuffer, after
from bgpy.wire.connection import Connection
from bgpy.wire.frames import FrameReader
from bgpy.wire.handshake import ServerHandshake
from bgpy.wire.messages import Goodbye, Message

log = logging.getLogger("bgpy.server")

PATIENCE = 0.05
"""Seconds that a sender waits for a reader that takes bytes, before it keeps a copy."""

GATHERED = 2**16
"""Bytes of replies that are gathered at most before they leave."""

DIRECT_READS = 16
"""Receives into one large message before other clients get their turn."""


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
    ) -> None:
        self.peer = peer
        self.client_id = b""
        """Empty until the client has proved the token."""
        self._transport = transport
        self._receive, self._send_piece = transport.direct()
        self._handshake = handshake
        self._limits = limits
        self._connection = Connection.server_side(handshake, limits, allocate, within)
        self._reader: FrameReader[Message] | None = None  # until the client has proved the token
        self._reactor = reactor
        self._service = service
        self._handlers = service.handlers
        self._shared = shared
        self._lock = threading.Lock()
        self._unsent: SendBuffer | None = None  # None: the socket takes bytes at once
        self._taken = 0  # bytes that the socket took later than they were sent, ever
        self._gathering = False  # what is unsent waits for more, not for the socket
        self._patient = False  # a sender is at work without the lock
        self._clogged = False
        self._paused = False
        self._watched = READ
        self._open = True
        self.outcome = "left"
        """How it ended, for the log."""
        self._deadline: Deadline | None = None

    def open(self) -> None:
        """Begin to read; called by the holder of the polling role."""
        self._deadline = self._reactor.after(
            self._limits.handshake_timeout, self._handshake_expired
        )
        self._reactor.register(self._transport.sock, READ, self._ready)

    @property
    def unsent(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return self._unsent is not None

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

    def _send(self, pieces: Sequence[Piece], more: bool) -> None:
        alone = len(pieces) == 1
        self._lock.acquire()  # in half the time of `with`
        try:
            if not self._open or (self._unsent is not None and self._append(pieces, more)):
                return
            if more and alone:
                self._gathering = True
                self._unsent = SendBuffer()
                self._unsent.add(pieces)
                return self._reactor.change(self._watch)
            try:
                taken = self._send_piece(pieces[0]) if alone else self._transport.send(pieces)
            except (BlockingIOError, InterruptedError):
                taken = 0
            if alone and taken == len(pieces[0]):
                return
            left = after(pieces, taken)
            if not left:
                return
            self._unsent = SendBuffer()
            self._patient = any(isinstance(piece, memoryview) for piece in left)
        except OSError as error:
            return self._lost(error)
        finally:
            self._lock.release()
        self._send_later(self._send_patiently(left) if self._patient else left)

    def _append(self, pieces: Sequence[Piece], more: bool) -> bool:
        """Queue `pieces` behind what is unsent, and send what only waited for them.

        False if nothing is unsent any more: they can go at once.
        """
        if self._gathering and len(pieces) > 1:
            self._send_gathered()  # so that the user's memory need not be copied
        if self._unsent is None:
            return False
        self._unsent.add(pieces)
        if self._gathering:
            if more and self._unsent.size < GATHERED:
                return True
            self._send_gathered()
        self._look_if_clogged()
        return True

    def _send_gathered(self) -> None:
        """Send what was gathered; what the socket doesn't take waits as anything unsent."""
        assert self._unsent is not None
        self._gathering = False
        try:
            self._unsent.took(self._transport.send(self._unsent.first()))
        except OSError as error:
            self._lost(error)
        # The change that was left with the reactor watches the socket from the next poll on.
        if not self._unsent.size:
            self._unsent = None

    def _look_if_clogged(self) -> None:
        if self._unsent is None or self._clogged:
            return
        if self._unsent.size >= self._limits.max_unsent:
            self._clogged = True
            self._reactor.change(self._clog)

    def _send_patiently(self, left: list[Piece]) -> list[Piece]:
        """Send the user's own memory as long as the reader takes it; give back the rest.

        Without the lock: what others send meanwhile is queued behind.
        """
        try:
            while left and self._open and self._transport.wait_writable(PATIENCE):
                taken = self._transport.send(left)
                self._taken += taken
                left = after(left, taken)
        except OSError as error:
            self._lost(error)
        except BaseException:
            # A signal handler of the task's: what is left of a message can't follow any more.
            with self._lock:
                self._patient = False
                if not self._open:
                    self._transport.close()
            self._reactor.change(self.close)
            raise
        return left

    def _send_later(self, left: list[Piece]) -> None:
        with self._lock:
            self._patient = False
            if not self._open:
                self._transport.close()
                return
            assert self._unsent is not None
            try:
                self._unsent.put_first(left)
            except MemoryError as error:
                self._lost(error)
                return
            self._look_if_clogged()
        self._reactor.change(self._watch)

    def _lost(self, error: OSError | MemoryError) -> None:
        if self._open:
            self.outcome = f"lost: {error}"
        self._reactor.change(self.close)

    # Reading, on the thread that polls

    def _ready(self, events: int) -> None:
        if not self._open:
            return
        try:
            if events == READ:
                self._read()
            else:
                self._send_rest()
                if events & READ and self._open:
                    self._read()
        except (BlockingIOError, InterruptedError):
            pass  # nothing is there after all
        except BgpyError as error:
            self.outcome = f"closed: {error}"
            self._tell()
            self.close()
        except OSError as error:
            self.outcome = f"lost: {error}"
            self.close()
        except Exception:
            log.exception("%s: closed after an unexpected failure", self.peer)
            self.outcome = "failed"
            self.close()

    def _read(self) -> None:
        reader = self._reader
        if reader is None:
            self._shake_hands()
        elif reader.target is not None:
            self._read_large(reader)
        elif count := self._receive(self._shared):
            try:
                message = reader.lone(self._shared, count)
                if message is None:
                    messages = reader.feed(self._shared[:count])
            except BgpyError as error:
                self._connection.broken(error)
                raise
            if message is not None:
                self._handlers[message.__class__](self, message)
            else:
                self._handle(messages)
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
            try:
                messages = reader.filled(count)
            except BgpyError as error:
                self._connection.broken(error)
                raise
            if messages:
                return self._handle(messages)

    def _handle(self, messages: list[Message]) -> None:
        for message in messages:
            if self._open:
                self._handlers[message.__class__](self, message)

    def _shake_hands(self) -> None:
        count = self._receive_some(self._shared)
        if not count:
            return
        messages = self._connection.receive(self._shared[:count])
        outgoing = self._connection.take_outgoing()
        if outgoing:
            self._transport.send([outgoing])
        self._reader = self._connection.reader
        if self._connection.established and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self.client_id = self._handshake.client_id
            self._service.proved(self)
        self._handle(messages)

    def _receive_some(self, memory: memoryview) -> int:
        """Bytes received into `memory`; 0 if nothing is there, and at the end, which closes."""
        count = self._transport.receive_into(memory)
        if count == 0:
            self._ended()
        return count or 0

    def _ended(self) -> None:
        self._connection.eof()
        self.close()

    def _handshake_expired(self) -> None:
        self.drop("closed: no proof of the token in time")

    def _tell(self) -> None:
        """Send the peer why it is being closed, if it is still there."""
        outgoing = self._connection.take_outgoing()
        if not outgoing:
            return
        try:
            with self._lock:
                if self._gathering:
                    self._send_gathered()
                if self._unsent is not None:
                    return  # it would land in the middle of a reply
                self._transport.send([outgoing])
            # A socket closed over unread bytes resets the connection, and the peer
            # might never see what it was told.
            self._transport.receive_into(self._shared)
        except OSError:
            pass  # the peer was first

    # Writing what was left, on the thread that polls

    def _watch(self) -> None:
        self._ready(WRITE)

    def _send_rest(self) -> None:
        with self._lock:
            self._gathering = False
            if self._patient or self._unsent is None:
                return
            taken = self._transport.send(self._unsent.first()) if self._unsent.size else 0
            self._unsent.took(taken)
            self._taken += taken
            cleared = self._clogged and self._unsent.size <= self._limits.max_unsent // 2
            if not self._unsent.size:
                self._unsent = None
            if cleared:
                self._clogged = False
        if cleared:
            self._service.cleared(self)
        self._watch_for()

    def _watch_for(self) -> None:
        """Have the reactor watch for what can go on: reading, writing, both or none."""
        reads = not self._paused and not self._clogged
        events = (READ if reads else 0) | (WRITE if self._unsent is not None else 0)
        if events == self._watched or not self._open:
            return
        if not events:
            self._reactor.unregister(self._transport.sock)
        elif not self._watched:
            self._reactor.register(self._transport.sock, events, self._ready)
        else:
            self._reactor.modify(self._transport.sock, events, self._ready)
        self._watched = events

    # Back-pressure, on the thread that polls

    def pause(self) -> None:
        """Read no more until `resume`."""
        self._paused = True
        self._watch_for()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self._watch_for()

    def _clog(self) -> None:
        if self._open and self._clogged:
            self._service.clogged(self)
            self._watch_for()
            look = partial(self._look_for_a_stall, self._taken)
            self._reactor.after(self._limits.stall_timeout, look)

    def _look_for_a_stall(self, before: int) -> None:
        """Drop the client if it has taken nothing since it had taken `before` bytes."""
        if not self._open or not self._clogged:
            return
        seconds = self._limits.stall_timeout
        if self._taken == before:
            left = 0 if self._unsent is None else self._unsent.size
            self.drop(f"dropped: it left {left} bytes of replies unread for {seconds} s")
        else:
            self._reactor.after(seconds, partial(self._look_for_a_stall, self._taken))

    # The end

    def close(self, farewell: str | None = None) -> None:
        """Close by unregister, shutdown, close; called by the holder of the polling role."""
        if not self._open:
            return
        if farewell is not None and self._connection.established:
            self.outcome = farewell
            try:
                self.send(Goodbye(farewell))
            except MessageTooLarge:
                pass  # over a limit that is smaller than a word
        with self._lock:
            if self._gathering:
                self._send_gathered()
            self._open = False
            sending = self._patient
        if self._deadline is not None:
            self._deadline.cancel()
        if self._watched:
            self._reactor.unregister(self._transport.sock)
        self._transport.shut_down()
        if not sending:  # else the sender closes, so that it never meets a reused descriptor
            self._transport.close()
        self._service.closed(self)

    def drop(self, outcome: str) -> None:
        """Close without a word; `outcome` stands in the log."""
        self.outcome = outcome
        self.close()

    def close_in_child(self) -> None:
        """Give back the descriptor in a forked child; the parent's connection stays."""
        self._open = False
        self._transport.close()
