"""The threads that finish futures: they tell those that wait for several, and call back."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from queue import SimpleQueue

import pytest

from bgpy.calling.blocking import helper, threads
from bgpy.calling.blocking.finishers import Calling, Finishers
from bgpy.calling.blocking.helper import Life
from bgpy.wire.messages import Pong
from tests.support.futures import finishers, future, soon
from tests.support.peers import wait_until
from tests.support.strikes import Struck, strike

__all__ = ["finishers"]

PLACES = ("blocking/finishers.py", "blocking/futures.py", "blocking/helper.py")


@pytest.fixture(autouse=True)
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread ends because it waited for so long."""
    monkeypatch.setattr(helper, "REST_AFTER", 1000.0)


def test_future_that_ends_behind_the_threads_last_one_is_finished(finishers: Finishers) -> None:
    """The client was closed and used again, before its thread for callbacks knew of either."""
    goes_on = threading.Event()
    before, after = future(), future()
    before.add_done_callback(lambda each: goes_on.wait(30))
    finishers.settle(before, Pong(1))
    finishers.rest()
    assert finishers.start()  # it runs still
    goes_on.set()
    wait_until(lambda: not finishers.calling.is_running, "it has ended")
    soon(lambda: finishers.settle(after, Pong(1)))
    assert list(as_completed([after], 30)) == [after]


def test_who_waits_is_told_where_no_thread_can_be_had(
    monkeypatch: pytest.MonkeyPatch, finishers: Finishers
) -> None:
    """By who brings the answer; callbacks wait for the next thread that can be had."""
    finishers.rest()
    wait_until(lambda: not finishers.calling.is_running, "it has ended")
    called: SimpleQueue[int] = SimpleQueue()
    mine = [future(), future()]
    for number, each in enumerate(mine):
        each.add_done_callback(lambda _, number=number: called.put(number))  # type: ignore[misc]
    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", lambda *_: False)
        given = as_completed([mine[0]], 30)
        first = soon(lambda: finishers.settle(mine[0], Pong(1)))
        assert list(given) == [mine[0]]
        first.join(30)  # it leaves the callbacks behind after it has told
        assert called.empty()
    finishers.settle(mine[1], Pong(1))
    assert [called.get(timeout=30) for _ in mine] == [0, 1]


@pytest.mark.parametrize("can_start", [True, False])
def test_who_waits_for_several_is_told_of_each_end(
    monkeypatch: pytest.MonkeyPatch, finishers: Finishers, can_start: bool
) -> None:
    """Though it had begun to wait before: by the thread for that, or by who brings the answer."""
    mine, never = future(), future()
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        waiting = pool.submit(wait, [mine, never], 30, FIRST_COMPLETED)
        wait_until(lambda: bool(never._waiters), "it waits")
        if not can_start:
            patch.setattr(threads, "start", lambda *_: False)
        finishers.settle(mine, Pong(1))
        assert waiting.result(60).done == {mine}
    assert finishers.telling.is_running is can_start


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
def test_thread_for_callbacks_goes_on_whatever_one_raises(
    kind: type[BaseException], finishers: Finishers
) -> None:
    """The next future's is called, by the same thread."""
    first, second = future(), future()
    called: SimpleQueue[int] = SimpleQueue()

    def ends(_: object) -> None:
        called.put(threading.get_ident())
        raise kind

    first.add_done_callback(ends)
    second.add_done_callback(lambda _: called.put(threading.get_ident()))
    for each in (first, second):
        finishers.settle(each, Pong(1))
    assert called.get(timeout=30) == called.get(timeout=30)


def test_each_callback_is_called_once_wherever_memory_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Or it is logged that it could not be; a callback that ends its thread ends no other."""
    monkeypatch.setattr(helper, "REST_AFTER", 0.0)
    monkeypatch.setattr(helper, "AGAIN", 0.0)
    owner = threading.Event()
    at, through = 0, False
    while not through:
        called: list[int] = []

        def call(number: int, called: list[int] = called) -> None:
            called.append(number)
            raise [SystemExit, ZeroDivisionError, KeyboardInterrupt][number % 3]

        mine, calling = future(), Calling(owner)
        for number in range(6):
            mine.add_done_callback(lambda _, number=number: call(number))  # type: ignore[misc]
        mine.settle(Pong(1))
        calling.post(mine)
        caplog.clear()
        with suppress(Struck):
            through = strike(at, calling._run, Life(), within=PLACES)
        calling._run(Life())  # the next thread, if that one has ended
        assert called == sorted(set(called))
        missing = 6 - len(called)
        logged = [record for record in caplog.records if "Struck" in (record.exc_text or "")]
        assert missing <= len(logged), at
        at += 1
    assert called == list(range(6))
    assert at > 50


def started(finishers: Finishers) -> list[bool]:
    """Whether each of the two threads is there."""
    return [finishers.telling.is_running, finishers.calling.is_running]


@pytest.mark.parametrize("how", ["rest", "collected"])
def test_both_threads_end_when_their_owner_does(how: str) -> None:
    """Closed or forgotten; what was posted before is done."""
    owner = threading.Event()
    finishers = Finishers(owner)
    waiting = future()
    soon(lambda: finishers.settle(waiting, Pong(1)))
    assert list(as_completed([waiting], 30)) == [waiting]
    assert finishers.telling.start()
    assert finishers.start()
    called = threading.Event()
    mine = future()
    mine.add_done_callback(lambda _: called.set())
    finishers.settle(mine, Pong(1))
    if how == "rest":
        finishers.rest()
    else:
        del owner
    wait_until(lambda: started(finishers) == [False, False], "both have ended")
    assert called.is_set()
