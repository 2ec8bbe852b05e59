"""One client's line: its order, and what was withdrawn from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.serving import line as line_module
from bgpy.serving.job import Job
from bgpy.serving.line import Line
from bgpy.tasks.lifecycle import Kind
from bgpy.wire.messages import Execute


def _job(request: int, size: int = 0) -> Job:
    return Job(Kind.EXEC, None, Execute(request, bytes(size)), True)


def _requests(line: Line[Job]) -> list[int]:
    """What comes out of it."""
    requests = []
    while line.count:
        requests.append(line.first().request)
        line.drop_first()
    assert (line.size, line.index) == (0, None)
    return requests


@given(st.lists(st.tuples(st.sampled_from(["append", "run", "remove"]), st.integers(0, 5))))
def test_line_gives_what_was_not_withdrawn_in_its_order(steps: list[tuple[str, int]]) -> None:
    """However appending, running and withdrawing alternate; sizes and numbers are right."""
    line: Line[Job] = Line(b"a")
    model: list[Job] = []
    for step, (do, place) in enumerate(steps):
        if do == "append":
            model.append(_job(step, place))
            line.extend((model[-1],), place)
        elif model and do == "run":
            assert line.first() is model.pop(0)
            line.drop_first()
        elif model:
            job = model.pop(place % len(model))
            assert line.find(job.request) is job
            line.remove(job)
            assert line.find(job.request) is None
        assert line.count == len(model)
        assert line.size == sum(job.size for job in model)
    line.mend()
    assert (line.count, line.size) == (len(model), sum(job.size for job in model))
    assert all(line.find(job.request) is job for job in model)
    while model:
        assert line.first() is model.pop(0)
        line.drop_first()
    assert line.count == 0


def test_line_finds_the_first_of_two_with_the_same_request() -> None:
    """The other one is found when that has run."""
    line: Line[Job] = Line(b"a")
    one, two, three = _job(1), _job(1), _job(3)
    for job in (one, two, three):
        line.extend((job,), job.size)
    assert line.find(1) is one
    line.extend((_job(4),), 0)
    assert line.find(4) is not None
    assert _requests(line) == [1, 1, 3, 4]


def test_withdrawn_jobs_are_kept_until_they_are_many_or_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their arguments take memory that nobody counts: a bound for their number and bytes."""
    monkeypatch.setattr(line_module, "MOST_WITHDRAWN", 1000)
    line: Line[Job] = Line(b"a")
    jobs = [_job(number, 400) for number in range(10)]
    for job in jobs:
        line.extend((job,), job.size)
    kept = []
    for job in jobs[1:7]:
        line.find(job.request)
        line.remove(job)
        kept.append(len(line.jobs))
    # Two of 400 bytes may stay, the third takes all three along; so do more than the others.
    assert kept == [10, 10, 7, 7, 7, 4]
    assert _requests(line) == [0, 7, 8, 9]
    for number in range(10):
        line.extend((_job(number),), 0)
    for number in range(6):
        job = line.find(number)
        assert job is not None
        line.remove(job)
        assert len(line.jobs) == (10 if number < 5 else 4)
