"""What acts on each message of a client: on the thread that polls.

::

    session ─► handlers[class of the message] ─► queue, or an answer at once by the outbox

Nothing here runs user code, and nothing waits: what a client asks of the server itself is
answered while a task runs. The thread that polls may be either of two, one at a time
(`bgpy.serving.io.polling_role`); what it reads of the task thread's is a single reference,
number or flag, or asked under the queue's lock.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from bgpy.codec.payload import PICKLE
from bgpy.errors import RemoteProtocolError
from bgpy.serving.budget import NO_ROOM, Overloaded
from bgpy.serving.ending import Ending, Taken
from bgpy.serving.job import Job, Peer
from bgpy.serving.outbox import Outbox
from bgpy.serving.questions import LONGEST_QUESTION, Questions
from bgpy.serving.queue import JobQueue
from bgpy.serving.worker import Worker
from bgpy.tasks.current import LONGEST_CHAIN, serials_in
from bgpy.tasks.engine import Engine
from bgpy.tasks.lifecycle import EXEC, NO_TASKS, Kind
from bgpy.version import __version__
from bgpy.wire.extensions import Extension, UnknownExtension, decode_extensions
from bgpy.wire.messages import (
    AT_CODEC,
    AT_EXTENSIONS,
    AT_WAIT,
    CALL,
    CHAIN,
    CODEC_NONE,
    Cancel,
    Execute,
    Exit,
    Goodbye,
    Init,
    Modules,
    Ping,
    Pong,
    Reason,
    Runs,
    Stage,
    Status,
    json_object,
    modules_asked,
    stage_text,
)

log = logging.getLogger("bgpy.server")

LONGEST_STATUS = 2**16
"""Characters of a question for a status; those of today's clients have 3,200 at most."""

CALLS_ITSELF = (
    "this call would deadlock: a task on this server is waiting for it, and the server runs one "
    "task at a time"
)


@dataclass(frozen=True)
class ServerParts:
    """What requests are handed to: the parts of one server that act on them."""

    engine: Engine
    jobs: JobQueue[Job]
    outbox: Outbox
    ending: Ending
    worker: Worker
    questions: Questions


