"""The queue: each client's requests in order, the clients in turn, the last job last."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.memory import Payload
from bgpy.serving.budget import Budget, Overloaded
from bgpy.serving.job import Job
from bgpy.serving.queue import JobQueue
from bgpy.tasks.lifecycle import Kind
from bgpy.wire.messages import Execute, Exit, Message
from tests.support.strikes import Struck, strike


class Peer:
    """A client that only has an id."""

    def __init__(self, client_id: bytes) -> None:
        self.client_id = client_id

    def send(self, message: Message) -> None:
        raise AssertionError("a queue doesn't answer")

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        raise AssertionError("a queue doesn't answer")


def _job(owner: str, request: int, kind: Kind = Kind.EXEC, waits: bool = True) -> Job:
    return Job(kind, Peer(owner.encode()), Execute(request, b""), waits)


def _queue() -> JobQueue[Job]:
    return JobQueue(100_000, 2**30, lambda owner: None)


def _push(queue: JobQueue, *jobs: Job) -> None:
    for job in jobs:
        queue.push(job, job.owner)


def _pop(queue: JobQueue[Job]) -> Job | None:
    """Take a job out, and answer it."""
    job = queue.pop()
    assert queue.taken is job
    queue.taken = None
    return job


def _names(jobs: list[Job]) -> list[str]:
    return [f"{job.owner.decode()}{job.request}" for job in jobs]


LAST = Job(Kind.EXIT, Peer(b"z"), Exit(9, b""), True)


def test_queue_serves_clients_in_turn_when_one_asks_for_more() -> None:
    """A client with many requests doesn't keep the others waiting."""
    queue = _queue()
    _push(queue, *(_job("a", n) for n in range(1, 5)), _job("b", 1), _job("c", 1), _job("c", 2))
    assert queue.count == 7
    assert _names(queue.clear()) == ["a1", "b1", "c1", "a2", "c2", "a3", "a4"]
    assert queue.count == 0
    assert _pop(queue) is None


def test_queue_gives_the_last_job_when_all_others_have_run() -> None:
    """What is pushed after the last job still comes before it."""
    queue = _queue()
    queue.push_last(LAST)
    _push(queue, _job("a", 1), _job("b", 1))
    assert queue.count == 3
    assert _names(queue.clear()) == ["a1", "b1", "z9"]


def test_queue_withdraws_a_request_when_it_waits() -> None:
    """A withdrawn request never runs; neither a stranger's nor one that runs is withdrawn."""
    queue = _queue()
    _push(queue, _job("a", 1), _job("a", 2), _job("b", 2))
    running = _pop(queue)
    assert running is not None
    assert not queue.withdraw(b"a", 1)
    assert not queue.withdraw(b"c", 2)
    assert queue.withdraw(b"a", 2)
    assert not queue.withdraw(b"a", 2)
    assert queue.count == 1
    assert _names(queue.clear()) == ["b2"]


@pytest.mark.parametrize("others", [0, 1])
def test_queue_knows_whether_an_init_waits(others: int) -> None:
    """It decides whether requests are taken; alone or in a line, popped or withdrawn."""
    queue = _queue()
    _push(queue, *[_job("a", 1)] * others)
    assert not queue.holds_init()
    _push(queue, _job("a", 2, Kind.INIT), *[_job("a", 3, Kind.INIT)] * others)
    assert queue.holds_init()
    assert queue.withdraw(b"a", 2)
    assert queue.holds_init() is bool(others)
    queue.clear()
    assert not queue.holds_init()


def test_job_has_no_owner_when_it_is_the_servers_own() -> None:
    """The init file's job belongs to no client and has no request."""
    job = Job(Kind.INIT, None, None, False)
    assert (job.owner, job.request) == (b"", 0)


def _sized(owner: str, request: int, size: int, kind: Kind = Kind.EXEC) -> Job:
    return Job(kind, Peer(owner.encode()), Execute(request, bytes(size)), True)


def test_line_is_full_at_a_number_of_requests_until_half_have_run() -> None:
    """Whoever reads for the client hears once that there is room again."""
    drained: list[bytes] = []
    queue = JobQueue(4, 2**30, drained.append)
    full = [queue.push(_job("a", number), b"a") for number in range(1, 6)]
    assert full == [False, False, False, True, True]
    assert not queue.push(_job("b", 1), b"b")
    for _ in range(3):
        _pop(queue)
    assert drained == []
    assert queue.push(_job("a", 6), b"a")
    assert _names(queue.clear()) == ["a3", "a4", "a5", "a6"]
    assert drained == [b"a"]
    assert not queue.push(_job("a", 7), b"a")


