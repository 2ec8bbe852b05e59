"""The lines of all clients: whose turn it is, what is counted, and counting it anew."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.serving.budget import Budget
from bgpy.serving.job import Job
from bgpy.serving.lines import JOB, Lines
from bgpy.serving.outbox import Outbox
from bgpy.tasks.lifecycle import EXEC, INIT
from bgpy.wire.messages import Execute, Init, Message
from tests.support.outlets import small_job


class Asker:
    """A client."""

    name = "a test"

    def __init__(self, client_id: bytes) -> None:
        self.client_id = client_id

    def send(self, message: Message) -> None:
        raise AssertionError("nobody is answered")

    def reply(self, request: int, packed: object, error: bool, more: bool) -> None:
        raise AssertionError("nobody is answered")

    def send_small(self, piece: bytes, more: bool) -> None:
        raise AssertionError("nobody is answered")

    def pause(self) -> None:
        raise AssertionError("nobody is paused")


def _job(owner: str, request: int, size: int = 10) -> Job:
    job = small_job(Outbox(lambda action: None), Asker(owner.encode()), request, bytes(size))
    job.size = size
    return job


class Bench:
    """Lines, and the budget that they count in."""

    def __init__(self, max_requests: int = 4, max_bytes: int = 1000) -> None:
        self.budget = Budget(2**20)
        self.lines: Lines[Job] = Lines(max_requests, max_bytes, self.budget)

    def push(self, owner: str, *requests: int, size: int = 10) -> bool:
        row = [_job(owner, request, size) for request in requests]
        return self.lines.line_up(row, size * len(row), self.lines.of(owner.encode()))

    def pop(self) -> tuple[str, int]:
        line = next(iter(self.lines.turns.values()))
        job = line.first()
        self.lines.drop_first(line, job)
        return job.owner.decode(), job.request

    def figures(self) -> tuple[int, int, int, list[bytes]]:
        return self.lines.held, self.lines.inits, self.budget.queued, list(self.lines.turns)


def test_clients_have_their_turns_one_after_the_other() -> None:
    """Each client's in order."""
    bench = Bench()
    bench.push("a", 1, 2)
    bench.push("b", 1)
    assert bench.budget.queued == 3 * (10 + JOB)
    assert [bench.pop() for _ in range(3)] == [("a", 1), ("b", 1), ("a", 2)]
    assert bench.figures() == (0, 0, 0, [])


@pytest.mark.parametrize(("requests", "size"), [(range(4), 10), (range(2), 500)])
def test_line_is_full_until_half_of_it_has_run(requests: range, size: int) -> None:
    """By its requests or their bytes; who has room again is to be told, once."""
    bench = Bench()
    first, *others = requests
    assert not bench.push("a", first, size=size)
    assert bench.push("a", *others, size=size)
    told = []
    while bench.lines.turns:
        bench.pop()
        told.append(list(bench.lines.relieved.values()))
    half = len(requests) // 2
    assert told == [[]] * (half - 1) + [[b"a"]] * (len(requests) - half + 1)


def test_line_has_no_turns_while_it_is_held() -> None:
    """What comes then is counted apart, and how many can't run, or can, is told."""
    bench = Bench()
    bench.push("a", 1, 2)
    line = bench.lines.of(b"a")
    assert (bench.lines.hold(line), bench.lines.hold(line)) == (2, 0)
    bench.push("a", 3)
    assert (bench.lines.held, list(bench.lines.turns)) == (3, [])
    assert (bench.lines.release(line), bench.lines.release(line)) == (3, 0)
    assert (bench.lines.held, list(bench.lines.turns)) == (0, [b"a"])
    bench.lines.hold(line)
    bench.lines.hold(bench.lines.of(b"b"))
    assert bench.lines.release_all() == 3
    assert not bench.lines.held_lines


def test_job_is_taken_out_from_between_the_others_unless_it_was_receipted() -> None:
    """Held or not; its line gives up its turn with the last one."""
    bench = Bench()
    bench.push("a", 1, 2)
    line, receipted = bench.lines.of(b"a"), Job(EXEC, None, Execute(3, b""), False)
    assert not bench.lines.withdraw(line, receipted)
    for request, left in ((2, [b"a"]), (1, [])):
        job = line.find(request)
        assert job is not None
        assert bench.lines.withdraw(line, job)
        assert bench.figures() == (0, 0, (10 + JOB) * len(left), left)


def test_line_is_forgotten_when_it_is_over_and_its_client_has_gone() -> None:
    """Not before."""
    bench = Bench()
    bench.push("a", 1)
    line = bench.lines.of(b"a")
    bench.lines.forget_if_over(line)
    line.kept = False
    bench.lines.forget_if_over(line)
    assert bench.lines.get(b"a") is line
    bench.pop()
    assert bench.lines.get(b"a") is None


def test_inits_are_counted() -> None:
    """In all lines, until they leave."""
    bench = Bench()
    init = Job(INIT, None, Init(1, b""), False)
    bench.lines.add(init, bench.lines.of(b""))
    assert bench.lines.inits == 1
    bench.pop()
    assert bench.lines.inits == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "pop", "hold", "release", "withdraw"]), st.sampled_from("abc")
    ),
    max_size=30,
)


@given(STEPS, st.integers(0, 3))
def test_all_numbers_can_be_counted_anew(steps: list[tuple[str, str]], spoilt: int) -> None:
    """Whatever came before, and whatever an exception has left half done."""
    bench = Bench(max_requests=1000, max_bytes=2**20)
    lines = bench.lines
    ready = 0
    for number, (step, owner) in enumerate(steps):
        line = lines.of(owner.encode())
        if step == "push":
            bench.push(owner, number)
            ready += not line.held
        elif step == "pop" and lines.turns:
            bench.pop()
            ready -= 1
        elif step == "hold":
            ready -= lines.hold(line)
        elif step == "release":
            ready += lines.release(line)
        elif step == "withdraw" and line.count:
            job = line.first()
            assert line.find(job.request) is job
            lines.withdraw(line, job)
            ready -= not line.held
    held, inits, queued, turns = bench.figures()
    lines.held, lines.inits, bench.budget.queued = spoilt, spoilt, spoilt
    if spoilt:
        lines.turns.clear()
    assert lines.mend() == ready
    assert bench.figures()[:3] == (held, inits, queued)
    assert set(lines.turns) == set(turns)
