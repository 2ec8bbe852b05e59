"""Sessions on real sockets with small buffers: what is sent arrives whole and in order."""

from __future__ import annotations

import gc
import socket
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from enum import Enum
from types import FunctionType, ModuleType

import pytest

from bgpy.errors import AuthenticationError, MessageTooLarge
from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.sessions import outflow as outflow_module
from bgpy.serving.sessions import session as session_module
from bgpy.serving.sessions.session import Session
from bgpy.wire.frames import pack_header
from bgpy.wire.messages import (
    Execute,
    Failure,
    Goodbye,
    Message,
    Ping,
    Pong,
    Reason,
    Reply,
)
from bgpy.wire.table import TO_CLIENT, TO_SERVER
from tests.support.builds import FREE_THREADED
from tests.support.forks import forked_while_held
from tests.support.loop import LONG, Loop
from tests.support.pair import FILLS_A_SOCKET, LIMITS, Pair, refused
from tests.support.peers import wait_until
from tests.support.wine import SENDS_AND_ENDS

Connect = Callable[..., Pair]

SHARED = (type, ModuleType, FunctionType, Enum)
"""Kinds of objects that no session has of its own."""


@pytest.fixture
def connect(loop: Loop) -> Iterator[Connect]:
    """Make a session and its client; both are closed at the end."""
    pairs: list[Pair] = []

    def connect(**options: object) -> Pair:
        pairs.append(Pair(loop, **options))  # type: ignore[arg-type]
        return pairs[-1]

    yield connect
    for pair in pairs:
        pair.close()
        assert pair.service.times_closed == 1
        assert pair.transport.sock.fileno() == -1


