"""The client socket that a task gets: it sends the response to the caller, now or later.

::

    task ──respond──► ClientSocket ──reply, fail──► Outlet: the outbox of the server
      └──defer──► Deferred ──respond, fail, from any thread──┘

A call gets one answer. Where nobody waits for it, it is dropped.

A client socket knows which call it answers and the outlet that answers leave by, and
nothing of sessions, frames or threads: an engine that runs tasks elsewhere makes its own
there, with an outlet that leads back.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from bgpy.errors import AlreadyResponded
from bgpy.forks import OwnLock
from bgpy.tasks.interrupts import held, raise_held

if TYPE_CHECKING:
    # Making its dataclass takes 2 ms, and a task that has a message has imported it.
    from bgpy.tasks.compatibility import Message

# One lock for all calls: it protects the step from open to claimed, which two threads may
# try at once only where a response was deferred. It is held for a comparison and an
# assignment, calls nothing, and waits for nothing, so nobody can be kept by it. Reentrant,
# since the collector may run in the middle of it and drop a `Deferred` of another call (that
# of this call is in use, so it can't be dropped): the inner section is whole before the
# outer one continues. An exception that strikes inside leaves it through `with`.
#
# A claim names its claimant, and is no answer: a response that is on its way may still fail to
# travel, and then the call is open again. So a thread that was struck just after claiming, and
# doesn't know it, may claim again, or gives back what is its own and nothing else; and where
# even that was struck, the end of the `Deferred` ends the call.
#
# A forked child has a new one: the thread that held the old one isn't there, and the collector
# drops the copies of `Deferred`s there too.
_claiming = OwnLock()


class Ended(Enum):
    """How the server itself has ended a call, or is just ending it."""

    RAISED = "its task has raised an exception, which the caller has got"
    SILENT = (
        "its task returned without responding, and the caller has got NoResponse. To respond after "
        "it has returned, from a thread for example, a task has to call client_socket.defer() first"
    )
    DROPPED = (
        "its Deferred was dropped before it had responded, and the caller has been told so. Keep "
        "what defer() gives until it has responded"
    )
    CLOSED = "the server has ended"


class Outlet(Protocol):
    """Where the answers to calls leave, each named by what the client socket was made with."""

    def reply(self, call: Any, response: Any, error: bool) -> None:
        """Send `response`, marked as an error or not; raises `EncodeError` if it can't travel."""

    def fail(self, call: Any, failure: BaseException) -> None:
        """Send `failure`, an exception of the task's, as the end of the call."""

    def drop(self, call: Any) -> None:
        """End a deferred call that nobody can answer any more.

        The collector calls it, wherever it runs, also where this thread holds a lock that
        sending takes: so it must take none, and leaves the sending to somebody else.
        """

    def settled(self, call: Any) -> None:
        """Note that a call has the answer which was sent for it out of turn: nothing is owed."""


class SmallOutlet(Outlet, Protocol):
    """One that answers to small calls can leave by in fewer steps."""

    def reply_small(self, call: Any, response: Any) -> None:
        """As `reply` without an error, for a call whose client waits for it."""


