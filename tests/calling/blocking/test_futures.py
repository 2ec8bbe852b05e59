"""Futures of calls: settled by one thread, made by another, called back in a third."""

from __future__ import annotations

import threading
from concurrent.futures import as_completed

import pytest

from bgpy.calling.blocking.futures import Callbacks, CallFuture
from bgpy.errors import ServerGone
from bgpy.wire.messages import Pong


def future() -> CallFuture:
    def value(answer: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return CallFuture(value, lambda future: False)


def test_first_answer_stands() -> None:
    """Whoever ends the connection may settle once more what was settled."""
    mine = future()
    mine.settle(Pong(1))
    mine.settle(ServerGone("gone"))
    assert mine.result() == Pong(1)


def test_all_that_wait_are_woken() -> None:
    """In whatever thread."""
    mine, seen = future(), []
    threads = [threading.Thread(target=lambda: seen.append(mine.result(30))) for _ in range(5)]
    for thread in threads:
        thread.start()
    mine.settle(Pong(1))
    for thread in threads:
        thread.join()
    assert seen == [Pong(1)] * 5


def test_wait_ends_at_its_time() -> None:
    """And leaves nothing in the future."""
    mine = future()
    with pytest.raises(TimeoutError):
        mine.result(0.01)
    assert not mine._latches


def test_future_is_settled_when_its_lock_was_left_locked() -> None:
    """By a thread that was interrupted in `concurrent.futures.wait`: one second later."""
    mine, callbacks, owner = future(), Callbacks(), threading.Event()
    assert callbacks.start(owner)
    thread = threading.Thread(target=mine._condition.acquire)
    thread.start()
    thread.join()
    mine.arrived(Pong(1), callbacks)
    assert mine.result(30) == Pong(1)


def test_callback_is_called_once_whenever_it_is_added() -> None:
    """Before the end by the thread for that, after it at once."""
    mine, callbacks, owner, called = future(), Callbacks(), threading.Event(), []
    assert callbacks.start(owner)
    done = threading.Event()
    mine.add_done_callback(lambda future: called.append(1))
    mine.add_done_callback(lambda future: 1 / 0)
    mine.add_done_callback(lambda future: done.set())
    mine.arrived(Pong(1), callbacks)
    assert done.wait(30)
    mine.add_done_callback(lambda future: called.append(2))
    assert called == [1, 2]


def test_as_completed_sees_a_future_that_is_settled_meanwhile() -> None:
    """Its waiters are told by the thread for callbacks."""
    mine, callbacks, owner = future(), Callbacks(), threading.Event()
    assert callbacks.start(owner)
    threading.Timer(0.05, mine.arrived, (Pong(1), callbacks)).start()
    assert list(as_completed([mine], 30)) == [mine]


def test_future_takes_no_result_of_others_and_is_not_cancelled() -> None:
    """The server answers, and the request is on its way."""
    mine = future()
    for wrong in (mine.set_result, mine.set_exception):
        with pytest.raises(TypeError):
            wrong(None)
    assert not mine.cancel()
    assert mine.running()
