"""What a client decides about its calls, without sockets, threads, clocks or pickle.

::

    begin ──► LEAVING ──left──► UNDER WAY ──received──► ended: the call has its answer
                 │                  │
               expire             expire, ask ──► ASKED ──the server's Status──► ended
                 │                                  └──────give_up─────────────► ended
                 └─► withdrawn, or cut off
      at any time: end of the connection ─► ended, as not started or unknown

A shell (blocking, later asyncio) moves the bytes and the time, tells what happened, and
wakes the thread or future that waits for a `Call` which it is handed back.
`Conversation` is one connection; what the client knows of its server over all of them is
its `Acquaintance` (`bgpy.calling.acquaintance`).

A shell with several threads keeps one lock around everything here but `received`, which
one thread calls at a time. What `received` and the others share is `pending` alone: its
keys are numbers, so no code of anybody's runs inside of its operations, each of which is
atomic, and only the thread that reads removes what was answered.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from bgpy.calling.timeouts import NOT_SENT, UNTOLD, by_force, meaning_of, timed_out, to_do
from bgpy.errors import Advice, BgpyError, CallTimeout, Progress, ServerGone
from bgpy.wire.messages import (
    Failure,
    Goodbye,
    Message,
    Reason,
    Receipt,
    Stage,
    Status,
    runs_in,
    stage_of,
)

Answer = Message | BgpyError | bytearray
"""What a call ends in; a bytearray is the pickle of a small response, and nobody changes them."""

_STAGES: dict[Stage, Progress] = {
    Stage.WITHDRAWN: "not started",
    Stage.QUEUED: "started",
    Stage.ENDING: "started",
    Stage.RUNNING: "started",
    Stage.DEFERRED: "started",
    Stage.UNKNOWN: "unknown",
}
"""What a server's Status about a call means for its caller, who waits no longer."""


class Call:
    """A request under way, and what came for it so far.

    The defaults are the class's: making one is on the way of every call.
    """

    request = 0
    answer: Answer | None = None
    """Its one answer, once that is here."""
    begun = False
    """Whether any byte of it has left, if not all of it has."""
    left = False
    """Whether all of it has left."""
    asked = False
    """Its time is over, and the server is being asked how far it came."""
    receipt: Receipt | None = None
    """A receipt that came after that: true only if the server doesn't withdraw the call."""
    chain = b""
    """The chain of calls that wait for it, as its server knows it; empty outside of tasks."""
    parts: tuple[Message, ...] = ()
    """What came for it before its answer."""
    about: Call | None = None
    """Of a question: the call that it asks for."""
    waker: Any = None
    """What the shell wakes; nothing here looks at it."""
    timeout: float | None = None
    """Seconds that its caller gave it, for the words of an error."""


class Expiry(Enum):
    """What a call whose time is over needs."""

    ENDED = "it has its answer: nothing"
    WITHDRAWN = "no byte has left: it was taken back, and must not leave"
    CUT_OFF = "a part has left, and nobody else uses the connection: it must end"
    ASK = "the server has to be asked, behind what is left to send of it"


class Farewell(NamedTuple):
    """The server says that it closes the connection, and why."""

    text: str


class Known(NamedTuple):
    """What is known of the end of a connection besides its reason: attributes of the error."""

    advice: str | None = None
    address: str | None = None
    pid: int | None = None
    """The server's, where it is on this machine."""
    log_file: str | None = None


NOTHING = Known()