class ClientSocket:
    """Represents the caller of the current task; the three functions get it as argument.

    ``waits`` tells whether the caller waits for a response.
    """

    _claimant: object = None  # who has the right to answer; see above
    ended: Ended | None = None
    """How the server itself has ended the call, where it has."""
    unsent = False
    """Whether a response of `exit_task` could not be sent; for the other tasks it says nothing."""

    def __init__(self, outlet: Outlet, call: Any, waits: bool) -> None:
        self._outlet = outlet
        self._call = call
        self.waits = waits
        self.answered = False
        """Whether the answer has left. While somebody has claimed the right to give it, it has
        not: that may fail."""
        self.deferred: weakref.ref[Deferred] | None = None
        """The right to answer later, once a task has asked for it."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a client socket can't be pickled, since it leads to a caller of this server: "
            "respond in the server's process, or keep its defer() for a thread there"
        )

    @property
    def call(self) -> Any:
        """What the outlet knows the call by."""
        return self._call

    def respond(self, response: Any, error: bool = False) -> None:
        """Send `response` to the caller; it is dropped if the caller does not wait for one.

        So it is if the call was deferred and the server has ended meanwhile.

        Raises `AlreadyResponded` at a second response to the same call, and
        `EncodeError` (nothing was sent; respond with something else) if an object in
        it can't be pickled.
        """
        if self.deferred or self.answered:
            self._answer(lambda: self._outlet.reply(self._call, response, error))
            return
        try:
            self.answered = True  # no other thread may answer what was not deferred
            self._outlet.reply(self._call, response, error)
        except BaseException:
            # It can't travel, or a signal handler raised meanwhile: the call is open still.
            self.answered, self.unsent = False, True
            raise
        if held:
            raise_held()

    def send(self, message: Message) -> None:
        """Send the `args` of `message` as the response: how 0.3.1 spelled it.

        Raises `TypeError` for anything but a message: `respond` sends any object.
        """
        if not hasattr(message, "type") or not hasattr(message, "args"):
            raise TypeError(
                f"send() takes a Message, not {type(message).__name__}: "
                "respond(client_socket, value) sends any object"
            )
        self.respond(message.args, error=message.type.name == "ERROR")

    def defer(self) -> Deferred:
        """Answer later: the task may return without a response while the caller keeps waiting.

        A task that asks for it again gets the same `Deferred`, as long as anything holds it.
        """
        deferred = None if self.deferred is None else self.deferred()
        if deferred is None:
            deferred = Deferred(self)
            self.deferred = weakref.ref(deferred)
        return deferred

    def fail(self, failure: BaseException) -> None:
        """End the call with `failure`, an exception; the caller's call raises it."""
        if not isinstance(failure, BaseException):
            raise TypeError(f"failure must be an exception, not {type(failure).__name__}")
        self._answer(lambda: self._outlet.fail(self._call, failure))

    def drop(self) -> None:
        """End an open call because nobody can answer it any more; the collector calls this.

        A claim that is still held now was lost when its holder was struck.
        """
        with _claiming.here:
            if self.answered:
                return
            self.answered, self.ended = True, Ended.DROPPED
        self._outlet.drop(self._call)

    def claim(self, claimant: object, ended: Ended | None = None) -> bool:
        """Whether `claimant` has the right to answer, now or since it claimed before.

        `ended` says how the server ends the call, where it is the server that claims.
        """
        with _claiming.here:
            if self._claimant is None and not self.answered:
                self._claimant, self.ended = claimant, ended
            return not self.answered and self._claimant is claimant

    def _answer(self, send: Callable[[], None]) -> None:
        """Claim the right to answer, and `send`; what raises leaves the call open."""
        claimant = object()
        try:
            if not self.claim(claimant):
                if self.ended is Ended.CLOSED:
                    # No mistake of who answers now: the caller has been told, and the log
                    # counts such calls.
                    return
                raise _already(self.ended)
            send()
        except BaseException:
            self.unsent = True
            with _claiming.here:
                if self._claimant is claimant:
                    self._claimant = None
            raise
        self.answered = True
        self._outlet.settled(self._call)
        if held:
            raise_held()


class OwnClientSocket(ClientSocket):
    """A call that is its own client socket: one object where each step counts.

    Its caller waits for a response. Whoever makes one sets `outlet`, `answered` and `deferred`.
    """

    waits = True
    outlet: SmallOutlet

    @property
    def _outlet(self) -> SmallOutlet:  # type: ignore[override]
        return self.outlet

    @property
    def _call(self) -> Any:
        return self

    def respond(self, response: Any, error: bool = False) -> None:
        """As `ClientSocket.respond`, in fewer steps where it is the only answer, and no error."""
        if error or self.answered or self.deferred:
            super().respond(response, error)
            return
        try:
            self.answered = True
            self.outlet.reply_small(self, response)
        except BaseException:
            self.answered = False
            raise
        if held:
            raise_held()


def _already(ended: Ended | None) -> AlreadyResponded:
    """The error of a second answer to a call, by how it ended; None for a response."""
    if ended is not None:
        return AlreadyResponded(f"this call has ended already: {ended.value}")
    return AlreadyResponded(
        "this call has already been answered",
        advice="call respond() once for each call, and don't keep its client socket for later ones",
    )


class Deferred:
    """Answers one call after its task has returned, from any thread; see `ClientSocket.defer`.

    If it is dropped unanswered, the caller gets `NoResponse`.
    """

    __slots__ = ("__weakref__", "_client_socket")

    def __init__(self, client_socket: ClientSocket) -> None:
        self._client_socket = client_socket

    def __reduce__(self) -> NoReturn:
        self._client_socket.__reduce__()

    def respond(self, response: Any, error: bool = False) -> None:
        """Send `response` to the caller; see `ClientSocket.respond`."""
        self._client_socket.respond(response, error)

    def fail(self, failure: BaseException) -> None:
        """End the call with `failure`; see `ClientSocket.fail`."""
        self._client_socket.fail(failure)

    def __del__(self) -> None:
        self._client_socket.drop()


def respond(client_socket: ClientSocket | Deferred, response: Any, error: bool = False) -> None:
    """Send `response` to the client whose request the task is working on.

    With `error` the response is marked as an error and logged on both sides; the caller's
    call still returns it and doesn't raise it. Raises what `ClientSocket.respond` raises, and
    `TypeError` for anything but the client socket that the task got, or what it deferred.
    """
    if not isinstance(client_socket, (ClientSocket, Deferred)):
        raise TypeError(
            "client_socket must be the one that the task was called with, not "
            f"{type(client_socket).__name__}"
        )
    client_socket.respond(response, error)