def test_line_is_full_at_a_number_of_bytes_until_half_have_run() -> None:
    """Arguments and their buffers count; withdrawing makes room as well."""
    drained: list[bytes] = []
    queue = JobQueue(1000, 100, drained.append)
    assert not queue.push(_sized("a", 1, 60), b"a")
    buffers = Execute(2, bytes(10), [memoryview(bytes(30))])
    assert queue.push(Job(Kind.EXEC, Peer(b"a"), buffers, True), b"a")
    queue.push(_sized("a", 3, 5), b"a")
    assert queue.withdraw(b"a", 3)
    assert drained == []
    assert queue.withdraw(b"a", 2)
    assert drained == []
    assert queue.withdraw(b"a", 1)
    assert drained == [b"a"]


def test_line_gets_no_turns_while_it_is_held() -> None:
    """Its requests are kept in order; the others run; nothing that can't run counts as work."""
    queue = _queue()
    _push(queue, _job("a", 1), _job("a", 2), _job("b", 1))
    queue.hold(b"a")
    queue.hold(b"c")
    _push(queue, _job("a", 3), _job("c", 1))
    assert (queue.count, queue.queued()) == (1, 5)
    job = _pop(queue)
    assert job is not None
    assert (_names([job]), _pop(queue)) == (["b1"], None)
    queue.release(b"a")
    queue.release(b"a")
    queue.release(b"c")
    queue.release(b"unknown")
    assert queue.count == queue.queued() == 4
    assert _names(queue.clear()) == ["a1", "c1", "a2", "a3"]


def test_withdraw_makes_room_in_a_line_while_it_is_held() -> None:
    """Neither the turns nor the count of the others change; its client is read again."""
    drained: list[bytes] = []
    queue = JobQueue(2, 2**30, drained.append)
    _push(queue, _job("a", 1), _job("a", 2), _job("b", 1))
    queue.hold(b"a")
    assert queue.withdraw(b"a", 1)
    assert (queue.count, queue.queued(), drained) == (1, 2, [b"a"])
    assert queue.withdraw(b"a", 2)
    queue.release(b"a")
    assert _names(queue.clear()) == ["b1"]


def test_held_line_runs_when_the_last_job_waits() -> None:
    """There is no later any more, so it isn't kept for later; each job comes out by `pop`."""
    queue = _queue()
    _push(queue, _job("a", 1), _job("b", 1))
    queue.hold(b"a")
    queue.push_last(LAST)
    queue.push_last(LAST)  # it is kept once
    queue.hold(b"b")
    assert queue.count == 3
    popped = [_pop(queue) for _ in range(4)]
    assert _names([job for job in popped if job]) == ["b1", "a1", "z9"]


def test_clear_gives_what_is_held() -> None:
    """Nothing is lost when a server ends early."""
    queue = _queue()
    _push(queue, _job("a", 1))
    queue.hold(b"a")
    assert _names(queue.clear()) == ["a1"]


def test_line_of_a_client_that_left_runs_and_is_forgotten() -> None:
    """What was handed over isn't lost; what is over takes no memory."""
    queue = _queue()
    _push(queue, _job("a", 1), _job("a", 2))
    queue.hold(b"a")
    queue.leave(b"a")
    queue.leave(b"b")
    assert _names(queue.clear()) == ["a1", "a2"]
    assert queue._lines.get(b"a") is None
    _push(queue, _job("a", 3))
    queue.clear()
    queue.leave(b"a")
    assert queue._lines.get(b"a") is None


OWNERS = st.sampled_from("abc")
STEPS = st.one_of(
    st.tuples(st.just("push"), OWNERS),
    st.tuples(st.just("pop"), st.just("")),
    st.tuples(st.just("withdraw"), OWNERS),
    st.tuples(st.just("hold"), OWNERS),
    st.tuples(st.just("release"), OWNERS),
)


