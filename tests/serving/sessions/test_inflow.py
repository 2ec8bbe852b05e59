"""What comes in: whole messages are acted on, those in parts are looked after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bgpy.config import Limits
from bgpy.serving.budget import Budget
from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.poller import ALONE, READ, STRUCK, WRITE
from bgpy.serving.sessions.inflow import DIRECT_READS, Inflow
from bgpy.serving.sessions.life import SessionState
from bgpy.serving.sessions.owner import SessionContext
from bgpy.wire.frames import FrameReader
from bgpy.wire.messages import Execute, Failure, Message, Ping, Reason
from bgpy.wire.table import TO_SERVER, encode

LIMITS = Limits(max_message=2**24, max_buffers=8, message_timeout=7.0)


class Bench:
    """Session, owner, transport, watch and reactor of one inflow at once."""

    def __init__(self) -> None:
        self.state = SessionState.OPEN
        self.held = 0
        self.events = READ
        self.stream = bytearray()
        self.most = 2**16
        """Bytes that one receive gives at most."""
        self.came: list[Message] = []
        self.sent: list[Message] = []
        self.log: list[str] = []
        self.looks: list[Callable[[], None]] = []
        self.receives = 0
        self.taken = 0
        """Bytes that the short road takes of what comes."""
        self.handlers = dict.fromkeys(TO_SERVER.encoders, self._came)
        self.sock = self
        self.budget = Budget(2**25)
        me: Any = self
        shared = bytearray(2**16)
        context = SessionContext(me, LIMITS, me, self.budget, shared, memoryview(shared))
        self.inflow: Inflow[Any] = Inflow(me, context, me, me)
        self.reader = FrameReader(LIMITS, self.inflow.allocate, TO_SERVER.decoders)
        self.inflow.reader = self.reader

    def _came(self, session: object, message: Message) -> None:
        assert session is self
        self.came.append(message)

    @property
    def road(self) -> Bench:
        """The short one."""
        return self

    def take_row(self, session: object, data: bytearray, size: int, alone: bool) -> int:
        return min(self.taken, size)

    def take_alone(self, session: object, data: bytearray, size: int) -> bool:
        return 0 < size <= self.taken

    def recv_into(self, memory: memoryview) -> int:
        self.receives += 1
        size = min(len(memory), len(self.stream), self.most)
        memory[:size] = self.stream[:size]
        del self.stream[:size]
        return size

    def receive_into(self, memory: memoryview) -> int | None:
        return self.recv_into(memory) if self.stream else None

    def after(self, seconds: float, expired: Callable[[], None]) -> Deadline:
        assert seconds == LIMITS.message_timeout
        self.looks.append(expired)
        return Deadline(expired)

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def shake_hands(self) -> None:
        self.log.append("handshake")

    def ended(self) -> None:
        self.log.append("ended")

    def ready_for(self, events: int) -> None:
        self.log.append(f"ready for {events}")

    def failed(self, error: BaseException) -> None:
        self.log.append(f"failed: {error}")

    def drop(self, outcome: str) -> None:
        self.log.append(outcome)

    def feed(self, *messages: Message) -> None:
        for message in messages:
            self.stream += b"".join(map(bytes, encode(message)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_handshake_is_the_session_s(bench: Bench) -> None:
    """There is no reader before it, and nothing else is received then."""
    bench.inflow.reader = None
    bench.inflow.read()
    assert (bench.log, bench.receives) == (["handshake"], 0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_whole_messages_are_acted_on_in_order(bench: Bench, count: int) -> None:
    """All that one receive has brought."""
    messages = [Ping(number) for number in range(count)]
    bench.feed(*messages)
    bench.inflow.read()
    assert bench.came == messages


def test_what_the_short_road_has_taken_is_not_acted_on_again(bench: Bench) -> None:
    """The rest of what came goes on; where all was taken, nothing does."""
    bench.feed(Ping(1), Ping(2))
    bench.taken = 16
    bench.inflow.read()
    assert bench.came == [Ping(2)]
    bench.feed(Ping(3))
    bench.inflow.read()
    assert bench.came == [Ping(2)]


def test_session_that_is_ready_alone_is_read_like_any_other(bench: Bench) -> None:
    """But for the one message that the short road takes at once."""
    bench.feed(Ping(1), Ping(2))
    bench.inflow.ready(ALONE)
    assert bench.came == [Ping(1), Ping(2)]
    bench.feed(Ping(3))
    bench.taken = 16
    bench.inflow.ready(ALONE)
    assert len(bench.came) == 2
    bench.inflow.reader = None
    bench.inflow.ready(ALONE)
    assert bench.log == ["handshake"]


@pytest.mark.parametrize("events", [STRUCK, WRITE, READ | WRITE])
def test_more_than_reading_is_the_session_s(bench: Bench, events: int) -> None:
    """It knows what else there is to do."""
    bench.feed(Ping(1))
    bench.inflow.ready(events)
    assert (bench.log, bench.receives) == ([f"ready for {events}"], 0)


@pytest.mark.parametrize("events", [ALONE, READ])
@pytest.mark.parametrize("state", sorted(set(SessionState) - {SessionState.OPEN}, key=str))
def test_session_that_is_not_open_sees_to_itself(
    bench: Bench, events: int, state: SessionState
) -> None:
    """What comes may be dropped, or is of the handshake."""
    bench.state = state
    bench.inflow.ready(events)
    assert (bench.log, bench.receives) == ([f"ready for {events}"], 0)


@pytest.mark.parametrize("events", [ALONE, READ])
def test_session_hears_what_reading_has_raised(
    bench: Bench, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It closes, or was only to be read later."""

    def raise_it(memory: memoryview) -> int:
        raise OSError("reset")

    bench.inflow._receive_into = raise_it
    bench.inflow.ready(events)
    assert bench.log == ["failed: reset"]


