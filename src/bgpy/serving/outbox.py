"""The one exit: what tasks answer, and what is said of requests for them, leaves here.

::

    task ── respond, fail ──► ClientSocket ──┐
    engine ── Outcome ──► finish ────────────┤► Outbox ──► the session of who asked
    requests ── receipt, refuse ─────────────┘

What a client asks of the server itself (`Ping`, `Status`, `Modules`) is answered by
`bgpy.serving.requests` and `bgpy.serving.questions`, straight to the session: it tells of no
state that tasks made. So is a session's own refusal of a message that there was no memory to
receive: it never became a request.

Today each answer is sent at once, by the thread that has it. A durable server will hold
here what tells of a state that isn't committed yet: replies, failures of tasks, and
receipts, in their order, each with the serial of the commit that it waits for; once that
is through, they are sent in one go, and where it fails, each becomes a refusal.
`refuse` is never held, since what was refused has changed nothing. Only the lines that
go to the session, by `peer.send`, `peer.reply` and `peer.send_small`, have to know.

**Whose failure.** A `Reason` other than TASK says that bgpy itself made the failure. It is
given by the caller, and never read off an error's type: a task may raise any error of
bgpy's, which it got from a client of its own, and that is the task's exception.

**Threads.** Answers come from the task thread, from the thread that polls (receipts,
refusals), and from any thread of the user's where a response was deferred. Sessions take
care of their own sending; here `_counting` protects the two figures of failures that
nobody waits for, and `deferred` is a dict with only its own whole operations. A call is put
there by the task thread when its task has returned and it has no answer, and taken out by the
thread that has answered it, after it has marked it as `answered`. If the mark came first, the
task thread sees it after it has put the call there, and takes it out itself. A response that
is on its way meanwhile is no answer yet, since it may turn out that it can't travel. So a
task that raises then leaves the end of its call to who responds: that is the response, or,
if the `Deferred` is dropped unanswered, what the task raised.

**Wherever an exception strikes** (see `bgpy.serving.worker`), `finish` may be called again
for the same call, and does what was left: a call is marked as answered when its answer has
left and not before, and a claim on a deferred one is made in the job's name, so that it may
be made again. An answer that left when its sender was struck, before it was marked, may be
followed by a second: the client has the first, and drops what comes for a call that has
ended. `_counting` is left through `with`; at worst an entry too many stays in `deferred`,
of a call that has its answer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from bgpy.codec import failures
from bgpy.codec.payload import encode, pack
from bgpy.errors import (
    Advice,
    BgpyError,
    DecodeError,
    MessageTooLarge,
    NoResponse,
    PythonMismatch,
)
from bgpy.memory import Payload, whole
from bgpy.serving.job import Job, Peer
from bgpy.serving.small import MOST_REPLIES, SmallJob
from bgpy.tasks.client_socket import ClientSocket, Ended
from bgpy.tasks.lifecycle import Kind, Outcome, Result
from bgpy.wire.messages import (
    CODEC_PICKLE,
    Failure,
    Goodbye,
    Reason,
    Receipt,
    ReceiptCode,
)
from bgpy.wire.small import REPLY, pack_start

log = logging.getLogger("bgpy.server")

_SHORT = 1000
"""Characters of a failure's text that are sent where the whole is too large."""

WITHOUT_RESPONSE = {
    (Kind.EXEC, False): "exec_task returned None without responding; the state stays as it was",
    (Kind.EXEC, True): "exec_task returned the state without responding; it stays the state",
    (Kind.EXIT, False): "exit_task returned without calling respond(), so "
    "terminate(await_response=True) has nothing to return; the server has ended",
}
"""What is said of a task without a response, by its kind and whether it returned a state."""

REPLACED = (
    "exec_task returned an object of class {1} without responding, and that value became the state "
    "of the server, where an object of class {0} was before. What exec_task returns is the next "
    "state (None keeps the one before), and is not sent to the caller"
)
"""What is said where it returned another state: that may have been meant to be the response."""

_MOST_TOLD = 10
"""How often the log says so of calls that nobody waits for: once for each two classes."""

STATE_KEPT = (
    "exit_task did not finish, so the server keeps its state and keeps serving: get what you need "
    "of the state with call(); terminate() without await_response ends the server"
)
"""What to do where a response of the exit task's can't be sent: it may be all of the state."""

DROPPED_UNANSWERED = (
    "the task deferred its response, and the Deferred was dropped before it had responded, mostly "
    "because the thread that was to respond had raised an exception, which the server's log shows; "
    "the task did run"
)

ENDED_UNANSWERED = (
    "the task deferred its response, and the server ended before it was given; the task did run"
)

Later = Callable[[Callable[[], None]], None]
"""Has a function called soon, outside of whatever its caller is in the middle of."""


