"""The short road into the queue: it takes what the general one would take, or leaves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.config import ENV_ROAD
from bgpy.memory import Payload, allocate
from bgpy.serving.budget import Budget
from bgpy.serving.ending import Ending
from bgpy.serving.job import Job
from bgpy.serving.outbox import Outbox
from bgpy.serving.queue import JobQueue
from bgpy.serving.road import LONGEST_SMALL, Road
from bgpy.serving.small import SmallJob
from bgpy.tasks.engine import Engine
from bgpy.tasks.lifecycle import EXEC, Kind
from bgpy.wire.frames import FrameReader, SizeLimits
from bgpy.wire.messages import CODEC_NONE, Execute, Exit, Message, Ping
from bgpy.wire.small import SMALL_CALL
from bgpy.wire.table import TO_SERVER, encode


@pytest.fixture(autouse=True)
def _open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The road is open, also where all else is tried without it."""
    monkeypatch.delenv(ENV_ROAD, raising=False)


class Peer:
    """A client that is read until it is paused."""

    client_id = b"c" * 16

    def __init__(self) -> None:
        self.paused = False

    def send(self, message: Message) -> None:
        raise AssertionError("the road answers nobody")

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        raise AssertionError("the road answers nobody")

    def send_small(self, piece: bytes, more: bool) -> None:
        raise AssertionError("the road answers nobody")

    def pause(self) -> None:
        self.paused = True


class Initialized:
    """An engine with tasks, or without."""

    def __init__(self, initialized: bool = True) -> None:
        self.initialized = initialized


class Limits:
    """What a reader takes."""

    max_message = 2**20
    max_buffers = 8


class Bench:
    """A road and where it leads to."""

    def __init__(
        self, max_requests: int = 1000, initialized: bool = True, max_message: int = 2**20
    ) -> None:
        self.peer = Peer()
        self.budget = Budget(2**20)
        self.jobs: JobQueue[Job] = JobQueue(max_requests, 2**20, lambda owner: None, self.budget)
        self.ending = Ending(8, 2**20)
        engine = cast(Engine, Initialized(initialized))
        self.road = Road(self.jobs, engine, Outbox(lambda action: None), self.ending, max_message)

    def feed(self, data: bytes, alone: bool = False) -> int:
        """How many bytes the road takes of `data`, and the memory is another's after."""
        memory = bytearray(data) + bytearray(16)
        used = self.road.take_row(self.peer, memory, len(data), alone)
        memory[:] = bytes(len(memory))
        return used

    def feed_alone(self, data: bytes) -> SmallJob | None:
        """The job that is taken where `data` come alone; the memory is another's after."""
        memory = bytearray(data) + bytearray(16)
        taken = self.road.take_alone(self.peer, memory, len(data))
        memory[:] = bytes(len(memory))
        job, self.jobs.taken = self.jobs.taken, None
        assert job is None or isinstance(job, SmallJob)
        assert taken is (job is not None)
        assert self.jobs.count == self.budget.queued == 0
        return job

    def queued(self) -> list[tuple[int, bytes]]:
        """What waits: all of the client's, all executes whose client waits."""
        jobs = self.jobs.clear()
        assert all(job.kind is EXEC and job.waits and job.peer is self.peer for job in jobs)
        return [(job.request, job.head) for job in jobs if isinstance(job, SmallJob)]


def _frames(*messages: Message) -> bytes:
    return b"".join(bytes(piece) for message in messages for piece in encode(message))


def _small(request: int, size: int = 20) -> Execute:
    return Execute(request, bytes([request % 256]) * size, wait=True)


def test_request_that_comes_alone_is_taken_at_once() -> None:
    """It is not queued, and is the same job as one that was."""
    bench = Bench()
    job = bench.feed_alone(_frames(_small(5)))
    assert job is not None
    bench.feed(_frames(_small(5)))
    (queued,) = bench.jobs.clear()
    assert {**vars(job), "size": len(job.head)} == vars(queued)