def _reply(request: int, size: int) -> Reply:
    """A reply with a buffer of the "user's own" memory."""
    content = struct.pack("<I", request) * (size // 4)
    return Reply(request, b"head", [memoryview(bytearray(content))])


def _is_whole(message: Message) -> bool:
    assert isinstance(message, Reply)
    (buffer,) = message.buffers
    return bytes(buffer) == struct.pack("<I", message.request) * (len(buffer) // 4)


def test_session_hands_on_messages_when_the_token_is_proved(connect: Connect) -> None:
    """The client's id comes from its handshake; its messages come in order."""
    pair = connect().shake_hands()
    messages = [Ping(1), Execute(2, b"args", [memoryview(b"x" * 300_000)]), Ping(3)]
    for message in messages:
        pair.send(message)
    for _ in messages:
        assert pair.service.came.acquire(timeout=LONG)
    assert pair.session.client_id == b"c" * 16
    first, second, third = pair.service.messages
    assert (first, third) == (messages[0], messages[2])
    assert isinstance(second, Execute)
    assert [bytes(each) for each in second.buffers] == [b"x" * 300_000]


def test_session_takes_each_byte_alone_when_they_come_so(connect: Connect) -> None:
    """However the stream is cut, the message is the same."""
    pair = connect().shake_hands()
    for piece in pair.connection.send(Execute(7, b"args")):
        for byte in bytes(piece):
            pair.sock.sendall(bytes((byte,)))
    assert pair.service.came.acquire(timeout=LONG)
    assert pair.service.messages == [Execute(7, b"args")]


@SENDS_AND_ENDS
def test_session_sends_all_of_a_message_when_the_socket_takes_little(connect: Connect) -> None:
    """Partial sends go on where they stopped, through thousands of small writes."""
    pair = connect().shake_hands()
    sender = threading.Thread(target=pair.session.send, args=(_reply(1, 2**21),))
    sender.start()
    (message,) = pair.read(1)
    sender.join(LONG)
    assert _is_whole(message)


@FILLS_A_SOCKET
def test_session_keeps_a_copy_when_the_reader_takes_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's memory may change once `send` has returned: what arrives is not torn."""
    monkeypatch.setattr(outflow_module, "PATIENCE", 0.0)
    pair = connect().shake_hands()
    memory = bytearray(b"before!!" * 2**17)
    pair.session.send(Reply(1, b"head", [memoryview(memory)]))
    assert pair.session.unsent
    memory[:] = b"after???" * 2**17
    (message,) = pair.read(1)
    assert isinstance(message, Reply)
    assert bytes(message.buffers[0]) == b"before!!" * 2**17


def test_session_keeps_copies_of_queued_messages_when_one_is_under_way(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a message that was queued whole doesn't see later changes."""
    monkeypatch.setattr(outflow_module, "PATIENCE", 0.0)
    pair = connect().shake_hands()
    pair.session.send(_reply(1, 2**20))
    memory = bytearray(b"before!!")
    pair.session.send(Reply(2, b"head", [memoryview(memory)]))
    memory[:] = b"after???"
    first, second = pair.read(2)
    assert _is_whole(first)
    assert isinstance(second, Reply)
    assert bytes(second.buffers[0]) == b"before!!"


def test_session_is_done_with_sending_when_the_reader_has_caught_up(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After what was queued has left, the next message is sent at once."""
    monkeypatch.setattr(outflow_module, "PATIENCE", 0.0)
    pair = connect().shake_hands()
    for request in range(1, 6):
        pair.session.send(_reply(request, 2**18))
        assert _is_whole(pair.read(1)[0])
        # The poller forgets the queue once the last byte has left.
        while pair.loop.on_poller(lambda: pair.session.unsent):
            pass
        assert pair.transport.wait_writable(LONG)  # over TCP, Windows' way, a moment later
        pair.session.send(Pong(request))
        assert not pair.session.unsent
        assert pair.read(1) == [Pong(request)]


@SENDS_AND_ENDS
@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_session_sends_whole_messages_in_order_when_many_threads_send(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """No message lands inside another; each thread's come in its order."""
    monkeypatch.setattr(outflow_module, "PATIENCE", patience)
    pair = connect().shake_hands()
    threads, count = 4, 40

    def send(thread: int) -> None:
        for number in range(count):
            request = thread * 1000 + number
            small = number % 3
            pair.session.send(Pong(request) if small else _reply(request, 2**16 + 4 * number))

    senders = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
    for sender in senders:
        sender.start()
    messages = pair.read(threads * count)
    for sender in senders:
        sender.join(LONG)
    assert all(_is_whole(message) for message in messages if isinstance(message, Reply))
    for thread in range(threads):
        requests = [each.request for each in messages if each.request // 1000 == thread]
        assert requests == [thread * 1000 + number for number in range(count)]


class Holds(StreamTransport):
    """Holds a sender that waits for its reader, until told whether the reader takes more."""

    waits: threading.Event
    go: threading.Event

    def wait_writable(self, seconds: float) -> bool:
        self.waits.set()
        assert self.go.wait(LONG)
        return False


@pytest.fixture
def holds() -> type[Holds]:
    class Held(Holds):
        waits, go = threading.Event(), threading.Event()

    return Held


@FILLS_A_SOCKET
def test_session_keeps_the_descriptor_when_it_is_closed_while_one_sends(
    connect: Connect, holds: type[Holds]
) -> None:
    """Who sends gives it back: it might meet another connection's descriptor else."""
    pair = connect(transport=holds).shake_hands()
    sender = threading.Thread(target=pair.session.send, args=(_reply(1, 2**20),))
    sender.start()
    assert holds.waits.wait(LONG)
    pair.loop.on_poller(pair.session.close)
    assert pair.transport.sock.fileno() != -1
    holds.go.set()
    sender.join(LONG)
    assert not sender.is_alive()
    assert pair.transport.sock.fileno() == -1


def test_session_lets_the_sender_go_when_it_is_closed_meanwhile(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender that waits for its reader ends soon, and the descriptor with it."""
    monkeypatch.setattr(outflow_module, "PATIENCE", LONG)
    pair = connect().shake_hands()
    sender = threading.Thread(target=pair.session.send, args=(_reply(1, 2**20),))
    sender.start()
    pair.sock.recv(1)
    pair.loop.on_poller(pair.session.close)
    sender.join(LONG)
    assert not sender.is_alive()


@FILLS_A_SOCKET
def test_session_sends_in_order_when_a_message_comes_while_one_is_under_way(
    connect: Connect, holds: type[Holds]
) -> None:
    """What is left of the first goes before what was queued meanwhile."""
    pair = connect(transport=holds).shake_hands()
    sender = threading.Thread(target=pair.session.send, args=(_reply(1, 2**20),))
    sender.start()
    assert holds.waits.wait(LONG)
    pair.session.send(Pong(2))
    pair.session.send(Pong(3))
    holds.go.set()
    first, *others = pair.read(3)
    assert _is_whole(first)
    assert others == [Pong(2), Pong(3)]
    sender.join(LONG)


def test_session_says_goodbye_when_it_is_closed_with_a_farewell(connect: Connect) -> None:
    """The client learns why, after what was sent before."""
    pair = connect().shake_hands()
    pair.session.send(Pong(1))
    pair.loop.on_poller(lambda: pair.session.close(farewell="the server ended"))
    assert pair.read_to_end() == [Pong(1), Goodbye("the server ended")]


def test_session_drops_what_is_sent_when_it_has_closed(connect: Connect) -> None:
    """An answer to a client that is gone is nobody's failure."""
    pair = connect().shake_hands()
    pair.loop.on_poller(pair.session.close)
    pair.session.send(Pong(1))
    pair.loop.on_poller(lambda: pair.session.close("twice"))
    assert pair.read_to_end() == []


@pytest.mark.parametrize("patience", [0.0, 0.05])
def test_session_closes_alone_when_its_client_dies_with_bytes_unsent(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """A client that resets the connection ends its session, and only that."""
    monkeypatch.setattr(outflow_module, "PATIENCE", patience)
    other = connect().shake_hands()
    for _ in range(10):
        pair = connect().shake_hands()
        sender = threading.Thread(target=pair.session.send, args=(_reply(1, 2**20),))
        sender.start()
        pair.sock.recv(1)
        pair.close()
        sender.join(LONG)
        assert not sender.is_alive()
    other.session.send(Pong(1))
    assert other.read(1) == [Pong(1)]


def test_session_closes_quietly_when_the_client_says_goodbye(
    connect: Connect,
) -> None:
    """The service can tell who was there and how it ended."""
    pair = connect().shake_hands()
    pair.send(Goodbye("done"))
    assert pair.service.gone.wait(LONG)
    pair.loop.on_poller(lambda: None)
    session = pair.session
    assert (session.name, session.client_id, session.outcome) == ("the peer", b"c" * 16, "left")


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_session_hands_on_nothing_behind_a_goodbye(connect: Connect, ahead: int) -> None:
    """It may have been meant for nobody any more: what came before it counts, and that is all."""
    pair = connect().shake_hands()
    before = [Ping(number) for number in range(ahead)]
    behind = [Ping(8), Execute(9, b"args"), Goodbye("again")]
    pair.send_together(*before, Goodbye("done"), *behind)
    assert pair.service.gone.wait(LONG)
    pair.loop.on_poller(lambda: None)
    assert pair.service.messages == before


def test_session_hands_on_nothing_that_came_with_what_had_it_closed(connect: Connect) -> None:
    """It lingers, since its client sends still; what it read in the same bytes is dropped too."""
    pair = connect().shake_hands()
    keep = pair.service.handlers[Ping]

    def close(session: Session, message: Message) -> None:
        keep(session, message)
        pair.session.send(_reply(1, 2**20))  # so that something is left to be read
        session.close("enough")

    pair.service.handlers[Ping] = close
    pair.send_together(Ping(1), Ping(2), Execute(3, b"args"))
    assert [message.request for message in pair.read_to_end()] == [1, 0]
    assert pair.service.messages == [Ping(1)]


def test_session_refuses_a_client_when_it_holds_another_token(connect: Connect) -> None:
    """Nothing of a stranger is handed on; it learns nothing but that."""
    pair = connect(token="x" * 32)
    assert isinstance(refused(pair), AuthenticationError)
    pair.close()
    assert pair.service.messages == []
    assert pair.session.client_id == b""


def test_session_closes_when_the_first_byte_is_wrong(connect: Connect) -> None:
    """What speaks another protocol hears nothing."""
    pair = connect()
    pair.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert pair.service.gone.wait(LONG)
    assert pair.read_to_end() == []
    assert pair.service.messages == []


def test_session_closes_when_the_handshake_takes_too_long(connect: Connect) -> None:
    """Who connects and says nothing doesn't stay."""
    pair = connect(handshake_timeout=0.01)
    assert pair.sock.recv(1) == b""
    assert pair.service.gone.wait(LONG)


def test_session_stays_when_the_handshake_was_in_time(connect: Connect) -> None:
    """The deadline is for the handshake alone."""
    pair = connect(handshake_timeout=LONG).shake_hands()
    pair.send(Ping(1))
    assert pair.service.came.acquire(timeout=LONG)
    late = connect(handshake_timeout=0.01)
    assert late.service.gone.wait(LONG)
    assert not pair.service.gone.is_set()


def test_session_tells_its_client_when_that_breaks_the_protocol(connect: Connect) -> None:
    """A failure and a goodbye, then the end."""
    pair = connect().shake_hands()
    pair.sock.sendall(b"\xff" * 16)
    failure, goodbye = pair.read_to_end()
    assert isinstance(failure, Failure)
    assert failure.reason == Reason.PROTOCOL
    assert isinstance(goodbye, Goodbye)


def test_session_drops_an_answer_when_the_protocol_has_just_been_broken(
    connect: Connect,
) -> None:
    """A task that responds meanwhile is not to blame for what its client sent."""
    failures: list[BaseException] = []

    class SendsMeanwhile(StreamTransport):
        def receive_into(self, memory: memoryview) -> int | None:
            if breaks.is_set():
                try:
                    pair.session.send(Pong(1))
                except Exception as error:
                    failures.append(error)
            return super().receive_into(memory)

    breaks = threading.Event()
    pair = connect(transport=SendsMeanwhile).shake_hands()
    pair.send(Ping(1))
    assert pair.service.came.acquire(timeout=LONG)
    breaks.set()
    pair.sock.sendall(b"\xff" * 16)
    pair.read_to_end()
    assert failures == []


def test_session_refuses_to_send_when_a_message_is_over_the_limit(connect: Connect) -> None:
    """Nothing of it leaves, and the next one does."""
    pair = connect().shake_hands()
    with pytest.raises(MessageTooLarge, match="max_message"):
        pair.session.send(Reply(1, b"", [memoryview(bytes(LIMITS.max_message + 1))]))
    pair.session.send(Pong(2))
    assert pair.read(1) == [Pong(2)]


def test_session_gives_back_its_descriptor_when_a_forked_child_closes_it(loop: Loop) -> None:
    """The parent's connection isn't shut down by it."""
    pair = Pair(loop).shake_hands()
    copy = socket.socket(fileno=socket.dup(pair.transport.sock.fileno()))
    with copy:
        loop.on_poller(lambda: loop.reactor.unregister(pair.transport.sock))
        pair.session.close_in_child()
        pair.session.send(Pong(1))
        copy.sendall(b"still open")
        assert pair.sock.recv(10) == b"still open"
    pair.sock.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_drops_what_it_sends_though_a_thread_was_sending(connect: Connect) -> None:
    """That thread isn't there to let go of the lock, and the parent's client gets nothing."""
    session = connect().shake_hands().session

    def respond() -> None:
        session.close_in_child()
        session.send(Pong(1))
        session.reply(2, (b"x", (), False), False, False)

    assert forked_while_held(session._outflow._lock, respond) == 0


def test_session_is_clogged_until_its_client_takes_its_replies(connect: Connect) -> None:
    """What was sent beyond the limit is kept, and arrives whole and in order."""
    pair = connect(max_unsent=100_000).shake_hands()
    for request in range(20):
        pair.session.send(_reply(request, 20_000))
    assert pair.service.is_clogged.wait(LONG)
    replies = pair.read(20)
    assert [message.request for message in replies] == list(range(20))
    assert all(map(_is_whole, replies))
    assert pair.service.not_clogged.wait(LONG)
    pair.send(Ping(1))
    assert pair.service.came.acquire(timeout=LONG)


@FILLS_A_SOCKET
def test_session_is_dropped_when_its_client_takes_nothing(connect: Connect) -> None:
    """A client that never reads costs bounded memory, and not for ever."""
    pair = connect(max_unsent=10_000, stall_timeout=0.05).shake_hands()
    pair.session.send(_reply(1, 2**20))
    assert pair.service.gone.wait(LONG)
    assert pair.service.is_clogged.is_set()


@FILLS_A_SOCKET
def test_session_says_why_when_it_is_dropped_over_unread_replies(
    connect: Connect,
) -> None:
    """How much was left unread, and for how long."""
    pair = connect(max_unsent=10_000, stall_timeout=0.05).shake_hands()
    pair.session.send(_reply(1, 2**20))
    assert pair.service.gone.wait(LONG)
    pair.loop.on_poller(lambda: None)
    assert "bytes of replies unread for 0.05 s" in pair.session.outcome


@FILLS_A_SOCKET
def test_session_stays_while_its_client_takes_something(connect: Connect) -> None:
    """A slow reader isn't dropped, however often the time is over before it has all."""
    pair = connect(max_unsent=10_000, stall_timeout=0.4).shake_hands()
    pair.session.send(_reply(1, 2**19))
    assert pair.service.is_clogged.wait(LONG)
    while not pair.inbox:
        pair.inbox += pair.connection.receive(pair.sock.recv(2**12))
        time.sleep(0.01)  # a reader that takes its time: thrice what it may do nothing for
    assert not pair.service.gone.is_set()
    assert _is_whole(pair.read(1)[0])


@FILLS_A_SOCKET
def test_session_takes_no_requests_while_it_is_clogged(connect: Connect) -> None:
    """They wait in the client's socket, and come in order once it has read."""
    pair = connect(max_unsent=10_000).shake_hands()
    pair.session.send(_reply(1, 2**20))
    assert pair.service.is_clogged.wait(LONG)
    for request in range(3):
        pair.send(Ping(request))
    pair.loop.on_poller(lambda: None)
    pair.loop.on_poller(lambda: None)
    assert pair.service.messages == []
    assert _is_whole(pair.read(1)[0])
    for _ in range(3):
        assert pair.service.came.acquire(timeout=LONG)
    assert pair.service.messages == [Ping(0), Ping(1), Ping(2)]


@FILLS_A_SOCKET
def test_session_stays_paused_when_it_is_clogged_and_cleared(connect: Connect) -> None:
    """Each of the two alone is reason enough not to read."""
    pair = connect(max_unsent=10_000).shake_hands()
    pair.loop.on_poller(pair.session.pause)
    pair.session.send(_reply(1, 2**20))
    assert pair.service.is_clogged.wait(LONG)
    pair.send(Ping(1))
    assert _is_whole(pair.read(1)[0])
    assert pair.service.not_clogged.wait(LONG)
    pair.loop.on_poller(lambda: None)
    pair.loop.on_poller(lambda: None)
    assert pair.service.messages == []
    pair.loop.on_poller(pair.session.resume)
    assert pair.service.came.acquire(timeout=LONG)


def test_session_hands_on_nothing_while_it_is_paused(connect: Connect, loop: Loop) -> None:
    """What the client sends meanwhile waits, and comes in order."""
    pair = connect().shake_hands()
    loop.on_poller(pair.session.pause)
    for request in range(3):
        pair.send(Ping(request))
    loop.on_poller(lambda: None)
    assert pair.service.messages == []
    loop.on_poller(pair.session.resume)
    for _ in range(3):
        assert pair.service.came.acquire(timeout=LONG)
    assert pair.service.messages == [Ping(0), Ping(1), Ping(2)]


@pytest.mark.parametrize("last", [Reply(9, b"last"), _reply(9, 300_000), None])
def test_session_sends_gathered_replies_in_order(connect: Connect, last: Reply | None) -> None:
    """Whether a small one follows, a large one, or none at all."""
    pair = connect().shake_hands()
    for request in range(3):
        pair.session.reply(request, (b"small", (), False), False, True)
    if last is not None:
        pair.session.send(last)
    expected = [0, 1, 2] if last is None else [0, 1, 2, 9]
    assert [message.request for message in pair.read(len(expected))] == expected


def test_session_keeps_order_when_large_replies_come_between_gathered_ones(
    connect: Connect,
) -> None:
    """Also where the socket takes none of it at once."""
    pair = connect().shake_hands()
    for request in range(0, 12, 3):
        pair.session.reply(request, (b"small", (), False), False, True)
        large = _reply(request + 1, 100_000)
        pair.session.reply(request + 1, (large.head, large.buffers, False), False, True)
        pair.session.reply(request + 2, (b"small", (), False), False, True)
    messages = pair.read(12)
    assert [message.request for message in messages] == list(range(12))
    assert all(_is_whole(message) for message in messages[1::3])


def test_session_is_clogged_when_gathered_replies_are_too_many(connect: Connect) -> None:
    """That they were to leave together doesn't exempt them."""
    pair = connect(max_unsent=100_000).shake_hands()
    for request in range(600):
        pair.session.reply(request, (bytes(1000), (), False), False, True)
    assert pair.service.is_clogged.wait(LONG)
    assert [message.request for message in pair.read(600)] == list(range(600))
    assert pair.service.not_clogged.wait(LONG)


def test_session_sends_gathered_replies_when_they_are_enough(connect: Connect) -> None:
    """They don't wait for a poll then."""
    pair = connect().shake_hands()
    size = outflow_module.MOST_GATHERED // 4
    for request in range(6):
        pair.session.reply(request, (bytes(size), (), False), False, True)
    assert [message.request for message in pair.read(6)] == list(range(6))


def test_session_sends_gathered_replies_when_it_closes(connect: Connect, loop: Loop) -> None:
    """Before its farewell."""
    pair = connect().shake_hands()

    def answer_and_close() -> None:
        pair.session.reply(1, (b"small", (), False), False, True)
        pair.session.close("the end")

    loop.on_poller(answer_and_close)
    assert pair.read_to_end() == [Reply(1, b"small"), Goodbye("the end")]


@FILLS_A_SOCKET
def test_session_hands_on_what_had_come_when_nothing_can_be_sent(connect: Connect) -> None:
    """Requests that left their client before it was lost still run."""
    pair = connect(max_unsent=10_000).shake_hands()
    pair.session.send(_reply(1, 2**20))
    assert pair.service.is_clogged.wait(LONG)  # it isn't read meanwhile
    for request in range(3):
        pair.send(Ping(request))
    pair.close()
    assert pair.service.messages == [Ping(0), Ping(1), Ping(2)]
    assert pair.service.not_clogged.is_set()


def test_session_hands_on_what_had_come_when_it_was_paused(connect: Connect, loop: Loop) -> None:
    """The end is read last, once there is room for what came before."""
    pair = connect().shake_hands()
    loop.on_poller(pair.session.pause)
    for request in range(2):
        pair.send(Ping(request))
    pair.send(Goodbye("done"))
    pair.sock.close()
    loop.on_poller(lambda: None)
    assert not pair.service.gone.is_set()
    loop.on_poller(pair.session.resume)
    assert pair.service.gone.wait(LONG)
    assert pair.service.messages == [Ping(0), Ping(1)]


def test_session_is_dropped_when_no_more_of_a_message_comes(connect: Connect) -> None:
    """Half a message doesn't stay for ever; the log tells why."""
    pair = connect(message_timeout=0.05).shake_hands()
    pair.send(Ping(1))
    pair.sock.sendall(
        b"".join(map(bytes, pair.connection.send(Execute(2, bytes(200_000)))))[:90_000]
    )
    assert pair.service.gone.wait(LONG)
    pair.loop.on_poller(lambda: None)
    assert "nothing more of a message came for 0.05 s" in pair.session.outcome
    assert pair.budget.used == 0


def test_session_stays_when_a_message_comes_slowly(connect: Connect) -> None:
    """Whatever time it takes altogether; and while it is the server that doesn't read."""
    pair = connect(message_timeout=0.6).shake_hands()
    data = b"".join(map(bytes, pair.connection.send(Execute(2, bytes(100_000)))))
    for first in range(0, len(data), len(data) // 12):
        pair.sock.sendall(data[first : first + len(data) // 12])
        time.sleep(0.06)  # a slow line
    assert pair.service.came.acquire(timeout=LONG)
    pair.sock.sendall(data[:5])
    pair.loop.on_poller(pair.session.pause)
    assert not pair.service.gone.wait(0.8)
    pair.loop.on_poller(pair.session.resume)


def _own_bytes(session: Session) -> int:
    """The size of all that a session holds, but for what it shares with others."""
    context = session._context
    server = (context, context.reactor, context.owner, context.limits, context.budget)
    tables = (
        context.owner.handlers,
        context.shared,
        context.view,
        TO_CLIENT.encoders,
        TO_SERVER.decoders,
    )
    found: dict[int, object] = {id(each): each for each in (*server, *tables)}
    ahead, size = [session], 0
    while ahead:
        one = ahead.pop()
        if id(one) not in found and not isinstance(one, SHARED):
            found[id(one)] = one
            size += sys.getsizeof(one)
            ahead += gc.get_referents(one)
    return size


def test_quiet_session_holds_little(connect: Connect) -> None:
    """Thousands of idle clients are no load: what one needs at work it makes then."""
    pair = connect().shake_hands()
    pair.send(Ping(1))
    assert pair.service.came.acquire(timeout=LONG)
    most = 2560 if FREE_THREADED else 2048  # where objects have a lock each
    assert pair.loop.on_poller(lambda: _own_bytes(pair.session)) < most


def test_memory_of_half_a_message_is_given_back_when_its_client_leaves(
    connect: Connect,
) -> None:
    """At once, also where the failure that ended it is kept: no collection is waited for."""
    pair = connect().shake_hands()
    pair.sock.sendall(pack_header(2, 0x10, 0, 2**23, 1) + bytes(200))
    reader = pair.loop.on_poller(lambda: pair.session._inflow.reader)
    assert reader is not None
    while pair.loop.on_poller(lambda: reader.target is None):
        pass
    memory = pair.loop.on_poller(lambda: weakref.ref(reader.target.obj))
    gc.disable()
    try:
        pair.close()
        pair.loop.on_poller(lambda: None)
        assert memory() is None
    finally:
        gc.enable()


def test_session_refuses_a_request_when_others_used_the_memory_while_it_came(
    connect: Connect,
) -> None:
    """It fitted when it was announced; its memory is given back, and the connection stays."""
    pair = connect(max_memory=2_000_000).shake_hands()
    execute = Execute(1, b"head", [memoryview(bytes(900_000))])
    data = b"".join(bytes(piece) for piece in pair.connection.send(execute))
    pair.budget.queued = 510_000  # over a quarter: what is announced counts as it comes
    pair.sock.sendall(data[:100_000])
    while pair.loop.on_poller(lambda: pair.budget.receiving) < 90_000:
        pass
    pair.budget.queued = 1_900_000
    pair.sock.sendall(data[100_000:])
    (failure,) = pair.read(1)
    assert isinstance(failure, Failure)
    assert (failure.request, failure.reason) == (1, Reason.OVERLOAD)
    pair.send(Ping(2))
    assert pair.service.came.acquire(timeout=LONG)
    assert pair.service.messages == [Ping(2)]
    assert pair.budget.receiving == 0


def test_session_refuses_a_request_when_the_server_has_no_memory(connect: Connect) -> None:
    """In words, that request alone, whole or in parts; nothing of it is kept."""
    pair = connect(max_memory=2_000_000).shake_hands()
    pair.budget.queued = 1_900_000
    pair.send(Execute(1, b"head", [memoryview(bytes(300_000)), memoryview(bytes(50_000))]))
    pair.send(Ping(2))
    (failure,) = pair.read(1)
    assert isinstance(failure, Failure)
    assert (failure.request, failure.reason) == (1, Reason.OVERLOAD)
    assert pair.service.came.acquire(timeout=LONG)
    pair.budget.queued = 0
    pair.send(Execute(3, b"head", [memoryview(b"x" * 300_000)]))
    assert pair.service.came.acquire(timeout=LONG)
    ping, execute = pair.service.messages
    assert (ping, execute.request) == (Ping(2), 3)
    assert pair.budget.used == 0


@pytest.mark.skipif(sys.platform != "linux", reason="others tell of it otherwise")
def test_session_is_closed_in_time_when_nothing_can_be_sent_to_its_client(
    connect: Connect,
) -> None:
    """Who reads no more could go on asking for ever."""
    pair = connect(stall_timeout=0.1).shake_hands()
    pair.sock.shutdown(socket.SHUT_RD)
    pair.session.send(Pong(1))
    assert pair.service.gone.wait(LONG)
    assert pair.session.outcome.startswith("lost: ")


@FILLS_A_SOCKET
def test_stranger_that_reads_nothing_any_more_is_closed_without_a_failure(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves before it is told anything: nothing is watched that has been closed."""
    for _ in range(20):
        pair = connect()
        pair.sock.shutdown(socket.SHUT_RD)
        pair.send_bytes(pair.connection.take_outgoing())
        assert pair.service.gone.wait(LONG)
        pair.loop.on_poller(lambda: None)
    assert not [record for record in caplog.records if record.exc_info]


def test_session_is_closed_whole_when_an_exception_strikes_as_it_closes(
    connect: Connect, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it closes for another's sake, whose handler does not come back to it."""
    pair = connect().shake_hands()
    strikes = iter([True])
    closed = pair.service.closed

    def struck(session: Session) -> None:
        if next(strikes, False):
            raise Strike
        closed(session)

    monkeypatch.setattr(pair.service, "closed", struck)
    loop.client(lambda data: pair.session.drop("to make room")).send(b"x")
    assert pair.service.gone.wait(LONG)


def test_session_lingers_until_its_client_has_read_why_it_is_closed(
    connect: Connect, loop: Loop
) -> None:
    """Bytes that nobody reads any more would make the system throw the farewell away."""
    pair = connect().shake_hands()
    loop.on_poller(pair.session.pause)
    for request in range(2):
        pair.send(Ping(request))
    loop.on_poller(lambda: pair.session.close("the server ended"))
    assert pair.read_to_end() == [Goodbye("the server ended")]
    assert not pair.service.gone.is_set()
    pair.close()


def test_session_lingers_also_where_its_client_has_sent_nothing(
    connect: Connect, loop: Loop
) -> None:
    """What comes later would reset a connection that is closed by then."""
    pair = connect().shake_hands()
    loop.on_poller(lambda: pair.session.close("the server ended"))
    assert pair.session.untold is False
    for request in range(3):
        dropped = pair.service.times_dropped
        pair.send(Ping(request))
        wait_until(lambda before=dropped: pair.service.times_dropped > before, "it is dropped")
    assert pair.read_to_end() == [Goodbye("the server ended")]
    pair.close()
    assert pair.session.outcome == "the server ended"
    assert pair.service.messages == []


def test_session_lingers_though_something_is_said_after_its_end(
    connect: Connect, loop: Loop
) -> None:
    """A deferred answer that comes too late finds a side that has ended, and is lost."""
    pair = connect().shake_hands()
    loop.on_poller(lambda: pair.session.close("the server ended"))
    pair.session.send(Pong(1))
    loop.on_poller(lambda: None)
    pair.send(Ping(1))
    wait_until(lambda: pair.service.times_dropped, "it is dropped")
    assert pair.read_to_end() == [Goodbye("the server ended")]
    assert not pair.service.gone.is_set()
    pair.close()


def test_session_tells_that_all_is_answered_before_it_says_goodbye(
    connect: Connect, loop: Loop
) -> None:
    """What has no answer has not run, then."""
    pair = connect().shake_hands()
    pair.session.send(Pong(1))
    loop.on_poller(lambda: pair.session.close("it ends", all_answered=True))
    refusal = Failure(0, Reason.NOT_STARTED, text="it ends")
    assert pair.read_to_end() == [Pong(1), refusal, Goodbye("it ends")]


def test_session_lingers_no_longer_than_its_time(
    connect: Connect, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that neither reads nor closes doesn't keep its connection."""
    monkeypatch.setattr(session_module, "LINGER", 0.05)
    pair = connect().shake_hands()
    pair.session.send(_reply(1, 2**20))
    loop.on_poller(lambda: pair.session.close("the server ended"))
    assert pair.service.gone.wait(LONG)


class Strike(BaseException):
    """What a signal handler raises that a task has set."""


def test_session_is_closed_and_nothing_else_when_an_exception_strikes_it(
    connect: Connect, loop: Loop
) -> None:
    """Its socket is watched no more, whatever was struck; the reactor polls on."""
    other = connect().shake_hands()
    for _ in range(3):
        pair = connect().shake_hands()

        def strike(session: object, message: Message) -> None:
            raise Strike

        pair.service.handlers[Ping] = strike
        pair.send(Ping(1))
        assert pair.service.gone.wait(LONG)
        assert pair.read_to_end() == []
    other.session.send(Pong(1))
    assert other.read(1) == [Pong(1)]


def test_session_is_given_up_when_it_has_closed(connect: Connect) -> None:
    """Its memory comes back at once: no collector has to find it."""
    pair = connect().shake_hands()
    data = b"".join(map(bytes, pair.connection.send(Execute(2, bytes(2**20)))))
    pair.sock.sendall(data[:90_000])
    pair.close()
    pair.loop.on_poller(lambda: None)
    assert pair.session._inflow.reader is not None
    assert pair.session._inflow.reader.target is None
    assert pair.budget.used == 0


def test_session_is_given_up_when_it_has_closed_after_it_was_clogged(
    connect: Connect, loop: Loop
) -> None:
    """It had one timer, however often it was clogged, and that doesn't keep it."""
    pair = connect(max_unsent=100_000).shake_hands()
    for _ in range(3):
        for request in range(20):
            pair.session.send(_reply(request, 20_000))
        assert pair.service.is_clogged.wait(LONG)
        pair.read(20)
        assert pair.service.not_clogged.wait(LONG)
    assert len(_live(loop)) == 1
    pair.close()
    loop.on_poller(lambda: None)
    assert _live(loop) == []


@pytest.mark.parametrize("parts", [True, False])
def test_session_leaves_no_timer_when_it_has_closed(
    connect: Connect, loop: Loop, parts: bool
) -> None:
    """Whether a message was under way, or the handshake."""
    pair = connect()
    if parts:
        pair.shake_hands()
        pair.sock.sendall(b"".join(map(bytes, pair.connection.send(Execute(2, bytes(2**20)))))[:99])
        while not _live(loop):
            pass
    else:
        assert len(_live(loop)) == 1
    pair.close()
    loop.on_poller(lambda: None)
    assert _live(loop) == []


def _live(loop: Loop) -> list[Deadline]:
    """What is to happen still, and keeps what it is about."""
    deadlines = loop.on_poller(lambda: list(loop.reactor._agenda.deadlines))
    return [deadline for _, _, deadline in deadlines if deadline.expired is not None]