class Outbox:
    """Where answers leave; the `Outlet` of the client sockets of this server's own tasks."""

    def __init__(self, later: Later) -> None:
        """`later` takes no lock: the collector calls it in any thread, anywhere."""
        self._later = later
        self.deferred: dict[tuple[bytes, int], ClientSocket] = {}
        """The calls whose task has returned and whose answer is open, by owner and request."""
        # Guards the two figures below; taken by any thread that answers, for two assignments.
        self._counting = threading.Lock()
        self.unseen = 0
        """How many failures nobody waited for."""
        self._told: set[tuple[str, str]] = set()
        self.last_unseen = ""
        """The last of them in a line."""

    # What a task says

    def reply(self, call: Job, response: Any, error: bool) -> None:
        """Send what the task responded, if the client waits for it."""
        peer = call.peer
        if error:
            log.error("the task responded with an error: %.1000r", response)
        if call.waits and peer is not None:
            peer.reply(call.request, encode(response, "response"), error, call.more)
        elif error:
            self._count_unseen(call, f"{response!r:.1000}")
        elif peer is None:
            # An exit task responds at each end, also where a signal asked for it.
            level = logging.DEBUG if call.kind is Kind.EXIT else logging.WARNING
            log.log(level, "the task's response was dropped: no caller waits for it")

    def reply_small(self, call: SmallJob, response: Any) -> None:
        """As `reply` without an error to a small call, in fewer steps where the reply is small."""
        packed = pack(response, "response")
        if packed.__class__ is not bytes:
            call.peer.reply(call.request, whole(packed), False, call.more)
            return
        reply = pack_start(REPLY, len(packed), call.request) + packed
        row = call.row
        if row is None:
            send_small = call.peer.send_small  # methods that are attributes are called slowly
            send_small(reply, call.more)
            return
        row.replies.append(reply)
        if not row.jobs or len(row.replies) >= MOST_REPLIES:
            row.flush()

    def fail(self, call: Job, failure: BaseException, reason: Reason = Reason.TASK) -> None:
        """Send `failure` as the end of the call, or count it where nobody waits."""
        if call.waits:
            self._send_failure(call, failure, reason)
        else:
            self._note_unseen(call, failure, answers=False)

    def drop(self, call: Job) -> None:
        """Have a deferred call fail that nobody can answer any more."""
        self._later(partial(self.fail, call, *_left_open(call, DROPPED_UNANSWERED)))

    def settled(self, call: Job) -> None:
        """Forget a deferred call that has its answer."""
        self.deferred.pop((call.owner, call.request), None)

    # What came of a call

    def finish(self, job: Job, client_socket: ClientSocket, outcome: Outcome) -> None:
        """Answer what the task left unanswered; count the failures that nobody waits for."""
        if outcome.error is not None:
            self._finish_failed(job, client_socket, outcome.result, outcome.error)
        elif job.kind is Kind.INIT and job.peer is not None:
            done = outcome.result is Result.DONE
            code = ReceiptCode.INITIALIZED if done else ReceiptCode.ALREADY_INITIALIZED
            self.receipt(job.peer, job.request, code)
        elif job.waits and outcome.result is Result.DONE:
            if client_socket.deferred:
                self._keep_deferred(job, client_socket)
            elif not client_socket.answered:
                text = WITHOUT_RESPONSE[job.kind, outcome.state]
                if outcome.replaced is not None:
                    text = REPLACED.format(*outcome.replaced)
                self._send_failure(job, NoResponse(text), Reason.NO_RESPONSE)
                client_socket.ended = Ended.SILENT
                client_socket.answered = True
        elif job.kind is Kind.EXIT and job.peer is not None:
            self.receipt(job.peer, job.request)
        elif outcome.replaced is not None and not client_socket.deferred:
            self._tell_once(outcome.replaced)

    def _tell_once(self, replaced: tuple[str, str]) -> None:
        """Say in the log what became of the state, though nobody misses a response."""
        if replaced in self._told or len(self._told) == _MOST_TOLD:
            return
        self._told.add(replaced)
        level = logging.INFO if replaced[0] == replaced[1] else logging.WARNING
        log.log(
            level, "%s. To answer, call respond(client_socket, value)", REPLACED.format(*replaced)
        )

    def _keep_deferred(self, job: Job, client_socket: ClientSocket) -> None:
        self.deferred[job.owner, job.request] = client_socket
        if client_socket.answered:
            self.deferred.pop((job.owner, job.request), None)

    def _finish_failed(
        self, job: Job, client_socket: ClientSocket, result: Result, error: BaseException
    ) -> None:
        if job.peer is None and job.kind is Kind.INIT:
            return  # of an init file: `ServerCore.serve` raises it
        if result is Result.UNSENT and isinstance(error, BgpyError):
            error.advice = Advice(STATE_KEPT, STATE_KEPT)
        # Init, and an exit that doesn't wait for a response, are answered all the same.
        told = job.peer is not None and job.kind is not Kind.EXEC and not job.waits
        if told or (job.waits and self._is_open(job, client_socket)):
            self._send_failure(job, error, _reason(job.kind, result, error))
            client_socket.ended = Ended.RAISED
            client_socket.answered = True
            # Who waits for an exit_task ends the server, and may print no traceback.
            shown = error if job.kind is Kind.EXIT else None
            name, kind = job.kind.name.lower(), type(error).__name__
            log.warning("%s_task raised %s: %s", name, kind, error, exc_info=shown)
            return
        under_way = job.waits and not client_socket.answered
        if under_way:
            self._keep_deferred(job, client_socket)
        self._note_unseen(job, error, job.waits, under_way)

    def end_deferred(self) -> None:
        """Fail the calls whose answer is open still: the server ends, the exit task has run."""
        left = 0
        for client_socket in self.deferred.copy().values():
            job = client_socket.call
            if client_socket.claim(job, Ended.CLOSED):
                self.fail(job, *_left_open(job, ENDED_UNANSWERED))
                client_socket.answered = True
                left += 1
        if left:
            calls = f"{left} calls" if left > 1 else "a call"
            log.warning("%s ended with NoResponse: %s", calls, ENDED_UNANSWERED)

    def _is_open(self, job: Job, client_socket: ClientSocket) -> bool:
        """Whether a call has no answer; if so, nobody else can give it one from now on."""
        if client_socket.deferred:
            return client_socket.claim(job, Ended.RAISED)
        return not client_socket.answered

    # What the server says itself

    def receipt(self, peer: Peer, request: int, code: int = ReceiptCode.RECEIVED) -> None:
        """Say that a request has arrived, or what came of an init."""
        peer.send(Receipt(request, code))

    def refuse(self, peer: Peer, request: int, reason: Reason, text: str) -> None:
        """Say that a request has not run and never will, and why."""
        peer.send(Failure(request, reason, text=text))

    def refuse_connection(self, peer: Peer, request: int, text: str) -> None:
        """Tell a client how it broke the protocol; the caller closes the connection."""
        self.refuse(peer, request, Reason.PROTOCOL, text)
        peer.send(Goodbye(text))

    def _send_failure(self, job: Job, failure: BaseException, reason: Reason) -> None:
        peer = job.peer
        if peer is None:
            return
        name, text, traceback, packed = failures.describe(failure)
        if reason not in (Reason.TASK, Reason.KEEPS_SERVING):
            traceback, packed = "", None
        plain = Failure(job.request, reason, name, text, traceback)
        try:
            peer.send(_with(plain, packed))
        except MessageTooLarge as error:
            short = plain._replace(traceback=traceback[-_SHORT:])
            self._send_short(
                peer, short, None if packed is None else failures.alone(failure), error
            )
        self.deferred.pop((job.owner, job.request), None)

    def _send_short(
        self, peer: Peer, plain: Failure, packed: Payload | None, error: MessageTooLarge
    ) -> None:
        """Send a failure without its causes; in few words if it is too large all the same."""
        if packed is not None:
            try:
                peer.send(_with(plain, packed))
                return
            except MessageTooLarge as too_large:
                error = too_large
        peer.send(plain._replace(text=f"{plain.text[:_SHORT]} ... ({error})", traceback=""))

    # Failures that nobody waits for

    def _note_unseen(
        self, job: Job, error: BaseException, answers: bool, under_way: bool = False
    ) -> None:
        name = job.kind.name.lower()
        if under_way:
            text = "%s_task failed while its deferred response was being sent"
        elif answers:
            text = "%s_task failed after it had responded; the caller has its response"
        elif job.peer is None:
            text = "%s_task failed"
        else:
            text = "%s_task failed, and the caller does not wait for a response"
        log.error(text, name, exc_info=error)
        described = failures.describe(error)
        self._count_unseen(job, f"{described.type_name}: {described.text:.1000}")

    def _count_unseen(self, job: Job, text: str) -> None:
        with self._counting:
            self.unseen += 1
            self.last_unseen = f"{job.kind.name.lower()}_task: {text}"


def _with(plain: Failure, packed: Payload | None) -> Failure:
    """A failure with an exception in it, if there is one."""
    if packed is None:
        return plain
    head, buffers, code = packed
    return plain._replace(head=head, buffers=buffers, codec=CODEC_PICKLE, code=code)


def _left_open(job: Job, text: str) -> tuple[BaseException, Reason]:
    """How a deferred call ends that nobody answers: as its task did, or with `text`."""
    outcome = job.outcome
    if outcome is None or outcome.error is None:
        return NoResponse(text), Reason.DROPPED
    return outcome.error, _reason(job.kind, outcome.result, outcome.error)


def _reason(kind: Kind, result: Result, error: BaseException) -> Reason:
    """The reason of a failure that ended a call with `result`."""
    if result is Result.WITHOUT_TASKS:
        return Reason.NOT_INITIALIZED
    if result is Result.UNSENT:
        return Reason.KEEPS_SERVING
    if result is not Result.UNREADABLE:
        return Reason.TASK
    # What the codec raised; nothing ran.
    if type(error) is PythonMismatch:
        return Reason.PYTHON
    if type(error) is DecodeError:
        return Reason.DECODE
    return Reason.KEEPS_SERVING if kind is Kind.EXIT else Reason.TASK