@given(st.lists(STEPS, max_size=60))
def test_queue_keeps_order_and_turns_when_used_in_any_way(steps: list[tuple[str, str]]) -> None:
    """Against a plain model: a list of who is next, lists of requests, who is held or full."""
    drained: list[bytes] = []
    queue = JobQueue(4, 2**30, drained.append)
    turns: list[str] = []
    waiting: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    held: set[str] = set()
    full: set[str] = set()
    for request, (step, owner) in enumerate(steps):
        drained.clear()
        if step == "push":
            waiting[owner].append(request)
            if len(waiting[owner]) >= 4:
                full.add(owner)
            assert queue.push(_job(owner, request), owner.encode()) is (owner in full)
        elif step == "withdraw":
            target = waiting[owner][-1] if waiting[owner] else -1
            assert queue.withdraw(owner.encode(), target) is bool(waiting[owner])
            del waiting[owner][-1:]
        elif step == "hold":
            queue.hold(owner.encode())
            held.add(owner)
        elif step == "release":
            queue.release(owner.encode())
            held.discard(owner)
        else:
            job = _pop(queue)
            expected = None
            if turns:
                owner = turns.pop(0)
                expected = f"{owner}{waiting[owner].pop(0)}"
            assert (job and _names([job])[0]) == expected
        turns = [each for each in turns if waiting[each] and each not in held]
        turns += [each for each in "abc" if waiting[each] and each not in held | set(turns)]
        has_room = step in ("pop", "withdraw") and owner in full and len(waiting[owner]) <= 2
        full -= {owner} if has_room else set()
        assert drained == ([owner.encode()] if has_room else [])
        assert queue.count == sum(len(waiting[each]) for each in "abc" if each not in held)
        assert queue.queued() == sum(map(len, waiting.values()))