def test_nothing_overtakes_what_is_held() -> None:
    """Another connection of the same client may have left it there."""
    bench = Bench()
    bench.jobs.hold(bench.peer.client_id)
    assert bench.feed_alone(_frames(_small(5))) is None
    bench.jobs.release(bench.peer.client_id)
    assert bench.feed_alone(_frames(_small(5))) is not None


def test_row_comes_behind_what_waits() -> None:
    """The lone one included, in order."""
    bench = Bench()
    bench.feed(_frames(_small(1)))
    data = _frames(_small(2), _small(3), _small(4))
    assert bench.feed(data) == len(data)
    assert bench.jobs.count == 4
    assert [request for request, _ in bench.queued()] == [1, 2, 3, 4]
    assert bench.budget.queued == 0


def _in_row(bench: Bench) -> list[tuple[int, bytes]] | None:
    """The row that runs next, if there is one; nothing of it waits in the queue."""
    row = bench.jobs.row
    if row is None:
        return None
    assert all(isinstance(job, SmallJob) and job.row is row for job in row.jobs)
    assert (row.owner, bench.jobs.count, bench.budget.queued) == (bench.peer.client_id, 0, 0)
    return [(job.request, job.head) for job in row.jobs if isinstance(job, SmallJob)]


def test_row_that_comes_alone_is_not_queued() -> None:
    """It runs next, in order."""
    data = _frames(_small(1), _small(2), _small(3))
    bench = Bench()
    assert bench.feed(data, alone=True) == len(data)
    assert _in_row(bench) == [(number, bytes([number]) * 20) for number in (1, 2, 3)]


@pytest.mark.parametrize("behind", [b"", _frames(Ping(4)), _frames(_small(4))[:20]])
@pytest.mark.parametrize("alone", [False, True])
def test_row_is_queued_unless_it_is_all_that_came(behind: bytes, alone: bool) -> None:
    """What comes behind it, or is there already, has to be looked at first."""
    data = _frames(_small(1), _small(2))
    bench = Bench()
    assert bench.feed(data + behind, alone) == len(data)
    if alone and not behind:
        assert _in_row(bench) is not None
        return
    assert _in_row(bench) is None
    jobs = bench.jobs.clear()
    assert [job.request for job in jobs] == [1, 2]
    # Else its replies would be gathered in a row that nobody runs.
    assert all(isinstance(job, SmallJob) and job.row is None for job in jobs)


@pytest.mark.parametrize("held", [False, True])
def test_row_that_comes_alone_overtakes_nothing(held: bool) -> None:
    """Neither what waits nor what is held."""
    bench = Bench()
    bench.feed(_frames(_small(1)))
    if held:
        bench.jobs.hold(bench.peer.client_id)
    data = _frames(_small(2), _small(3))
    assert bench.feed(data, alone=True) == len(data)
    assert _in_row(bench) is None
    assert [request for request, _ in bench.queued()] == [1, 2, 3]


def test_client_is_paused_when_its_line_is_full() -> None:
    """As on the general road, all that came is taken."""
    bench = Bench(max_requests=3)
    bench.feed(_frames(_small(1), _small(2)))
    assert not bench.peer.paused
    bench.feed(_frames(_small(3)))
    assert bench.peer.paused
    assert [request for request, _ in bench.queued()] == [1, 2, 3]


def _ended() -> Bench:
    bench = Bench()
    bench.ending.interrupt()
    return bench


def _short_of_memory() -> Bench:
    bench = Bench()
    bench.budget.receiving = bench.budget.ample + 1
    bench.jobs.push(Job(Kind.INIT, None, None, False), b"")
    return bench


@pytest.mark.parametrize(
    "make",
    [_ended, lambda: Bench(initialized=False), _short_of_memory],
    ids=["ends", "new", "memory"],
)
def test_road_is_left_where_each_request_needs_a_look(make: Callable[[], Bench]) -> None:
    """Nothing of it is queued then."""
    bench = make()
    before = bench.jobs.count
    if not before:
        assert bench.feed_alone(_frames(_small(1))) is None
    assert bench.feed(_frames(_small(1), _small(2))) == 0
    assert bench.jobs.count == before


