"""The calls that an engine runs elsewhere: each is met by its serial and by its request."""

from __future__ import annotations

from typing import Any

import pytest

from bgpy.serving.abroad import Abroad
from bgpy.serving.job import Job
from bgpy.tasks.lifecycle import EXEC, EXIT
from bgpy.wire.messages import Execute, Exit


def _job(request: int) -> Job:
    return Job(EXEC, None, Execute(request, b""), False)


@pytest.fixture
def abroad() -> Abroad:
    return Abroad()


def _seen(abroad: Abroad, job: Job, serial: int) -> tuple[bool, bool, bool]:
    return abroad.is_noted(job), abroad.is_running(serial), abroad.has(job.owner, job.request)


def test_call_is_under_way_until_it_has_left(abroad: Abroad) -> None:
    """By whatever it is asked for."""
    job, other = _job(1), _job(2)
    abroad.went(job, 7)
    abroad.went(other, 8)
    assert _seen(abroad, job, 7) == (True, True, True)
    abroad.left(job)
    assert _seen(abroad, job, 7) == (False, False, False)
    assert _seen(abroad, other, 8) == (True, True, True)


def test_call_that_is_over_before_it_went_is_not_under_way(abroad: Abroad) -> None:
    """The engine was quicker than the task thread; the next one is looked at anew."""
    job = _job(1)
    abroad.left(job)
    abroad.went(job, 7)
    assert _seen(abroad, job, 7) == (False, False, False)
    abroad.went(job, 8)
    assert _seen(abroad, job, 8) == (True, True, True)


def test_request_is_that_of_the_last_call_when_two_have_the_same_number(abroad: Abroad) -> None:
    """The end of the first doesn't end the second."""
    first, second = _job(1), _job(1)
    abroad.went(first, 7)
    abroad.went(second, 8)
    abroad.left(first)
    assert abroad.has(second.owner, 1)


def test_exit_waits_for_the_last_call(abroad: Abroad) -> None:
    """And is given back once, when none is under way."""
    exit_job: Any = Job(EXIT, None, Exit(9, b""), False)
    assert not abroad.keeps_waiting(exit_job)
    assert abroad.waiting_exit() is None
    one, two = _job(1), _job(2)
    abroad.went(one, 7)
    abroad.went(two, 8)
    assert abroad.keeps_waiting(exit_job)
    abroad.left(one)
    assert abroad.waiting_exit() is None
    abroad.left(two)
    assert [abroad.waiting_exit() for _ in range(2)] == [exit_job, None]
