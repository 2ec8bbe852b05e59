"""The short roads of a connection: small calls in few steps (docs/design/0026).

::

    call ──► one lock: id, pending, send ──► receive ──► the pickle of its reply
               └── anything unusual: None, before anything was done ──► the general road

    submit ──► one lock: id, pending, gathered ──► leaves with others; the standby reads

Each does what `channel` and what it stands on do, step by step and in that order, written out
since it is on the way of every call. Whatever isn't as expected is left to those.

**The turn is held from the start.** A lone call holds the lock of its thread's turn (`turns`)
around all of it, and that alone says that the thread is inside of the client (`threads`). It takes
the turn under the client's lock, where nobody has it and the standby wasn't asked; since it holds
the turn's lock already, the standby, which may be asked any time after that, can't take it for
struck down. Locks are taken in this order everywhere: a turn, then the client's. Whatever is
raised here, ``with`` lets both go. What is left then is what the general road leaves: a call in
`pending`, marks of a send or a read under way, the turn; `Sent.failed` tidies up, or others do.
"""

from __future__ import annotations

from time import monotonic

from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.link import Link
from bgpy.calling.blocking.reading import LOOK_AFTER, Reader
from bgpy.calling.blocking.send_queue import GATHERED
from bgpy.calling.blocking.sent import Sent
from bgpy.calling.blocking.waiting import TICK
from bgpy.calling.conversation import Answer, Call
from bgpy.system.sockets import READABLE, poll
from bgpy.tasks.current import TASK_THREADS, is_task_thread
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.small import EXECUTE, pack_start

LONG = 2 * TICK
"""Seconds of a time limit that receiving once, which gives up after a `TICK`, surely keeps."""


class Shortcut:
    """Of one connection. While `Connector.shortcut` is set, calls may take it."""

    def __init__(self, link: Link, reader: Reader, sent: Sent) -> None:
        shared = link.shared
        self._link = link
        self._reader = reader
        self._sent = sent
        self._turns = reader.turns
        self._sends = link.sends
        self._send = link.sends.send_now
        self._flags = link.sends.flags
        self._conversation = link.conversation
        self._pending = link.conversation.pending
        self._numbers = shared.numbers
        self._lock = shared.lock
        self._here = shared.here
        self._posted = shared.posted
        self.longest = link.connection.small_head
        """Bytes of a pickle that may go this way; -1 where the short roads are switched off."""

    def call(self, head: bytes, timeout: float | None) -> Answer | None:
        """Send a call and give what came for it, a bytearray if that is a small plain pickle.

        None says that nothing was done: this thread is in the midst of the client or runs a task,
        another one reads, something waits to be sent, after a silence something has come, the
        connection is not to be used, or the time limit is short.
        """
        inside, turn = self._here.both
        length = len(head)
        if (
            length > self.longest
            or inside.locked()
            or turn.locked()
            or (timeout is not None and timeout < LONG)
            or self._posted
            or (TASK_THREADS and is_task_thread())
        ):
            return None
        link = self._link
        now = monotonic()
        if now - link.last_used > LOOK_AFTER and poll(link.sock, 0.0, READABLE):
            return None
        turns, sends = self._turns, self._sends
        call = Call()
        try:
            with turn:
                with self._lock:
                    if (
                        turns.reader is not None
                        or turns.asked
                        or sends.waiting
                        or sends.torn
                        or link.closing
                        or self._conversation.ended is not None
                    ):
                        return None
                    turns.reader = turn
                    numbers = self._numbers
                    numbers.last = call.request = number = numbers.last + 1
                    self._pending[number] = call
                    data = pack_start(EXECUTE, length, number) + head
                    send, flags = self._send, self._flags
                    sends.torn = True
                    try:
                        taken = send(data, flags) if flags else send(data)
                    except OSError as error:
                        taken = sends.refused(error)
                    if taken == length + HEADER_SIZE:
                        call.left = True
                    else:
                        sends.gather_rest(call, data, taken)
                    sends.torn = False
                link.last_used = now
                if call.left:
                    answer = self._reader.read_lone(call, number)
                    if answer is not None:
                        return answer
            with inside:
                call.timeout = timeout
                deadline = None if timeout is None else now + timeout
                return self._sent.answer_of(call, True, deadline)
        except BaseException as error:
            with inside:
                return self._sent.failed(call, error)

    def submit(self, call: CallFuture, head: bytes) -> bool | None:
        """Gather a call that nobody waits for; whether what stays behind has to be seen off.

        None says that nothing was done: this thread is in the midst of the client or runs a task,
        what was submitted before waits for a connection, the standby doesn't read (so that the
        connection may need a look first), or it is not to be used.
        """
        inside, turn = self._here.both
        length = len(head)
        if (
            length > self.longest
            or inside.locked()
            or turn.locked()
            or self._posted
            or (TASK_THREADS and is_task_thread())
        ):
            return None
        link, sends, pending = self._link, self._sends, self._pending
        try:
            with inside, self._lock:
                if (
                    not self._turns.asked
                    or sends.torn
                    or link.closing
                    or self._conversation.ended is not None
                ):
                    return None
                numbers, waiting = self._numbers, sends.waiting
                numbers.last = call.request = number = numbers.last + 1
                pending[number] = call
                is_first = not waiting
                waiting.append((call, pack_start(EXECUTE, length, number) + head, True))
                sends.size += length + HEADER_SIZE
                if sends.size >= GATHERED or len(pending) <= len(waiting):
                    sends.push()
                    return bool(waiting)
                # Whoever was the first to leave something there has rung for all behind it.
                return is_first
        except BaseException as error:
            with inside:
                self._sent.failed(call, error)
            return False
