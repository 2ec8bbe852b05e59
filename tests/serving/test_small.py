"""Small calls and rows of them: replies leave together, each once, whatever strikes."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from typing import cast

import pytest

from bgpy.serving.job import Peer
from bgpy.serving.outbox import Outbox
from bgpy.serving.queue import JobQueue
from bgpy.serving.small import MOST_REPLIES, SmallJob, SmallRow
from bgpy.tasks.lifecycle import EXEC
from bgpy.wire.frames import HEADER_SIZE
from bgpy.wire.small import unpack_start
from tests.support.loop import LONG
from tests.support.outlets import small_job
from tests.support.strikes import Struck, strike


class Asker:
    """A client that notes which replies have come, and in which sends."""

    client_id = b"c" * 16

    def __init__(self) -> None:
        self.sends: list[list[int]] = []
        self.paused = 0

    def send_small(self, piece: bytes, more: bool) -> None:
        assert not more
        requests, at = [], 0
        while at < len(piece):
            _, length, request = unpack_start(piece, at)
            requests.append(request)
            at += HEADER_SIZE + length
        self.sends.append(requests)

    def pause(self) -> None:
        self.paused += 1

    @property
    def came(self) -> list[int]:
        return [request for requests in self.sends for request in requests]


class Bench:
    """A row of small calls, and the queue that it is in front of."""

    def __init__(self, count: int, max_requests: int = 1000) -> None:
        self.asker = Asker()
        self.outbox = Outbox(lambda action: None)
        self.queue: JobQueue[SmallJob] = JobQueue(max_requests, 2**20, lambda owner: None)
        self.row = SmallRow(cast(Peer, self.asker))
        self.jobs = [self._job(request) for request in range(1, count + 1)]
        assert self.queue.begin_row(self.row, self.jobs)

    def _job(self, request: int) -> SmallJob:
        job = small_job(self.outbox, cast(Peer, self.asker), request, b"head", self.row)
        job.size = 4
        return job

    def take(self) -> SmallJob:
        """The next one, as the reactor takes it."""
        job = self.row.jobs.popleft()
        assert isinstance(job, SmallJob)
        self.queue.taken = job
        return job

    def answer(self, count: int) -> None:
        for _ in range(count):
            self.take().respond(1)
            self.queue.taken = None


def test_small_job_is_an_execute_whose_client_waits() -> None:
    """And the client socket that its task gets."""
    (job,) = Bench(1).jobs
    assert (job.kind, job.waits, job.owner, job.call) == (EXEC, True, Asker.client_id, job)
    assert [job.started, job.answered, job.deferred, job.outcome] == [False, False, None, None]


def test_replies_of_a_row_leave_together_with_the_last() -> None:
    """And none is left behind."""
    bench = Bench(5)
    bench.answer(4)
    assert bench.asker.sends == []
    bench.answer(1)
    assert bench.asker.sends == [[1, 2, 3, 4, 5]]
    bench.row.flush()
    assert len(bench.asker.sends) == 1


def test_replies_of_a_long_row_leave_before_they_are_many() -> None:
    """They are kept outside of what the server lends."""
    bench = Bench(2 * MOST_REPLIES)
    bench.answer(MOST_REPLIES)
    assert bench.asker.sends == [list(range(1, MOST_REPLIES + 1))]


def test_what_is_left_of_a_row_waits_in_its_line_when_somebody_polls() -> None:
    """In its order, found and withdrawn there as any other; the replies have left."""
    bench = Bench(5)
    bench.answer(2)
    running = bench.take()
    bench.queue.spill()
    assert (bench.asker.sends, bench.queue.count, bench.queue.row) == ([[1, 2]], 2, None)
    assert bench.queue.find(Asker.client_id, 3) is None
    assert bench.queue.withdraw(Asker.client_id, 4)
    running.respond(1)
    assert bench.asker.came == [1, 2, 3]
    bench.queue.taken = None
    assert [job.request for job in bench.queue.clear()] == [5]


def test_client_is_read_no_more_where_what_is_left_of_its_row_fills_its_line() -> None:
    """As if it had been queued at once."""
    bench = Bench(5, max_requests=4)
    bench.answer(1)
    bench.queue.spill()
    assert bench.asker.paused == 1


@pytest.mark.parametrize("answered", [0, 2, 5])
def test_spilling_loses_nothing_wherever_it_is_struck(answered: int) -> None:
    """Who is struck spills again; no call runs twice, and a reply that has left may do so."""
    for at in itertools.count():
        bench = Bench(5)
        bench.answer(answered)
        try:
            through = strike(at, bench.queue.spill, within=("bgpy/serving",))
        except Struck:
            through = False
        bench.queue.spill()
        assert bench.queue.row is None
        assert bench.queue.count == 5 - answered, at
        left = [job.request for job in bench.queue.clear()]
        assert left == list(range(answered + 1, 6)), at
        assert set(bench.asker.came) == set(range(1, answered + 1)), at
        if through:
            assert at > 5
            break


def test_row_is_taken_and_spilled_at_once() -> None:
    """Each call goes one of both ways, whoever is faster; each reply leaves."""
    for _ in range(50):
        bench = Bench(200)
        ready = threading.Barrier(2)

        def spill(bench: Bench = bench, ready: threading.Barrier = ready) -> None:
            ready.wait()
            bench.queue.spill()

        standby = threading.Thread(target=spill)
        standby.start()
        ready.wait()
        ran = []
        try:
            while True:
                job = bench.take()
                job.respond(1)
                ran.append(job.request)
                bench.queue.taken = None
        except IndexError:
            pass
        standby.join()
        bench.queue.spill()
        left = [job.request for job in bench.queue.clear()]
        assert ran + left == list(range(1, 201))
        assert bench.asker.came == ran


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_does_not_wait_for_who_was_flushing() -> None:
    """The standby isn't there; what the child responds goes nowhere."""
    bench = Bench(1)
    sending, go_on = threading.Event(), threading.Event()

    def send_slowly(piece: bytes, more: bool) -> None:
        sending.set()
        go_on.wait(LONG)

    bench.asker.send_small = send_slowly  # type: ignore[method-assign]
    bench.row.replies.append(b"reply")
    standby = threading.Thread(target=bench.row.flush)
    standby.start()
    assert sending.wait(LONG)
    pid = os.fork()
    if not pid:
        signal.alarm(20)  # kills one that hangs
        bench.asker.send_small = lambda piece, more: None  # type: ignore[method-assign]
        bench.row.flush()
        os._exit(0)
    ended = os.waitpid(pid, 0)
    go_on.set()
    standby.join()
    assert ended == (pid, 0)
