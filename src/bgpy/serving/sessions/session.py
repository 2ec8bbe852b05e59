"""One connection of one client: bytes from its transport to messages, and its life.

Its states are those of `bgpy.serving.sessions.life`. Reading happens on the thread that
polls, in the `Inflow`; what is sent goes through the `Outflow`.

A client that leaves replies unread is *clogged* beyond a limit: it isn't read and
nothing more runs for it until it has taken half of them; it is dropped if it takes
nothing at all for a time. A client is *paused* while its line of requests is full.

What a client sent is read before its session closes: at the end of the stream, which is
read last, and also where nothing can be sent to it any more. A session that the server
closes with a word lingers: its client may not have read all, or send still.

All state here belongs to the thread that polls. An exception of a signal handler's that
strikes there closes the session which it struck, and only that: part of a message may
be lost. Closing is done in steps that may be done again; the first leaves them with the
reactor, so that they are done whatever strikes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from bgpy.codec.payload import within
from bgpy.errors import BgpyError, LocalProtocolError, MessageTooLarge
from bgpy.memory import Payload
from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.poller import READ, STRUCK
from bgpy.serving.io.transport import Transport
from bgpy.serving.sessions.inflow import Inflow
from bgpy.serving.sessions.life import (
    ACTED_ON,
    LINGERS,
    TRANSITIONS,
    SessionEvent,
    SessionState,
)
from bgpy.serving.sessions.lingering import LINGER, drop, send_last
from bgpy.serving.sessions.owner import SessionContext
from bgpy.serving.sessions.stall import Stall
from bgpy.serving.sessions.telling import outflow_over
from bgpy.serving.sessions.watch import Pause, Watch
from bgpy.system import reserve
from bgpy.system.strikes import is_strike
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ServerHandshake
from bgpy.wire.messages import CODEC_PICKLE, Failure, Goodbye, Message, Reason, Reply

log = logging.getLogger("bgpy.server")

_OPEN = SessionState.OPEN


class Session:
    """A client's connection to this server.

    Most are quiet: what one needs only while something waits or is under way is made then.
    """

    __slots__ = (
        "_connection",
        "_context",
        "_deadline",
        "_handshake",
        "_inflow",
        "_outflow",
        "_stall",
        "_transport",
        "_watch",
        "client_id",
        "name",
        "outcome",
        "send_small",
        "state",
    )

    def __init__(
        self,
        transport: Transport,
        name: str,
        handshake: ServerHandshake,
        context: SessionContext[Session],
    ) -> None:
        self.name = name
        """Where its client is, for the log."""
        self.client_id = b""
        """Empty until the client has proved the token."""
        self.outcome = "left"
        """How it ended, for the log."""
        self.state = SessionState.PROVING
        """Changed by what is done here alone (`bgpy.serving.sessions.life`)."""
        self._context = context
        self._transport = transport
        self._handshake: ServerHandshake | None = handshake  # while the session is PROVING
        self._deadline: Deadline | None = None  # of the state, if it has one
        self._stall: Stall | None = None  # of its replies, once it has been clogged
        limits, reactor = context.limits, context.reactor
        self._watch = watch = Watch(reactor, transport.sock)
        self._inflow = Inflow(self, context, transport, watch)
        watch.ready = self._inflow.ready
        self._outflow = outflow = outflow_over(transport, limits, context.budget, self._attend_soon)
        self._connection = Connection.server_side(handshake, limits, self._inflow.allocate, within)
        self.send_small = outflow.send_small
        """As `send` of one small message in its final form (`bgpy.wire.small`)."""

    def open(self) -> None:
        """Begin to read; called by the holder of the polling role."""
        self._end_in(self._context.limits.handshake_timeout, self._handshake_expired)
        self._watch.set(READ)

    @property
    def unsent(self) -> bool:
        """Whether bytes wait for the socket to take them."""
        return self._outflow.waiting

    @property
    def untold(self) -> bool:
        """Whether what it has said at its end is known not to have arrived yet."""
        return self._outflow.waiting or self._transport.is_ending()

    # Sending, from any thread

    def send(self, message: Message) -> None:
        """Send `message`, or queue what the socket doesn't take; dropped if the client is gone.

        Raises `MessageTooLarge` where it is over the limit; nothing was sent then.
        """
        self._say(message, False)

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        """As `send` of a `Reply`.

        With `more` it may wait for the next message, but no longer than to the next poll.
        """
        head, buffers, code = packed
        self._say(Reply(request, head, buffers, CODEC_PICKLE, code, error), more)

    def _say(self, message: Message, more: bool) -> None:
        try:
            self._outflow.send(self._connection.send(message), more)
        except LocalProtocolError:
            if self._connection.established:
                raise
            # Else the client has broken the protocol, and is about to be closed.

    # Reading, on the thread that polls

    def failed(self, error: BaseException) -> None:
        """What is done about that which reading, or what it brought, has raised."""
        if isinstance(error, (OSError, BgpyError)) and not is_strike(error):
            if isinstance(error, BgpyError):
                self.outcome = f"closed: {error}"
                self._leave(self._connection.take_outgoing())
            elif not isinstance(error, (BlockingIOError, InterruptedError)):
                self.outcome = f"lost: {error}"
                self._close()
            # Else nothing is there after all.
        else:
            if isinstance(error, MemoryError):
                reserve.give_back()
            self.outcome = "failed"
            self._close()  # first: another may strike
            log.exception("%s: closed after an unexpected failure", self.name)
            if not isinstance(error, Exception):
                raise

    def ready_for(self, events: int) -> None:
        """The socket is ready, and there may be more to do than to read."""
        if events == STRUCK:
            self._close()  # what was begun, and interrupted
            return
        self._attend()
        if self.state in LINGERS:
            if drop(self._transport, self._context.view):
                self._close()
            else:
                self._context.owner.dropped(self)
        elif self.state in ACTED_ON and events & READ and self._watch.events & READ:
            self._inflow.read()

    @property
    def held(self) -> int:
        """Bytes that the server keeps for the client, but for the message under way."""
        return self._context.owner.queued(self.client_id) + self._outflow.size

    def shake_hands(self) -> None:
        """Receive a part of the handshake."""
        shared, inflow = self._context.view, self._inflow
        count = inflow.receive_some(shared)
        if not count:
            return
        messages = self._connection.receive(shared[:count])
        outgoing = self._connection.take_outgoing()
        if outgoing:
            self._outflow.send([outgoing], False)
        reader = inflow.reader = self._connection.reader
        if reader is not None:
            self._prove()
            inflow.came(reader, messages)

    def _prove(self) -> None:
        assert self._handshake is not None
        self.client_id, self._handshake = self._handshake.client_id, None
        self._set_deadline(None)
        self._move(SessionEvent.PROVED)
        self._context.owner.proved(self)

    def ended(self) -> None:
        """The client sends nothing more."""
        if self.state is not SessionState.LOST:
            self._connection.eof()
        self._close()

    def _handshake_expired(self) -> None:
        self.drop("closed: no proof of the token in time")

    # What the outflow can do no more, or again, on the thread that polls

    def _attend_soon(self) -> None:
        """Have the thread that polls look after the outflow; from any thread."""
        self._context.reactor.change(self._attend)

    def _attend(self) -> None:
        """Send what waits, and look what has become of sending."""
        outflow = self._outflow
        if self.state in ACTED_ON or self.state in LINGERS:
            outflow.flush()
        if outflow.lost is not None and self.state in (SessionState.PROVING, _OPEN):
            self._lose(outflow.lost)
        if self.state in LINGERS:
            self._send_last()
        elif self.state in ACTED_ON:
            self._look_whether_clogged()
            self._watch.attend(outflow.waiting)

    def _look_whether_clogged(self) -> None:
        """Read the client, and run what it asks for, only while it takes its replies."""
        clogged = self._outflow.unread.clogged
        if clogged is not bool(self._watch.paused & Pause.CLOGGED):
            if clogged:
                self._context.owner.clogged(self)
                self._wait_for_reader()
            else:
                self._context.owner.cleared(self)
            self._pause(Pause.CLOGGED, clogged)  # only now: what is struck before is done again

    def _lose(self, error: BaseException) -> None:
        """Nothing can be sent any more: what was received before still counts."""
        self.outcome = f"lost: {error}"
        if not isinstance(error, OSError) or self.state is SessionState.PROVING:
            self.outcome = f"dropped: {error}"
            self._close()
        else:
            # A peer that reads no more could send requests for ever.
            self._end_in(self._context.limits.stall_timeout, self._close)
            self._move(SessionEvent.UNSENDABLE)  # only now: what is struck before is done again

    def _wait_for_reader(self) -> None:
        """Drop the client if it takes nothing at all for long."""
        if self._stall is None:
            outflow, context = self._outflow, self._context
            taken = lambda: outflow.taken if outflow.unread.clogged else None  # noqa: E731
            seconds = context.limits.stall_timeout
            self._stall = Stall(context.reactor, seconds, taken, self._stalled)
        self._stall.watch()

    def _stalled(self) -> None:
        left, seconds = self._outflow.size, self._context.limits.stall_timeout
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
        if self.state in ACTED_ON:
            self._watch.attend(self._outflow.waiting)

    # The end

    def close(self, farewell: str | None = None, all_answered: bool = False) -> None:
        """Close; called by the holder of the polling role.

        With a `farewell` the client is told it as the reason, and the session lingers: what the
        client has sent and this side hasn't read would have it lose the farewell. With
        `all_answered` it is told too that the requests which have no answer have not run.
        """
        if self.state not in ACTED_ON:
            return
        if farewell is None or self.state is not _OPEN:
            self._close()
            return
        self.outcome = farewell
        try:
            if all_answered:
                self.send(Failure(0, Reason.NOT_STARTED, text=farewell))
            self.send(Goodbye(farewell))
        except MessageTooLarge:
            pass  # over a limit that is smaller than a word
        self._leave(b"")

    def drop(self, outcome: str) -> None:
        """Close without a word; `outcome` stands in the log."""
        self.outcome = outcome
        self._close()

    def close_in_child(self) -> None:
        """Give back the descriptors in a forked child; the parent's connection stays."""
        self._move(SessionEvent.OVER)
        self._outflow.close_in_child()
        self._transport.close()

    def _leave(self, last: bytes) -> None:
        """Send `last` and what waits before it, and linger; or close where that is of no use."""
        told = last or self._outflow.waiting or self.state is _OPEN  # else it is a stranger
        if self.state is SessionState.LOST or not told:
            self._close()
        elif self.state in ACTED_ON:
            if last:
                self._outflow.send([last], False)
            self._end_in(LINGER, self._close)
            self._move(SessionEvent.FAREWELL)
            self._send_last()

    def _send_last(self) -> None:
        event = send_last(self.state, self._transport, self._outflow, self._watch)
        if event is SessionEvent.OVER:
            self._close()
        elif event is not None:
            self._move(event)

    def _end_in(self, seconds: float, expired: Callable[[], None]) -> None:
        """Have `expired` called in `seconds`, unless the state has changed by then."""
        self._set_deadline(self._context.reactor.after(seconds, expired))

    def _set_deadline(self, deadline: Deadline | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _move(self, event: SessionEvent) -> None:
        self.state = TRANSITIONS[self.state, event]

    def _close(self) -> None:
        """Close by unregister, shutdown, close; all of it may be done again."""
        if self.state is SessionState.CLOSED:
            return
        self._context.reactor.change(self._close)  # for what an exception leaves undone here
        self._move(SessionEvent.OVER)
        self._set_deadline(None)
        if self._stall is not None:
            self._stall.close()
        self._inflow.close()
        self._watch.close()
        self._transport.shut_down()
        if self._outflow.close():  # else who sends closes, so that it meets no other's descriptor
            self._transport.close()
        self._context.owner.closed(self)
        self._move(SessionEvent.TOLD)
