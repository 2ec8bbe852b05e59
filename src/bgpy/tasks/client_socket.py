"""What a task holds of its caller: the way to respond, now or later.

::

    task ──respond──► ClientSocket ──reply, end──► the outbox of the server
      └──defer──► Deferred ──respond, fail, from any thread──┘

A call gets one answer. Where nobody waits for it, it is dropped.
"""

from __future__ import annotations

import _thread
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from bgpy.errors import AlreadyResponded, NoResponse

if TYPE_CHECKING:
    # Making its dataclass takes 2 ms, and whoever has a message has imported it.
    from bgpy.tasks.compatibility import Message

# One lock for all calls: it is held for two assignments, and only deferred answers come
# from other threads. Reentrant, since the collector may drop a `Deferred` anywhere.
_answering = threading.RLock()


class ClientSocket(ABC):
    """The caller of the task that runs, as handed to the three functions.

    ``waits`` tells whether the caller waits for a response. Where answers leave is said by
    the class of the engine's that is made of it, for each call one.
    """

    __slots__ = ("answered", "deferred", "waits")

    def __init__(self, waits: bool) -> None:
        self.waits = waits
        self.answered = False
        self.deferred = False

    @abstractmethod
    def reply(self, response: Any, error: bool) -> None:
        """Send `response`, marked as an error or not; raises `EncodeError` if it can't travel."""

    @abstractmethod
    def end(self, failure: BaseException) -> None:
        """Send `failure` as the end of the call."""

    def respond(self, response: Any, error: bool = False) -> None:
        """Send `response` to the caller; it is dropped if the caller does not wait for one.

        Raises `AlreadyResponded` at a second response to the same call, and
        `EncodeError` (nothing was sent; respond with something else) if an object in
        it can't be pickled.
        """
        if self.deferred or self.answered:
            self._claim()
        else:
            self.answered = True  # no other thread may answer what was not deferred
        try:
            self.reply(response, error)
        except BaseException:
            self.answered = False
            raise

    def send(self, message: Message) -> None:
        """Send the `args` of `message` as the response: how 0.3.1 spelled it."""
        self.respond(message.args, error=message.type.name == "ERROR")

    def defer(self) -> Deferred:
        """Answer later: the task may return without a response, and the caller goes on waiting."""
        self.deferred = True
        return Deferred(self)

    def fail(self, failure: BaseException) -> None:
        """End the call with `failure`, which the caller sees raised."""
        self._claim()
        self.end(failure)

    def drop(self) -> None:
        """End an open call because nobody can answer it any more; the collector calls this."""
        if self._take():
            return
        failure = NoResponse("the task deferred its response and then dropped it unanswered")
        try:
            # The collector runs anywhere, also where this thread holds the locks of sending.
            _thread.start_new_thread(self.end, (failure,))
        except RuntimeError:
            pass  # the interpreter ends, and the connection with it

    def _claim(self) -> None:
        if self._take():
            raise AlreadyResponded("this call has been responded to already")

    def _take(self) -> bool:
        """Take the right to answer; whether it was taken before."""
        with _answering:
            answered, self.answered = self.answered, True
        return answered


class Deferred:
    """The right to answer one call later, from any thread.

    If it is dropped unanswered, the caller gets `NoResponse`.
    """

    __slots__ = ("_client_socket",)

    def __init__(self, client_socket: ClientSocket) -> None:
        self._client_socket = client_socket

    def respond(self, response: Any, error: bool = False) -> None:
        """As `ClientSocket.respond`."""
        self._client_socket.respond(response, error)

    def fail(self, failure: BaseException) -> None:
        """As `ClientSocket.fail`."""
        self._client_socket.fail(failure)

    def __del__(self) -> None:
        self._client_socket.drop()


def respond(client_socket: ClientSocket, response: Any, error: bool = False) -> None:
    """Send `response` to the client whose request a task is working on.

    With `error` it reaches the waiting caller marked as an error (and is logged on
    both sides); it is returned there, not raised. Raises as `ClientSocket.respond`.
    """
    client_socket.respond(response, error)