class Requests:
    """Acts on the messages of authenticated clients."""

    def __init__(
        self,
        parts: ServerParts,
        incarnation: bytes,
        has_init_file: bool,
        clients: Callable[[], int],
        interrupted: Callable[[], bool],
    ) -> None:
        """`clients` tells how many are connected, `interrupted` whether a signal waits for a task.

        The server ends when that task has run, though it takes requests still.
        """
        self._engine = parts.engine
        self._jobs = parts.jobs
        self._outbox = parts.outbox
        self._ending = parts.ending
        self._worker = parts.worker
        self._questions = parts.questions
        self._incarnation = incarnation
        self._has_init_file = has_init_file
        self._clients = clients
        self._interrupted = interrupted
        self.handlers: dict[type, Callable[[Peer, Any], None]] = {
            Init: self._on_init,
            Execute: self._on_execute,
            Exit: self._on_exit,
            Ping: lambda session, message: session.send(Pong(message.request)),
            Status: self._on_status,
            Cancel: self._on_cancel,
            Modules: self._on_modules,
            Goodbye: lambda session, message: session.close(),
        }

    # Requests for the tasks

    def _on_execute(self, session: Peer, message: Execute) -> None:
        wait = message[AT_WAIT]
        job = Job(EXEC, session, message, wait)
        unusual = self._ending.begun or message[AT_CODEC] != PICKLE or message[AT_EXTENSIONS]
        if unusual and not self._takes(job, message):
            return
        if not self._engine.initialized and not self._may_be_initialized():
            self._outbox.refuse(session, job.request, Reason.NOT_INITIALIZED, NO_TASKS)
            return
        try:
            full = self._jobs.push(job, session.client_id)
        except Overloaded:
            return self._outbox.refuse(session, job.request, Reason.OVERLOAD, NO_ROOM)
        if full:
            session.pause()
        if not wait:
            # From now on it is bound to run: the queue lets nobody withdraw it.
            self._outbox.receipt(session, job.request)

    def _on_init(self, session: Peer, message: Init) -> None:
        job = Job(Kind.INIT, session, message, False)
        if not self._takes(job, message):
            return
        try:
            full = self._jobs.push(job, session.client_id)
        except Overloaded:
            return self._outbox.refuse(session, job.request, Reason.OVERLOAD, NO_ROOM)
        if full:
            session.pause()

    def _on_exit(self, session: Peer, message: Exit) -> None:
        job = Job(Kind.EXIT, session, message, message.wait)
        if not self._allows(job, message, CODEC_NONE):
            return
        log.info("%s asked the server to end", session.name)
        try:
            taken = self._ending.ask(job)
        finally:
            self._worker.settle()
        if taken is Taken.TOO_LATE:
            self._worker.refuse_ending(job)
        elif taken is Taken.TOO_MANY:
            self._outbox.refuse(session, job.request, Reason.OVERLOAD, NO_ROOM)

    def _takes(self, job: Job, message: Init | Execute) -> bool:
        """Whether a request may be queued; if not, it has been answered."""
        if self._ending.begun:
            self._worker.refuse_ending(job)
            return False
        return self._allows(job, message, PICKLE)

    def _allows(self, job: Job, message: Init | Execute | Exit, also: int) -> bool:
        """Whether codec and extensions are allowed; if not, the request has been answered."""
        peer = job.peer
        assert peer is not None
        if message.codec not in (PICKLE, also):
            text = f"this server does not allow codec {message.codec}"
            self._outbox.refuse(peer, job.request, Reason.CODEC, text)
            return False
        if not message.extensions:
            return True
        job.size += len(message.extensions)
        try:
            extensions = decode_extensions(message.extensions)
        except UnknownExtension as error:
            self._outbox.refuse(peer, job.request, Reason.UNSUPPORTED, str(error))
            return False
        except RemoteProtocolError as error:
            self._refuse(peer, job.request, str(error))
        if job.kind is EXEC and not job.waits:
            return True  # nobody waits for it, so nobody waits for what it waits for
        job.chain = extensions.get(Extension.CHAIN, b"")
        job.size += len(job.chain)
        if self._waits_for_itself(job.chain):
            self._outbox.refuse(peer, job.request, Reason.CALLING_SELF, CALLS_ITSELF)
            return False
        return True

    def _waits_for_itself(self, chain: bytes) -> bool:
        """Whether a call that runs here is one of those that wait, as a chain tells."""
        return any(map(self._worker.is_running, serials_in(chain, self._incarnation)))

    def _may_be_initialized(self) -> bool:
        """Whether there will be tasks when what is queued before has run."""
        awaited = self._has_init_file or self._jobs.holds_init()
        taken = self._jobs.taken  # after the queue: what has left it has been taken before
        # Asked once more: an init may have ended while this looked for it.
        return (
            awaited or (taken is not None and taken.kind is Kind.INIT) or self._engine.initialized
        )

    # Questions to the server itself

    def _on_status(self, session: Peer, message: Status) -> None:
        if len(message.text) > LONGEST_STATUS:
            # It is parsed here, where all other clients wait meanwhile.
            text = f"a question for a status has at most {LONGEST_STATUS} characters"
            return self._outbox.refuse(session, message.request, Reason.TOO_LARGE, text)
        asked = json_object(message.text)
        if asked is None:
            self._refuse(session, message.request, "a question must be a JSON object")
        if CALL in asked:
            if CHAIN in asked:
                self._chain_grew(session, message, asked[CALL], asked[CHAIN])
            text = stage_text(self._stage(session, asked[CALL]), self._runs(session))
        else:
            text = json.dumps(self._described())
        session.send(Status(message.request, text))

    def _described(self) -> dict[str, object]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "initialized": self._engine.initialized,
            "busy": self._jobs.taken is not None,
            "queued": self._jobs.queued(),
            "clients": self._clients(),
            "ending": self._ending.begun or self._interrupted(),
            "unseen_failures": self._outbox.unseen,
            "last_unseen_failure": self._outbox.last_unseen,
        }

    def _chain_grew(self, session: Peer, message: Status, request: Any, text: Any) -> None:
        """The calls that wait for `request` are others than when it came.

        One that is still queued, and would wait for itself, is refused now. One that runs
        tells the chain with whatever it waits for from now on.
        """
        try:
            chain = bytes.fromhex(text)
            itself = self._waits_for_itself(chain)
        except (TypeError, ValueError):
            chain = bytes(LONGEST_CHAIN + 1)
        if len(chain) > LONGEST_CHAIN or type(request) is not int:
            self._refuse(session, message.request, "a question about a call has no such chain")
        owner = session.client_id
        # The queue first: what leaves it meanwhile is found taken.
        job = self._jobs.find(owner, request)
        if job is not None and itself and self._jobs.withdraw(owner, request):
            self._outbox.refuse(session, request, Reason.CALLING_SELF, CALLS_ITSELF)
            return
        if job is None:
            job = self._jobs.taken
        if job is not None and (job.owner, job.request) == (owner, request):
            job.chain = chain

    def _on_cancel(self, session: Peer, message: Cancel) -> None:
        withdrawn = self._jobs.withdraw(session.client_id, message.target)
        stage = Stage.WITHDRAWN if withdrawn else self._stage(session, message.target)
        session.send(Status(message.request, stage_text(stage, self._runs(session))))

    def _stage(self, session: Peer, request: Any) -> Stage:
        """How far a request of the client's is.

        Asked in the order that a request takes, so that one which moves on meanwhile is met
        later: it is `taken` before it leaves the queue, under the queue's lock, and deferred
        before it is taken no more.
        """
        owner = session.client_id
        if type(request) is not int:
            return Stage.UNKNOWN
        queued = self._jobs.find(owner, request) is not None
        job = self._jobs.taken
        if job is not None and (job.owner, job.request) == (owner, request):
            return Stage.RUNNING
        if self._ending.keeps(owner, request):
            return Stage.ENDING
        if queued:
            return Stage.QUEUED
        if self._worker.is_abroad(owner, request):
            return Stage.RUNNING
        return Stage.DEFERRED if (owner, request) in self._outbox.deferred else Stage.UNKNOWN

    def _runs(self, session: Peer) -> Runs | None:
        """Which task runs in the task thread, as that client sees it."""
        job = self._jobs.taken
        if job is None:
            return None
        if job.kind is EXEC:
            return Runs.OWN if job.owner == session.client_id else Runs.OTHER
        return Runs.INIT if job.kind is Kind.INIT else Runs.EXIT

    def _on_modules(self, session: Peer, message: Modules) -> None:
        if len(message.text) > LONGEST_QUESTION:
            text = f"a question for modules has at most {LONGEST_QUESTION} characters: ask in parts"
            return self._outbox.refuse(session, message.request, Reason.TOO_LARGE, text)
        names = modules_asked(message.text)
        if names is None:
            text = "a question for modules must be a JSON object with a list of their names"
            self._refuse(session, message.request, text)
        try:
            self._questions.ask(session, message.request, names)
        except Overloaded:
            self._outbox.refuse(session, message.request, Reason.OVERLOAD, NO_ROOM)

    def _refuse(self, peer: Peer, request: int, text: str) -> NoReturn:
        """Tell the client how it broke the protocol, and raise it."""
        self._outbox.refuse_connection(peer, request, text)
        raise RemoteProtocolError(text)
