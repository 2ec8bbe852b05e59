"""What submits the calls of a client, and what the tests put in its places."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from bgpy.address import parse
from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.blocking.submitting import Submitter
from bgpy.calling.conversation import Answer
from bgpy.memory import Payload
from bgpy.wire.messages import Reply
from tests.support.channels import Far, bare_future, far_end

LONG = 30.0


def submitter(port: int = 1, connect_timeout: float = 5.0) -> Submitter:
    place = parse("127.0.0.1", port)
    target = Target(place, None, lambda: None)
    return Submitter(Access(target, connect_timeout, Acquaintance(place)))


Ends = tuple[Submitter, Channel, Far]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """What submits over a channel, that channel, and its other end."""
    mine = submitter()
    with far_end(mine._shared) as (channel, far):
        mine._access.connector.channel = channel
        yield mine, channel, far
        mine.rest()


def submit(mine: Submitter, head: bytes = b"args", timeout: float | None = None) -> Future[Any]:
    def value_of(answer: Answer) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer.head if isinstance(answer, Reply) else answer  # on either road

    return mine.submit((head, (), False), value_of, timeout)


PLAIN: Payload = (b"args", (), False)


class Rung:
    """In the place of the sender's thread: it counts, and does nothing."""

    def __init__(self, mine: Submitter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(mine._sender, "ring", self)

    def __call__(self, _: object) -> bool:
        self.count += 1
        return True


def posted(timeout: float | None = None, told: int = 0) -> Posted:
    """One that takes the long road, whatever the machine's is."""
    future = bare_future()
    future.timeout = timeout
    return Posted(future, PLAIN, told)


def submit_now(mine: Submitter, answers: list[Answer | Exception]) -> object:
    """On the short road, if it were taken, it would stay without its thread."""
    answers.append(Reply(1, b"value"))
    return submit(mine).result(0)