class Conversation:
    """The calls of one connection."""

    def __init__(
        self, parts: frozenset[type] = frozenset(), server: Known = NOTHING, pid: int = 0
    ) -> None:
        """`parts` are the classes of messages that come before an answer, and are none.

        No shell gives any yet: the items of streams are to come so.

        `server` is what errors of calls say of it while the connection lasts; `pid` its process
        on its own machine, 0 if that is not known.
        """
        self.pending: dict[int, Call] = {}
        """The calls that somebody waits for, by request."""
        self.unanswered: set[int] = set()
        """Requests that have left, and whose answer nobody waits for any more."""
        self.ended: str | None = None
        """Why the connection has ended."""
        self._all_answered = False  # so the server has said: what has no answer has not run
        self.known = NOTHING
        """What else is known of that."""
        self._parts = parts
        self._server = server
        self._pid = pid

    @property
    def is_quiet(self) -> bool:
        """Whether all that has left is known to have arrived, since it was answered."""
        return not self.pending and not self.unanswered

    def begin(self, call: Call, request: int) -> None:
        """Expect what comes for `request`."""
        call.request = request
        self.pending[request] = call

    def received(self, message: Message) -> Call | Farewell | None:
        """Take what came: the call that has ended, or got a part, and is to be woken.

        A call that has ended stays in `pending` until it is `done`: a thread that is
        interrupted before it has woken the waiter leaves it to be found by `end`.
        """
        call = self.pending.get(message.request)
        if call is None:
            if message.request == 0:
                return self._farewell(message)
            self.unanswered.discard(message.request)
            return None
        if call.about is not None:
            self.done(call)
            return self._learned(call.about, message)
        if message.__class__ in self._parts:
            call.parts += (message,)
        elif call.asked and isinstance(message, Receipt):
            call.receipt = message
            return None
        elif call.answer is None:
            # Set once: whoever waits may look at any time.
            if isinstance(message, Failure) and message.reason == Reason.NOT_STARTED:
                call.answer = self._refused(message.text)
            else:
                call.answer = message
        return call

    def _farewell(self, message: Message) -> Farewell | None:
        """What is said of the connection itself."""
        if isinstance(message, Failure):
            self._all_answered = message.reason == Reason.NOT_STARTED
        elif not isinstance(message, Goodbye):
            return None
        return Farewell(message.text)

    def _refused(self, text: str) -> ServerGone:
        """The error of a call that the server did not run since it ends."""
        advice = (
            "start the server again when it has ended: it finishes the running task, then "
            f"exit_task; to end it at once, without exit_task, {by_force(self._pid)}"
        )
        known = self._server._replace(advice=advice)
        return ServerGone(text, progress="not started", **known._asdict())

    def done(self, call: Call) -> None:
        """Forget a call that has ended and whose waiter was woken."""
        self.pending.pop(call.request, None)

    def abandon(self, call: Call) -> None:
        """Drop what will come for `call`: nobody waits for it any more."""
        if self.pending.pop(call.request, None) is not None and (call.left or call.begun):
            self.unanswered.add(call.request)

    def expire(self, call: Call) -> Expiry:
        """Take note that the time of `call` is over; what is to be done."""
        if call.answer is not None:
            return Expiry.ENDED
        if call.left or (call.begun and (len(self.pending) > 1 or self.unanswered)):
            return Expiry.ASK
        self.pending.pop(call.request, None)
        call.answer = self._timed_out(call, "not started", NOT_SENT)
        return Expiry.CUT_OFF if call.begun else Expiry.WITHDRAWN

    def ask(self, call: Call, request: int) -> Call:
        """Expect the answer to a Cancel of `call` that is sent as `request`.

        What the server says ends `call`.
        """
        call.asked = True
        question = Call()
        question.about = call
        self.begin(question, request)
        return question

    def give_up(self, call: Call) -> None:
        """Take note that the server did not say in time how far `call` came."""
        if call.answer is None:
            error = self._timed_out(call, "unknown", UNTOLD)
            told = f"to end the server at once, without exit_task, {by_force(self._pid)}"
            error.advice, error.pid = Advice(told, told), self._server.pid
            call.answer = error  # only now: whoever waits may look at any time
        self.abandon(call)

    def note_end(self, reason: str, known: Known = NOTHING) -> bool:
        """Take note that the connection has ended; False where that was known."""
        if self.ended is not None:
            return False
        self.known = known
        self.ended = reason
        return True

    def end(self, reason: str, doubtful: bool = False) -> list[Call]:
        """As `note_end`: all calls that it ends, to be woken.

        `doubtful` says that what is not noted to have left may have.
        May be repeated where it was interrupted: what has not been `done` comes again.
        """
        self.note_end(reason)
        calls = list(self.pending.values())
        for call in calls:
            if call.answer is None:
                call.answer = self._lost(call, doubtful)
        return calls

    def forget(self) -> list[Call]:
        """In a forked child: the calls are the parent's, and their answers go there."""
        self.ended = "the process has forked"
        calls = list(self.pending.values())
        self.pending.clear()
        return calls

    def _lost(self, call: Call, doubtful: bool) -> Answer:
        progress: Progress = "unknown" if call.left or doubtful else "not started"
        if self._all_answered:
            if call.receipt is not None:
                return call.receipt
            progress = "not started"
        return self._timed_out(call, progress) if call.asked else self.gone(progress)

    def gone(self, progress: Progress) -> ServerGone:
        """The error of a call that the end of the connection leaves without an answer."""
        known = self.known
        if progress == "unknown":
            what = "whether the call ran is not known"
        elif self._all_answered:
            what = "the call did not run"
            known = known._replace(advice=known.advice or "start the server again")
        else:
            what = "the call had not been sent"
        return ServerGone(f"{self.ended}; {what}", progress=progress, **known._asdict())

    def _learned(self, call: Call, message: Message) -> Call | None:
        """What the server said of a call whose time is over."""
        stage = stage_of(message.text) if isinstance(message, Status) else Stage.UNKNOWN
        progress = _STAGES[stage]
        if call.answer is not None:  # it came first
            if progress == "not started":
                self.unanswered.discard(call.request)
            return None
        if call.receipt is not None and progress == "started":
            call.answer = call.receipt
        else:
            runs = runs_in(message.text) if isinstance(message, Status) else None
            meaning = meaning_of(stage, runs)
            error = self._timed_out(call, progress, meaning)
            if stage in (Stage.RUNNING, Stage.ENDING):  # nothing else stops the task
                told = to_do(stage, runs, self._pid)
                error.advice, error.pid = Advice(told, told), self._server.pid
            call.answer = error  # only now: whoever waits may look at any time
            if progress != "not started":
                self.unanswered.add(call.request)
        return call

    def _timed_out(self, call: Call, progress: Progress, meaning: str | None = None) -> CallTimeout:
        return timed_out(call.timeout, progress, self._server.address, meaning)
