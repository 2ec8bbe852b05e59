"""A connection as both sides of it need it: what leaves, which calls are under way, and its end.

Nothing here waits or reads. What the socket doesn't take stays in the send queue; who waits no
longer for that, since its time is over or it was interrupted, leaves it to the client's sender.
Ending may be repeated: what an interrupted thread leaves of it is done by the next that ends it.
"""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from bgpy.calling.blocking import loss
from bgpy.calling.blocking.connecting import Connected
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.send_queue import SendQueue
from bgpy.calling.blocking.shared import Shared, Unusable
from bgpy.calling.blocking.waiting import set_tick
from bgpy.calling.conversation import NOTHING, Call, Conversation, Expiry, Known
from bgpy.calling.liveness import server_process
from bgpy.system.keepalive import GONE, is_silent
from bgpy.system.sockets import WRITABLE, poll
from bgpy.system.strikes import is_strike
from bgpy.tasks import current
from bgpy.wire.messages import Cancel, Status, stage_question

if TYPE_CHECKING:
    from bgpy.calling.blocking.waiting import Stream

STRUCK_SENDING = "a thread was interrupted while sending a request on this connection"


ASK = 0.17
"""Seconds that a server has, after a call's time is over, to say how far it came."""


class Link:
    """An authenticated connection, until it ends."""

    def __init__(self, connected: Connected, shared: Shared) -> None:
        reached, self.connection, self.welcome = connected
        self.process = server_process(self.welcome)
        server = Known(
            address=str(shared.address),
            pid=None if self.process is None else self.process.pid,
        )
        self.conversation = Conversation(server=server, pid=self.welcome.pid)
        self.closing = ""
        """Why this side closes the connection, once its goodbye is being sent: that thread
        reads to the end, and nobody begins a call."""
        self.last_used = monotonic()
        self.sock = reached.sock
        set_tick(self.sock)
        self.sends = SendQueue(self.sock)
        self.shared = shared
        self.lock = shared.lock
        self.tell_end: Callable[[], object] = _nobody
        """Called at the first end, with the lock held: wakes who would read."""
        # Not __del__: in a cycle the socket may be collected first, which warns.
        finalizer = weakref.finalize(self, _finish, self.sock, self.sends)
        finalizer.atexit = False  # the program's end has its own, after whatever calls then

    @property
    def has_ended(self) -> bool:
        """Whether the connection has ended: then so has every call on it."""
        return self.conversation.ended is not None

    @property
    def can_send(self) -> bool:
        """Whether anything may be sent, a goodbye or a question about a call too."""
        return not (self.sends.torn or self.conversation.ended is not None)

    def check(self) -> None:
        """With the lock held: raise `Unusable` where no request may be sent any more."""
        if self.sends.torn or self.closing or self.conversation.ended is not None:
            raise Unusable  # behind a goodbye only what was gathered before leaves

    # What leaves

    def push(self) -> bool:
        """Send of what waits as much as the socket takes now; whether something is left.

        Raises `OSError` if the connection is lost.
        """
        with self.lock:
            torn = self.sends.torn
            if not torn and self.conversation.ended is None:
                self.sends.push()
                return bool(self.sends.waiting)
        if torn:
            self.end(STRUCK_SENDING)
        return False

    def wait_writable(self, seconds: float) -> bool:
        """Wait until the socket takes bytes."""
        return poll(self.sock, seconds, WRITABLE)

    def hand_on(self) -> None:
        """Have the sender send what this thread has begun to, and waits for no longer."""
        if self.sends.waiting:
            push_on = self.shared.push_on()
            if push_on is not None:
                push_on()

    # Calls whose time is over, or that others wait for

    def withdraw(self, call: Call) -> bool:
        """Take back a call whose time is over; whether the server was asked to, and may say.

        What is left to send of it is sent all the same, and the server asked behind that: the
        connection is not for this call alone. Where no question can leave, since a goodbye has or
        since the server is gone, an answer may come all the same: what came before the end is read.
        """
        with self.lock:
            torn = self.sends.torn
            what = Expiry.ENDED if torn else self.conversation.expire(call)
            if what is Expiry.WITHDRAWN:
                self.sends.take_back(call)
            elif what is Expiry.ASK:
                self._ask_about(call)
        if torn:
            self.end(STRUCK_SENDING)
        elif what is Expiry.CUT_OFF:
            self.end("a request timed out before it was completely sent")
        self.hand_on()
        return what is Expiry.ASK

    def _ask_about(self, call: Call) -> None:
        """With the lock held: ask the server how far `call` came, whose time is over."""
        if self.closing:
            call.asked = True  # as if it had been: behind a goodbye nothing leaves
            return
        number = self.shared.numbers.draw()
        question = self.conversation.ask(call, number)
        try:
            self.sends.send(question, self.connection.send(Cancel(number, call.request)))
        except OSError as error:
            if is_strike(error):
                raise
            # Else the connection is lost: the thread that reads finds its end.

    def expire_future(self, call: Call) -> bool:
        """The time of a future's call is over: ask, or end it; whether an answer may come."""
        if self.withdraw(call):
            return True
        self.wake(call)
        return False

    def give_up_future(self, call: Call) -> None:
        """The server has not said in time how far a future's call came."""
        with self.lock:
            self.conversation.give_up(call)
        self.wake(call)

    def tell_chain(self, call: Call) -> None:
        """In a task that waits for `call`: tell the server who waits, unless it knows.

        The chain of a task grows while it runs when a future begins to be waited for whose
        call it is. The server refuses the call if one of those that wait holds it.
        """
        chain = current.chain()
        if chain == call.chain or len(chain) > current.LONGEST_CHAIN:
            return
        with self.lock:
            if not self.can_send or self.closing or call.answer is not None:
                return
            call.chain = chain
            question = Status(self.shared.numbers.draw(), stage_question(call.request, chain))
            self.sends.send(Call(), self.connection.send(question))
        self.hand_on()

    # The end

    def end_if_gone(self) -> bool:
        """End the connection if its server is known to be gone, or its machine silent."""
        if self.process is not None and self.process.is_gone():
            self.end_lost("the server's process is gone")
        elif is_silent(self.sock):
            self.end_lost(f"the server's machine has acknowledged nothing for {GONE} seconds")
        else:
            return False
        return True

    def end_lost(self, reason: str) -> None:
        """End a connection that the server or the network has ended, without a goodbye.

        With no lock held, since the server's process is waited for, for a moment.
        """
        if self.closing or self.conversation.ended is not None:
            self.end(reason)
        else:
            found = loss.learn(reason, self.process, self.shared.address, self.welcome.incarnation)
            self.end(*found)

    def end(self, reason: str, known: Known = NOTHING) -> None:
        """End the connection and all that is under way on it; may be repeated."""
        if self.closing:  # the server's closing is the client's doing then
            reason, known = self.closing, loss.OWN
        with self.lock:
            conversation = self.conversation
            if conversation.note_end(reason, known):
                self.tell_end()
            try:
                self.sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads
            except OSError as error:
                if is_strike(error):
                    raise
                # The server was first, or it is done.
            for call in conversation.end(reason, doubtful=self.sends.torn):
                self.wake(call)
                conversation.done(call)
            self.sends.clear()

    def wake(self, call: Call) -> None:
        """Wake who waits for `call`; may be repeated where it was interrupted."""
        if call.waker is not None:
            call.waker.open()
        elif isinstance(call, CallFuture) and call.answer is not None:
            self.shared.finishers.settle(call, call.answer)


def _nobody() -> None:
    """Nobody reads yet."""


def _finish(sock: Stream, sends: SendQueue) -> None:
    """What a link leaves behind when it is collected."""
    try:
        sends.push()
    except OSError as error:
        if is_strike(error):
            raise
        # Else it is gone already.
    finally:
        sock.close()
