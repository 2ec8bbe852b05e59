"""A request that waits for the task thread."""

from __future__ import annotations

from typing import cast

import pytest

from bgpy.serving.job import Job, Peer
from bgpy.tasks.lifecycle import EXEC, EXIT, Kind
from bgpy.wire.messages import Execute


class Client:
    """Who asked."""

    client_id = b"c" * 16


CLIENT = cast(Peer, Client())


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (Execute(7, b"12345"), 5),
        (Execute(7, (b"12", b"345")), 5),
        (Execute(7, b"12345", (memoryview(b"678"), memoryview(b"9"))), 9),
    ],
)
def test_job_knows_its_request_and_the_bytes_of_its_arguments(message: Execute, size: int) -> None:
    """What the queue and its limits go by."""
    if isinstance(message.head, tuple):
        message = message._replace(head=b"".join(message.head))
    job = Job(EXEC, CLIENT, message, True)
    assert (job.request, job.size, job.owner) == (7, size, b"c" * 16)
    assert (job.waits, job.started, job.more, job.chain) == (True, False, False, b"")


@pytest.mark.parametrize("kind", list(Kind))
def test_job_of_the_server_itself_has_no_owner(kind: Kind) -> None:
    """An init file's init, and the exit that a signal asks for."""
    job = Job(kind, None, None, False)
    assert (job.owner, job.request, job.size) == (b"", 0, 0)


def test_marks_of_one_job_are_not_those_of_another() -> None:
    """The defaults are the class's, and stay."""
    one, two = (Job(EXIT, None, None, False) for _ in range(2))
    one.started = one.more = True
    one.chain = b"x" * 24
    assert (two.started, two.more, two.chain) == (False, False, b"")