@pytest.mark.parametrize(
    "message",
    [
        Ping(1),
        Exit(1, b"x"),
        Execute(1, b"x"),
        Execute(1, b"x", wait=True, code=True),
        Execute(1, b"", wait=True, codec=CODEC_NONE),
        Execute(1, b"x", (memoryview(b"buffer"),), wait=True),
        Execute(1, bytes(SMALL_CALL + 1), wait=True),
        Execute(1, b"x", wait=True, extensions=bytes.fromhex("0100000000000000")),
    ],
    ids=["ping", "exit", "receipt", "code", "no payload", "buffers", "large", "extensions"],
)
def test_road_ends_where_anything_else_begins(message: Message) -> None:
    """What stands before it is taken, it is not, nor what follows it."""
    bench = Bench()
    assert bench.feed_alone(_frames(message)) is None
    assert bench.feed_alone(_frames(_small(1), message)) is None
    assert bench.feed(_frames(message)) == 0
    before = _frames(_small(1), _small(2))
    assert bench.feed(before + _frames(message, _small(3))) == len(before)
    assert [request for request, _ in bench.queued()] == [1, 2]


def test_road_takes_whole_frames_alone() -> None:
    """Wherever what has come ends, and whatever stands in the buffer behind it."""
    data = _frames(*(_small(number) for number in range(1, 4)))
    size = len(data) // 3
    for end in range(len(data) + 1):
        bench = Bench()
        assert (bench.feed_alone(data[:end]) is not None) is (end == size)
        taken = bench.road.take_row(bench.peer, memoryview(data + bytes(16)), end, False)
        assert taken == end // size * size
        assert [request for request, _ in bench.queued()] == list(range(1, end // size + 1))


def test_road_leaves_what_the_server_limits() -> None:
    """The general road refuses in words what is over a limit, if that is under the road's own."""
    bench = Bench(max_message=LONGEST_SMALL - 1)
    assert bench.feed(_frames(_small(1, 30))) == 0
    assert bench.feed_alone(_frames(_small(1, 30))) is None
    bench = Bench(max_message=LONGEST_SMALL)
    assert bench.feed_alone(_frames(_small(1, SMALL_CALL))) is not None
    assert bench.feed(_frames(_small(1, SMALL_CALL))) == LONGEST_SMALL


def test_road_is_closed_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """For comparison: everything takes the general one."""
    monkeypatch.setenv(ENV_ROAD, "general")
    bench = Bench()
    assert bench.feed(_frames(_small(1))) == 0
    assert bench.feed_alone(_frames(_small(1))) is None
    assert bench.jobs.count == 0


def _execute(request: int, head: bytes, wait: bool) -> Execute:
    return Execute(request, head, wait=wait)


MESSAGES = st.one_of(
    st.builds(_small, st.integers(0, 2**64 - 1), st.integers(0, 60)),
    st.builds(_execute, st.integers(0, 99), st.binary(max_size=30), st.booleans()),
    st.builds(Ping, st.integers(0, 99)),
)


@given(st.lists(MESSAGES, max_size=12), st.data())
def test_both_roads_take_the_same(messages: list[Message], data: st.DataObject) -> None:
    """However the stream is cut: in order, each once, and nothing else."""
    stream = _frames(*messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    bench = Bench()
    reader = FrameReader(cast(SizeLimits, Limits()), allocate, TO_SERVER.decoders)
    came: list[tuple[int, object]] = []
    for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        part = stream[first:last]
        used = bench.feed(part) if reader.idle else 0
        came += bench.queued()
        came += [_what(message) for message in reader.feed(part[used:])]
    assert came == [_what(message) for message in messages]


def _what(message: Message) -> tuple[int, object]:
    return message.request, getattr(message, "head", None)
