"""Futures without a client, and the threads that finish them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from bgpy.calling.blocking.finishers import Finishers
from bgpy.calling.blocking.futures import CallFuture
from bgpy.errors import DecodeError
from bgpy.wire.messages import Failure, Pong, Reason
from tests.support.channels import future_of

UNREADABLE = Pong(2)
FAILED = Failure(1, Reason.TASK, "KeyError", "text", "", b"", (), 0, False)


def future() -> CallFuture:
    """One whose value is its answer, unless that is a failure."""

    def value(answer: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Failure):
            raise KeyError(answer.text)
        if answer == UNREADABLE:
            raise DecodeError("response can't be rebuilt here")
        return answer

    return future_of(value, lambda future: False)


@pytest.fixture
def finishers() -> Iterator[Finishers]:
    """Of an owner that lives; the one for callbacks is started."""
    owner = threading.Event()
    finishers = Finishers(owner)
    assert finishers.start()
    yield finishers
    finishers.rest()


def soon(does: Callable[[], object]) -> threading.Thread:
    """Have it done by another thread, while this one waits or just before."""
    thread = threading.Thread(target=does)
    thread.start()
    return thread
