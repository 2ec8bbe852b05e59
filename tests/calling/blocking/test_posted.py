"""A call that was submitted."""

from __future__ import annotations

from time import monotonic

from bgpy.calling.blocking.posted import Posted
from bgpy.calling.terms import Verdict
from tests.support.channels import bare_future


def test_time_of_a_call_begins_when_it_is_posted() -> None:
    """Its deadline is kept, however long it waits for a connection."""
    future = bare_future()
    future.timeout = 10.0
    before = monotonic()
    terms = Posted(future, (b"", (), False), 0).terms
    assert terms.timeout == 10.0
    assert terms.deadline is not None
    assert before + 10.0 <= terms.deadline <= monotonic() + 10.0


def test_call_that_was_posted_is_told_of_a_restart_and_may_go_to_its_own_server() -> None:
    """It was submitted before the restart; and nobody waits for it here."""
    terms = Posted(bare_future(), (b"", (), False), 1).terms
    assert terms.deadline is None
    assert terms.verdict(2, True) is Verdict.RESTARTED
    assert terms.verdict(1, True) is Verdict.GO