def test_end_of_the_stream_is_noticed_alone(bench: Bench) -> None:
    """Whatever the buffer holds of what came before."""
    bench.feed(Execute(1, b"x", wait=True))
    bench.inflow.ready(ALONE)
    bench.inflow.ready(ALONE)
    assert ([message.request for message in bench.came], bench.log) == ([1], ["ended"])


@pytest.mark.parametrize("alone", [False, True])
def test_short_road_is_not_asked_within_a_message(bench: Bench, alone: bool) -> None:
    """What looks like a frame there is somebody's arguments."""
    events = ALONE if alone else READ
    bench.feed(Execute(1, b"x" * 40))
    bench.most = 30
    bench.inflow.ready(events)
    bench.taken = 99
    bench.inflow.ready(events)
    assert [message.request for message in bench.came] == [1]


def test_nothing_is_acted_on_once_the_session_has_closed(bench: Bench) -> None:
    """Whatever else came with what had it closed."""
    bench.handlers[Ping] = lambda session, message: setattr(bench, "state", SessionState.CLOSING)
    bench.feed(Ping(1), Execute(2, b"x"))
    bench.inflow.read()
    assert bench.came == []


def test_end_of_the_stream_is_the_session_s(bench: Bench) -> None:
    """Nothing more comes."""
    bench.inflow.read()
    assert bench.log == ["ended"]


def test_large_message_does_not_keep_the_others(bench: Bench) -> None:
    """After some receives into its memory the next poll has its turn."""
    bench.feed(Execute(1, bytes(2**21)))
    bench.inflow.read()
    assert bench.receives == 1 + DIRECT_READS
    while bench.stream:
        bench.inflow.read()
    assert [message.request for message in bench.came] == [1]
    assert bench.budget.used == 0


def test_message_without_memory_is_refused_when_it_has_come(bench: Bench) -> None:
    """That one alone."""
    bench.budget.queued = 2**25
    bench.feed(Execute(1, bytes(2**21)), Ping(2))
    while bench.stream:
        bench.inflow.read()
    (failure,) = bench.sent
    assert isinstance(failure, Failure)
    assert (failure.request, failure.reason) == (1, Reason.OVERLOAD)
    assert bench.came == [Ping(2)]


def test_session_is_dropped_when_nothing_more_of_a_message_comes(bench: Bench) -> None:
    """Unless it is the server that doesn't read, or the session is over anyway."""
    bench.feed(Execute(1, bytes(2**21)))
    del bench.stream[2**20 :]
    while bench.stream:
        bench.inflow.read()
    bench.events = 0
    bench.looks.pop()()
    assert bench.log == []
    bench.events = READ
    (look,) = bench.looks
    bench.looks.clear()
    bench.state = SessionState.LEAVING
    look()
    assert (bench.log, bench.looks) == ([], [])
    bench.state = SessionState.OPEN
    bench.feed(Ping(1))
    bench.inflow.read()
    bench.looks.pop()()
    assert bench.log == ["dropped: nothing more of a message came for 7.0 s"]


def test_what_is_under_way_is_given_up_when_the_session_closes(bench: Bench) -> None:
    """Its memory comes back."""
    bench.feed(Execute(1, bytes(2**21)))
    del bench.stream[2**20 :]
    bench.inflow.read()
    assert bench.budget.receiving
    bench.inflow.close()
    assert (bench.budget.receiving, bench.reader.target) == (0, None)