def test_queue_loses_nothing_when_threads_push_and_pop_at_once() -> None:
    """The thread that polls pushes while the task thread pops."""
    queue = _queue()
    total = 4_000

    def push(owner: str) -> None:
        for number in range(1, total // 2 + 1):
            _push(queue, _job(owner, number))

    threads = [threading.Thread(target=push, args=(owner,)) for owner in "ab"]
    for thread in threads:
        thread.start()
    taken: list[Job] = []
    while len(taken) < total and (queue.count or any(each.is_alive() for each in threads)):
        if (job := _pop(queue)) is not None:
            taken.append(job)
    for thread in threads:
        thread.join()
    taken += queue.clear()
    for owner in (b"a", b"b"):
        requests = [job.request for job in taken if job.owner == owner]
        assert requests == list(range(1, total // 2 + 1))


def _hold_and_release(queue: JobQueue) -> None:
    queue.hold(b"a")
    assert queue.count == 0
    queue.release(b"a")


LOOKS: list[Callable[[JobQueue], object]] = [
    lambda queue: queue.find(b"a", 1),
    lambda queue: queue.holds_init(),
    lambda queue: queue.leave(b"a"),
    lambda queue: queue.release(b"a"),
    lambda queue: queue.withdraw(b"a", 7),
    _hold_and_release,
]


@pytest.mark.parametrize("look", LOOKS)
def test_job_runs_once_and_first_whatever_is_asked_meanwhile(
    look: Callable[[JobQueue], object],
) -> None:
    """Looking, holding and releasing change nothing of it."""
    queue = _queue()
    _push(queue, _job("a", 1))
    assert (queue.count, queue.queued()) == (1, 1)
    look(queue)
    assert (queue.count, queue.queued()) == (1, 1)
    _push(queue, _job("b", 1), _job("a", 2))
    assert _names(queue.clear()) == ["a1", "b1", "a2"]
    assert queue.count == 0


def test_line_is_full_when_one_request_is_the_limit() -> None:
    """The first fills it."""
    queue = JobQueue(1, 2**30, lambda owner: None)
    assert queue.push(_job("a", 1), b"a")


def test_receipted_job_is_never_withdrawn() -> None:
    """Its client was told that it will run."""
    queue = _queue()
    _push(queue, _job("a", 1, waits=False), _job("a", 2))
    assert not queue.withdraw(b"a", 1)
    assert queue.find(b"a", 1) is not None
    assert queue.withdraw(b"a", 2)
    assert _names(queue.clear()) == ["a1"]


def test_second_request_of_the_same_id_runs_as_well() -> None:
    """A client that counts wrongly loses nothing by it."""
    queue = _queue()
    _push(queue, _job("a", 1), _job("a", 1), _job("a", 2))
    assert queue.withdraw(b"a", 1)
    assert _names(queue.clear()) == ["a1", "a2"]


def test_queue_takes_the_same_time_however_much_waits() -> None:
    """Withdrawing one by one, asking, holding and releasing among 200,000 jobs of others.

    Walking them each time takes minutes.
    """
    queue = JobQueue[Job](10**6, 2**40, lambda owner: None)
    count, clients = 20_000, 10
    for client in "abcdefghij"[:clients]:
        _push(queue, *(_job(client, number) for number in range(count)))
    began = time.monotonic()
    for number in range(count - 1, -1, -1):
        assert queue.find(b"a", number) is not None
        assert not queue.holds_init()
        queue.hold(b"b")
        queue.release(b"b")
        assert queue.withdraw(b"a", number)
        queue.queued()
    assert time.monotonic() - began < 20
    assert queue.queued() == count * (clients - 1)


def test_queue_refuses_what_the_server_has_no_memory_for() -> None:
    """Nothing of it is kept; when there is room again, the next is taken."""
    budget = Budget(100_000)
    queue: JobQueue[Job] = JobQueue(1000, 2**30, lambda owner: None, budget)
    queue.push(_sized("a", 1, 70_000), b"a")
    for kind in (Kind.INIT, Kind.EXEC):
        with pytest.raises(Overloaded):
            queue.push(_sized("b", 1, 30_000, kind), b"b")
    assert queue.queued() == 1
    _pop(queue)
    assert budget.queued == 0
    queue.push(_sized("b", 2, 30_000), b"b")
    assert _names(queue.clear()) == ["b2"]
    assert budget.used == 0


def test_taken_job_is_neither_withdrawn_nor_lost_when_it_was_struck() -> None:
    """It is given again, once, and the count is right."""
    queue = _queue()
    _push(queue, _job("a", 1), _job("a", 2), _job("b", 1))
    struck = queue.pop()
    assert not queue.withdraw(b"a", 1)
    assert queue.taken is struck
    assert queue.pop() is struck
    assert queue.count == 2
    queue.taken = None
    assert _names(queue.clear()) == ["b1", "a2"]


@pytest.mark.parametrize("lines", [1, 3])
def test_pop_gives_each_job_once_wherever_it_is_struck(lines: int) -> None:
    """An exception between any two lines of `pop` takes nothing away and doubles nothing."""
    for at in range(40):
        queue = _queue()
        owners = "abc"[:lines]
        jobs = [_job(owner, number) for number in range(1, lines + 1) for owner in owners]
        _push(queue, *jobs)
        queue.push_last(LAST)
        with contextlib.suppress(Struck):
            strike(at, JobQueue.pop, queue)
            queue.taken = None
        names = []
        while queue.count or queue.taken is not None:
            if (job := _pop(queue)) is not None:
                names += _names([job])
        lost = {*_names([*jobs, LAST])} - set(names)
        assert len(lost) <= 1, at  # the one that was taken and given out before the strike
        assert len(set(names)) == len(names)
        assert queue.count == 0


CHANGES: dict[str, Callable[[JobQueue[Job]], object]] = {
    "pop": lambda queue: queue.pop(),
    "push": lambda queue: queue.push(_job("b", 8, Kind.INIT), b"b"),
    "push_row": lambda queue: queue.push_row([_job("b", 8), _job("b", 9)], b"b"),
    "put_back": lambda queue: queue.put_back(_job("a", 8)),
    "push_last": lambda queue: queue.push_last(LAST),
    "withdraw": lambda queue: queue.withdraw(b"a", 1),
    "withdraw what is held": lambda queue: queue.withdraw(b"c", 2),
    "hold": lambda queue: queue.hold(b"b"),
    "release": lambda queue: queue.release(b"c"),
    "leave": lambda queue: queue.leave(b"c"),
    "find": lambda queue: queue.find(b"a", 3),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_numbers_are_right_again_wherever_a_change_is_struck(
    change: Callable[[JobQueue[Job]], object],
) -> None:
    """Whoever comes next finds what a queue says that was given the same jobs."""
    for at in itertools.count():
        budget, queue = _filled()
        through = False
        with contextlib.suppress(Struck):
            through = strike(at, change, queue, within=("serving/queue", "serving/line"))
        if queue.taken is not None:
            assert queue.pop() is queue.taken  # it was struck, and is given again
            queue.taken = None
        queue.leave(b"nobody")
        found = {name: queue.find(*name) is not None for name in itertools.product(EACH_OWNER, IDS)}
        for owner in EACH_OWNER:
            queue.release(owner)
        told = _numbers(queue, budget)
        jobs = queue.clear()
        assert {(job.owner, job.request) for job in jobs} == {*(n for n in found if found[n])}
        assert (queue.count, queue.queued(), budget.queued) == (0, 0, 0), at
        again = Budget(2**40)
        same: JobQueue[Job] = JobQueue(100_000, 2**30, lambda owner: None, again)
        for job in jobs:
            if job is LAST:
                same.push_last(job)
            else:
                same.push(job, job.owner)
        assert _numbers(same, again) == told, at
        if through:
            assert at > 5
            break


EACH_OWNER = (b"a", b"b", b"c", b"z")
IDS = range(1, 10)


def _filled() -> tuple[Budget, JobQueue[Job]]:
    """Three lines, of which that of `c` is held; an init is the first in its own."""
    budget = Budget(2**40)
    queue: JobQueue[Job] = JobQueue(100_000, 2**30, lambda owner: None, budget)
    for owner in "abc":
        for request in (1, 2, 3):
            init = (owner, request) == ("a", 1)
            job = _sized(owner, request, 10, Kind.INIT if init else Kind.EXEC)
            queue.push(job, job.owner)
    queue.hold(b"c")
    return budget, queue


def _numbers(queue: JobQueue[Job], budget: Budget) -> tuple[object, ...]:
    sizes = tuple(queue.size_of(owner) for owner in EACH_OWNER)
    return queue.count, queue.queued(), queue.holds_init(), sizes, budget.queued


@pytest.mark.parametrize("act", ["pop", "withdraw"])
def test_full_line_is_read_again_wherever_making_room_is_struck(act: str) -> None:
    """Else its client, whose connection isn't read meanwhile, would wait for ever."""
    for at in itertools.count():
        told: list[bytes] = []
        queue: JobQueue[Job] = JobQueue(2, 2**30, told.append)
        assert [queue.push(_job("a", request), b"a") for request in (1, 2)] == [False, True]
        through = False
        change = CHANGES[act]
        with contextlib.suppress(Struck):
            through = strike(at, change, queue, within=("serving/queue", "serving/line"))
            queue.taken = None
        if not through and act == "withdraw":
            queue.leave(b"a")  # the session was struck
        while queue.count or queue.taken is not None:
            assert _pop(queue) is not None
        assert set(told) == {b"a"}, at
        if through:
            assert at > 10
            break


ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
    max_size=8,
)


@given(ROWS, st.sampled_from(["", "a", "b"]))
def test_rows_are_queued_as_their_jobs_would_be_one_by_one(
    rows: list[tuple[str, list[int]]], held: str
) -> None:
    """Numbers, sizes and turns are the same, also of a line that is held or was asked for."""
    budgets = Budget(2**30), Budget(2**30)
    one, other = (JobQueue(6, 2**30, lambda owner: None, budget) for budget in budgets)
    for queue in (one, other):
        if held:
            queue.hold(held.encode())
    for owner, sizes in rows:
        jobs = [_sized(owner, request, size) for request, size in enumerate(sizes)]
        full = [one.push(job, job.owner) for job in jobs]
        assert other.push_row(jobs, owner.encode()) == full[-1]
        assert one.withdraw(owner.encode(), 3) == other.withdraw(owner.encode(), 3)
    assert (one.count, one.queued()) == (other.count, other.queued())
    assert budgets[0].queued == budgets[1].queued
    for queue in (one, other):
        queue.release(held.encode())
    assert _names(one.clear()) == _names(other.clear())
    assert budgets[0].queued == budgets[1].queued == 0


def test_what_is_held_waits_too_where_memory_is_short() -> None:
    """There is room for one where nothing waits, and for no other."""
    budget = Budget(2**20)
    queue = JobQueue(100, 2**20, lambda owner: None, budget)
    budget.unsent = 2**20
    queue.push(_job("a", 1), b"a")
    queue.hold(b"a")
    for owner in ("a", "b"):
        with pytest.raises(Overloaded):
            queue.push(_job(owner, 2), owner.encode())
    assert queue.queued() == 1


def test_queue_shows_who_is_held() -> None:
    """Also when it was counted anew."""
    queue = _queue()
    held = queue.held_lines
    queue.hold(b"a")
    queue.hold(b"b")
    queue.release(b"b")
    assert list(held) == [b"a"]
    queue.taken = _job("c", 1)  # as what was struck leaves it
    queue.pop()
    assert list(held) == [b"a"]


def test_row_is_refused_whole_when_memory_is_short() -> None:
    """The general road looks at each of its requests then."""
    budget = Budget(2**20)
    queue = JobQueue(100, 2**20, lambda owner: None, budget)
    budget.unsent = budget.ample + 1
    with pytest.raises(Overloaded):
        queue.push_row([_job("a", 1), _job("a", 2)], b"a")
    assert (queue.queued(), budget.queued) == (0, 0)
    budget.unsent = 0
    with pytest.raises(Overloaded):
        queue.push_row([_job("a", number) for number in range(budget.ample // 512 + 1)], b"a")
    assert (queue.queued(), budget.queued) == (0, 0)


class Row:
    """Jobs of one client that came together."""

    def __init__(self, owner: bytes) -> None:
        self.jobs: deque[Job] = deque()
        self.owner = owner
        self.paused = self.flushed = 0

    def pause(self) -> None:
        self.paused += 1

    def flush(self) -> None:
        self.flushed += 1


def _short(queue: JobQueue[Job], budget: Budget) -> None:
    budget.unsent = budget.ample + 1


UNUSUAL: dict[str, Callable[[JobQueue[Job], Budget], object]] = {
    "another waits": lambda queue, budget: queue.push(_job("b", 1), b"b"),
    "the last waits": lambda queue, budget: queue.push_last(LAST),
    "one is held": lambda queue, budget: queue.hold(b"b"),
    "one is held, and has jobs": lambda queue, budget: (
        queue.push(_job("b", 1), b"b"),
        queue.hold(b"b"),
    ),
    "memory is short": _short,
}


@pytest.mark.parametrize("unusual", [None, *UNUSUAL])
def test_row_begins_only_where_nothing_else_waits_and_memory_is_ample(unusual: str | None) -> None:
    """Else nothing of it was done, and its jobs are queued as any others."""
    budget = Budget(2**20)
    queue: JobQueue[Job] = JobQueue(100, 2**20, lambda owner: None, budget)
    if unusual is not None:
        UNUSUAL[unusual](queue, budget)
    before = queue.queued()
    row, jobs = Row(b"a"), [_job("a", 1), _job("a", 2)]
    assert queue.begin_row(row, jobs) is (unusual is None)
    assert list(row.jobs) == (jobs if unusual is None else [])
    assert queue.row is (row if unusual is None else None)
    assert queue.queued() == before


def test_row_may_begin_again_when_what_was_in_its_way_is_gone() -> None:
    """Released, and run."""
    queue = _queue()
    queue.hold(b"b")
    queue.push(_job("b", 1), b"b")
    queue.release(b"b")
    assert not queue.begin_row(Row(b"a"), [_job("a", 1)])
    _pop(queue)
    assert queue.begin_row(Row(b"a"), [_job("a", 1)])
    queue.spill()
    assert _names(queue.clear()) == ["a1"]


def test_what_is_spilled_is_counted_as_what_was_pushed() -> None:
    """In the server's memory, and by whoever asks about the client; until it has run."""
    budget, same = Budget(2**20), Budget(2**20)
    queue: JobQueue[Job] = JobQueue(100, 2**20, lambda owner: None, budget)
    pushed: JobQueue[Job] = JobQueue(100, 2**20, lambda owner: None, same)
    jobs = [_sized("a", 1, 100), _sized("a", 2, 30)]
    assert queue.begin_row(Row(b"a"), jobs)
    queue.spill()
    pushed.push_row(jobs, b"a")
    assert budget.queued == same.queued > 130
    assert queue.size_of(b"a") == 130
    assert queue.find(b"a", 2) is jobs[1]
    assert queue.clear() == jobs
    assert budget.queued == 0


def _steps(function: Callable[[], object]) -> int:
    """How many lines of the server's own run in `function`."""
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        lines += event == "line" and "serving" in frame.f_code.co_filename
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


def _spilling(clients: int) -> int:
    queue = _queue()
    for number in range(clients):
        queue.push(_job(f"{number}", 1), b"%d" % number)
    while _pop(queue) is not None:
        pass
    row = Row(b"0")
    assert queue.begin_row(row, [_job("0", 2), _job("0", 3)])
    steps = _steps(queue.spill)
    assert (queue.count, row.flushed) == (2, 1)
    return steps


def test_spilling_takes_no_longer_the_more_clients_are_connected() -> None:
    """It keeps the other thread, and happens again and again where much is asked."""
    assert 10 < _spilling(1) == _spilling(500)
