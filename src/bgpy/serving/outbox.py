"""The gate: the requests of clients, and the one place where their answers leave.

Today they are sent at once; a durable server will hold them here until the state
is committed.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from bgpy.codec import failures, payload
from bgpy.errors import (
    DecodeError,
    MessageTooLarge,
    NoResponse,
    NotInitialized,
    PythonMismatch,
    ServerGone,
)
from bgpy.memory import Payload
from bgpy.tasks.client_socket import ClientSocket
from bgpy.tasks.lifecycle import Kind, Outcome, Result
from bgpy.wire.messages import (
    CODEC_PICKLE,
    Execute,
    Exit,
    Failure,
    Init,
    Message,
    Reason,
    Receipt,
    ReceiptCode,
)

log = logging.getLogger("bgpy.server")

_REASONS: dict[type[BaseException], Reason] = {
    DecodeError: Reason.DECODE,
    MessageTooLarge: Reason.TOO_LARGE,
    NoResponse: Reason.NO_RESPONSE,
    NotInitialized: Reason.NOT_INITIALIZED,
    PythonMismatch: Reason.PYTHON,
    ServerGone: Reason.NOT_STARTED,
}

_SHORT = 1000
"""Characters of a failure's text that are sent where the whole is too large."""


class Peer(Protocol):
    """Who asked, as far as a job's way back needs it."""

    @property
    def client_id(self) -> bytes:
        """The same for all connections of one client object."""

    def send(self, message: Message) -> None:
        """Send `message` to the peer, or drop it if the peer is gone."""

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        """As `send` of a `Reply`; with `more` it may wait a moment for what is sent next."""


class Job(ClientSocket):
    """A request for the task thread, and the way its answer leaves: what its task gets.

    Without a peer it is the server's own.
    """

    __slots__ = ("kind", "message", "more", "peer", "size")

    def __init__(
        self, kind: Kind, peer: Peer | None, message: Init | Execute | Exit | None, waits: bool
    ) -> None:
        self.kind = kind
        self.peer = peer
        self.message = message
        self.waits = waits
        self.answered = False
        self.deferred = False
        self.more = False
        """When its turn came, more waited behind it for the same client."""
        self.size = 0 if message is None else len(message[1])
        """Bytes of its arguments."""
        if message is not None and message[2]:
            self.size += sum(map(len, message[2]))

    @property
    def owner(self) -> bytes:
        """Whose turn it takes."""
        return b"" if self.peer is None else self.peer.client_id

    @property
    def request(self) -> int:
        """The request id within its client."""
        return 0 if self.message is None else self.message.request

    def reply(self, response: Any, error: bool) -> None:
        """Send what the task responded, if the client waits for it."""
        peer, message = self.peer, self.message
        if error:
            log.error("the task responded with an error: %.1000r", response)
        if peer is None or message is None:
            # An exit task responds at each end, also where a signal asked for it.
            level = logging.DEBUG if self.kind is Kind.EXIT else logging.WARNING
            log.log(level, "a response was dropped: nobody asked for it")
        elif self.waits:
            peer.reply(message[0], payload.encode(response, "response"), error, self.more)

    def end(self, failure: BaseException) -> None:
        """Send `failure` as the end of the call, or log it where nobody waits."""
        if self.waits:
            send_failure(self, failure)
        else:
            _log_unseen(self, failure)


def finish(job: Job, outcome: Outcome) -> None:
    """Answer what the task left unanswered; log the failures that nobody waits for."""
    if outcome.error is not None:
        _finish_failed(job, outcome.error)
    elif job.peer is None:
        return
    elif job.kind is Kind.INIT:
        done = outcome.result is Result.DONE
        code = ReceiptCode.INITIALIZED if done else ReceiptCode.ALREADY_INITIALIZED
        job.peer.send(Receipt(job.request, code))
    elif job.waits and outcome.result is Result.DONE:
        if not job.answered and not job.deferred:
            job.fail(NoResponse("the task ended without respond(client_socket, ...); it did run"))
    elif job.kind is Kind.EXIT:
        job.peer.send(Receipt(job.request, ReceiptCode.RECEIVED))


def send_failure(job: Job, failure: BaseException) -> None:
    """End `job` with `failure`: as an exception of the user's, or as a reason of ours."""
    if job.peer is None:
        return
    described = failures.describe(failure)
    reason = _REASONS.get(type(failure), Reason.TASK)
    name, text, traceback, packed = described
    plain = Failure(job.request, reason, name, text, traceback if reason is Reason.TASK else "")
    try:
        if reason is not Reason.TASK or packed is None:
            job.peer.send(plain)
        else:
            head, buffers, code = packed
            job.peer.send(plain._replace(head=head, buffers=buffers, codec=CODEC_PICKLE, code=code))
    except MessageTooLarge as error:
        job.peer.send(Failure(job.request, reason, name, f"{text[:_SHORT]} ... ({error})"))


def _finish_failed(job: Job, error: BaseException) -> None:
    if job.peer is None and job.kind is Kind.INIT:
        return  # of an init file: `Server.serve` raises it
    if _hears(job) or (job.waits and not job.answered):
        job.answered = True
        send_failure(job, error)
        log.warning("%s_task raised %s: %s", job.kind.name.lower(), type(error).__name__, error)
    else:
        _log_unseen(job, error)


def _hears(job: Job) -> bool:
    """Whether the caller hears of a failure without waiting for a response."""
    if job.peer is None:
        return False
    return job.kind is Kind.INIT or (job.kind is Kind.EXIT and not job.waits)


def _log_unseen(job: Job, error: BaseException) -> None:
    log.error("%s_task failed, and nobody waits for it", job.kind.name.lower(), exc_info=error)
