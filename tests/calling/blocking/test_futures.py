"""Futures of calls: settled by one thread, made by another, called back in a third."""

from __future__ import annotations

import asyncio
import gc
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, Future, as_completed, wait
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import pytest

from bgpy.calling.blocking import futures
from bgpy.calling.blocking.finishers import Finishers
from bgpy.calling.blocking.futures import UNWATCHED, CallFuture
from bgpy.errors import ServerGone
from bgpy.wire.messages import Pong
from tests.support.channels import future_of
from tests.support.futures import FAILED, UNREADABLE, finishers, future, soon
from tests.support.peers import wait_until
from tests.support.strikes import Struck, strike

__all__ = ["finishers"]


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
    assert not mine._watched().latches


def test_future_is_settled_when_its_lock_was_left_locked() -> None:
    """By a thread that was interrupted in `concurrent.futures.wait`: one second later.

    Nor does it keep other futures from those that wait for them.
    """
    owner = threading.Event()
    mine, other, finishers = future(), future(), Finishers(owner)
    assert finishers.start()
    assert finishers.telling.start()  # before the one that leaves, whose number it would get
    told: SimpleQueue[Any] = SimpleQueue()
    waiting = threading.Thread(target=lambda: told.put(wait([other], 60).done), daemon=True)
    waiting.start()
    wait_until(lambda: other._waiters, "somebody waits for the other one")
    thread = threading.Thread(target=mine._condition.acquire)
    thread.start()
    thread.join()
    finishers.settle(mine, Pong(1))
    finishers.settle(other, Pong(2))
    assert mine.result(30) == Pong(1)
    assert told.get(timeout=30) == {other}


def test_callback_is_called_once_whenever_it_is_added() -> None:
    """Before the end by the thread for that, after it at once."""
    owner, called = threading.Event(), []
    mine, finishers = future(), Finishers(owner)
    assert finishers.start()
    done = threading.Event()
    mine.add_done_callback(lambda future: called.append(1))
    mine.add_done_callback(lambda future: 1 / 0)
    mine.add_done_callback(lambda future: done.set())
    finishers.settle(mine, Pong(1))
    assert done.wait(30)
    mine.add_done_callback(lambda future: called.append(2))
    assert called == [1, 2]


def test_as_completed_sees_a_future_that_is_settled_meanwhile() -> None:
    """Its waiters are told by the thread for callbacks."""
    owner = threading.Event()
    mine, finishers = future(), Finishers(owner)
    assert finishers.start()
    threading.Timer(0.05, finishers.settle, (mine, Pong(1))).start()
    assert list(as_completed([mine], 30)) == [mine]


def test_future_takes_no_result_of_others_and_is_not_cancelled() -> None:
    """The server answers, and the request is on its way."""
    mine = future()
    for wrong in (mine.set_result, mine.set_exception):
        with pytest.raises(TypeError):
            wrong(None)
    assert not mine.cancel()
    assert mine.running()


@pytest.mark.parametrize("answer", [FAILED, ServerGone("gone"), UNREADABLE])
def test_wait_returns_at_the_first_failure(answer: Any, finishers: Finishers) -> None:
    """Also where only making the value shows that it failed, and others are not done."""
    first, second, third = future(), future(), future()
    finishers.settle(first, Pong(1))
    got: list[object] = []
    # Without a time-out, at which it would say the same.
    waiting = threading.Thread(
        target=lambda: got.append(wait([first, second, third], None, FIRST_EXCEPTION)), daemon=True
    )
    waiting.start()
    wait_until(lambda: bool(second._waiters and third._waiters), "it waits")
    finishers.settle(second, answer)
    waiting.join(20)
    assert got == [({first, second}, {third})]
    # And where it has failed before.
    assert wait([second, third], 30, FIRST_EXCEPTION) == ({second}, {third})


def test_wait_for_a_failure_waits_for_all_when_none_fails(finishers: Finishers) -> None:
    """A value is no failure, and a wait that is over says which are done."""
    first, second = future(), future()
    finishers.settle(first, Pong(1))
    assert wait([first, second], 0.01, FIRST_EXCEPTION) == ({first}, {second})
    soon(lambda: finishers.settle(second, Pong(1)))
    assert wait([first, second], 30, FIRST_EXCEPTION) == ({first, second}, set())


@pytest.mark.parametrize("answer", [Pong(1), FAILED, UNREADABLE])
def test_wait_for_any_returns_at_the_first_that_is_done(answer: Any, finishers: Finishers) -> None:
    """However it is done."""
    first, second = future(), future()
    soon(lambda: finishers.settle(first, answer))
    assert wait([first, second], 30, FIRST_COMPLETED) == ({first}, {second})
    assert wait([first, first], 30) == ({first}, set())


def test_as_completed_gives_each_once_in_the_order_of_their_ends(finishers: Finishers) -> None:
    """Those that failed too; where time is over it raises."""
    mine = [future() for _ in range(3)]
    finishers.settle(mine[2], FAILED)
    seen = []
    for each in as_completed([*mine, mine[2]], 30):
        seen.append(each)
        for after, answer in ((mine[1], UNREADABLE), (mine[0], Pong(1))):
            if not after.done():
                finishers.settle(after, answer)
                break
    assert seen == [mine[2], mine[1], mine[0]]
    with pytest.raises(TimeoutError, match=r"1 \(of 1\) futures unfinished"):
        list(as_completed([future()], 0))


def test_who_waits_before_a_settled_future_is_finished_is_told_of_none_twice(
    finishers: Finishers,
) -> None:
    """It is one of those that are done, and the thread that tells comes to it later."""
    done, third = future(), future()
    done.add_done_callback(lambda each: None)
    assert done.settle(Pong(1))
    given = as_completed([done, third], 30)
    assert next(given) is done
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(wait([done, third], 30)))
    waiting.start()
    wait_until(lambda: len(third._waiters) == 2, "it waits")
    done.finish()
    finishers.settle(third, Pong(1))
    waiting.join(20)
    assert got == [({done, third}, set())]
    assert list(given) == [third]


def test_wait_within_a_callback_ends(finishers: Finishers) -> None:
    """And so it does elsewhere, however long a callback takes."""
    first, second, third = future(), future(), future()
    got: SimpleQueue[object] = SimpleQueue()
    goes_on = threading.Event()
    first.add_done_callback(lambda each: got.put(wait([second], 30)))
    first.add_done_callback(lambda each: got.put(list(as_completed([second, third], 30))))
    first.add_done_callback(lambda each: goes_on.wait(30))
    finishers.settle(first, Pong(1))
    for each in (second, third):
        wait_until(lambda each=each: bool(each._waiters), "the callback waits")  # type: ignore[misc]
        finishers.settle(each, Pong(1))
    assert got.get(timeout=30) == ({second}, set())
    assert got.get(timeout=30) == [second, third]
    last = future()
    soon(lambda: finishers.settle(last, Pong(1)))
    assert wait([last], 30) == ({last}, set())
    goes_on.set()


def test_failed_future_leaves_no_circle() -> None:
    """What it holds goes with its last reference, not at a collection."""
    gc.disable()
    try:
        for ask in (CallFuture.result, CallFuture.exception):
            mine = future()
            mine.settle(FAILED)
            with suppress(KeyError):
                ask(mine)
            found = weakref.ref(mine)
            del mine
            assert found() is None
    finally:
        gc.enable()


def test_who_looks_late_finds_a_future_as_any_other() -> None:
    """Settled before anybody looked, it keeps no watchers until there are some."""
    mine, other = future(), future()
    for each in (mine, other):
        each.settle(Pong(1))
        assert each._watchers is UNWATCHED
    assert mine._condition is not other._condition
    assert wait([mine, other], 0) == ({mine, other}, set())
    assert mine._waiters == other._waiters == []
    called: list[object] = []
    mine.add_done_callback(called.append)
    assert called == [mine]


def test_answer_is_not_kept_beside_its_value() -> None:
    """Else a large response would take its memory twice; it stays done."""
    mine = future_of(lambda answer: "value", lambda future: False)
    mine.settle(Pong(1))
    assert mine.answer == Pong(1)
    assert [mine.result(), mine.result()] == ["value"] * 2
    assert (mine.answer, mine.done()) == (b"", True)


def test_wait_takes_futures_of_others_too(finishers: Finishers) -> None:
    """Those of an executor beside ours."""
    mine, other = future(), Future[int]()
    soon(lambda: (finishers.settle(mine, Pong(1)), other.set_result(1)))
    assert wait([mine, other], 30) == ({mine, other}, set())


def test_states_are_those_of_a_running_call_until_it_is_done() -> None:
    """As `concurrent.futures` names them, whatever the answer is."""
    mine = future()
    assert (mine.running(), mine.done(), mine.cancel(), mine.cancelled()) == (
        True,
        False,
        False,
        False,
    )
    mine.settle(FAILED)
    assert (mine.running(), mine.done(), mine.cancel(), mine.cancelled()) == (
        False,
        True,
        False,
        False,
    )
    with pytest.raises(Exception, match="in unexpected state"):
        mine.set_running_or_notify_cancel()


def test_exception_is_given_as_it_would_be_raised() -> None:
    """None for a value; the same object each time, and one that can be pickled."""
    good, bad = future(), future()
    good.settle(Pong(1))
    bad.settle(FAILED)
    assert good.exception() is None
    error = bad.exception(0)
    assert isinstance(error, KeyError)
    with pytest.raises(KeyError) as caught:
        bad.result()
    assert caught.value is error
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)
    with pytest.raises(TimeoutError):
        future().exception(0)


def test_callbacks_are_called_in_their_order_with_the_future(finishers: Finishers) -> None:
    """One that raises is told in the log and stops none of the others."""
    mine, seen = future(), SimpleQueue[tuple[int, object]]()
    for number in range(5):
        mine.add_done_callback(lambda each, number=number: seen.put((number, each)))  # type: ignore[misc]
        mine.add_done_callback(lambda each: 1 / 0)
    finishers.settle(mine, FAILED)
    assert [seen.get(timeout=30) for _ in range(5)] == [(number, mine) for number in range(5)]


@pytest.mark.parametrize("wrapped", [asyncio.wrap_future, lambda each: each])
@pytest.mark.parametrize("answer", [Pong(1), FAILED, UNREADABLE])
def test_asyncio_waits_for_a_future(answer: Any, wrapped: Any, finishers: Finishers) -> None:
    """Itself or by `wrap_future`: it gives and raises what `result` does, and others go on."""
    mine, never = future(), future()

    async def work() -> Any:
        asyncio.get_running_loop().call_soon(finishers.settle, mine, answer)
        got = await asyncio.gather(wrapped(mine), return_exceptions=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wrapped(never), 0.01)
        return got[0]

    got = asyncio.run(work())
    expected = mine.exception()
    assert got == Pong(1) if expected is None else got is expected
    never.settle(Pong(1))


def test_snapshot_is_what_asyncio_takes_of_a_future() -> None:
    """From 3.15 on, instead of asking one thing after another."""
    good, bad = future(), future()
    assert good._get_snapshot() == (False, False, None, None)
    good.settle(Pong(1))
    bad.settle(FAILED)
    assert good._get_snapshot() == (True, False, Pong(1), None)
    assert bad._get_snapshot() == (True, False, None, bad.exception())


def test_future_that_is_done_keeps_nothing_of_its_client() -> None:
    """One that isn't keeps what its answer comes over."""

    class Submitting:
        def waited_for(self, future: CallFuture) -> bool:
            return False

    client = Submitting()
    mine = future_of(lambda answer: answer, client.waited_for)
    found = weakref.ref(client)
    del client
    assert found() is not None
    mine.settle(Pong(1))
    assert found() is None
    assert mine.result() == Pong(1)


def test_forked_child_ends_a_future_whose_lock_another_thread_held() -> None:
    """That thread is not there: what it held is replaced, and callbacks are called here."""
    mine, called = future(), []
    mine.add_done_callback(called.append)
    holder = threading.Thread(target=mine._condition.acquire)
    holder.start()
    holder.join()
    mine.settle_in_child(Pong(1))
    assert called == [mine]
    assert mine._condition.acquire(blocking=False)
    assert wait([mine], 0) == ({mine}, set())


def test_who_waits_looks_again_when_its_call_has_a_server() -> None:
    """Only then can be known that it would wait for ever; without that it sleeps on."""
    looks: SimpleQueue[int] = SimpleQueue()
    got: SimpleQueue[object] = SimpleQueue()

    def waited_for(_: object) -> bool:
        looks.put(1)
        if sent.is_set():
            raise RuntimeError("for ever")
        return False

    def ask() -> None:
        try:
            got.put(mine.result(30))
        except RuntimeError as error:
            got.put(str(error))

    sent = threading.Event()
    mine = future_of(lambda answer: answer, waited_for)
    mine.look_again()  # nobody waits
    thread = threading.Thread(target=ask)
    thread.start()
    looks.get(timeout=30)
    sent.set()
    mine.look_again()
    assert got.get(timeout=30) == "for ever"
    thread.join()
    assert not mine._watched().latches


def test_who_waits_asks_within_a_tick_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it would wait."""
    monkeypatch.setattr(futures, "TICK", 0.001)
    asked: list[object] = []

    def waited_for(future: CallFuture) -> bool:
        asked.append(future)
        if len(asked) == 3:
            raise Struck
        return True

    for timeout in (None, 30):
        mine = future_of(lambda answer: answer, waited_for)
        asked.clear()
        with pytest.raises(Struck):
            mine.result(timeout)
        assert not mine._watched().latches


def test_first_value_stays() -> None:
    """Who makes it meanwhile, and is later, gets that object too."""
    made: list[object] = []

    def value(_: object) -> object:
        if not made:
            made.append(None)
            made[0] = mine.result()  # as another thread would
        return object()

    mine = future_of(value, lambda _: False)
    mine.settle(Pong(1))
    assert mine.result() is made[0]
    assert mine.result() is made[0]


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """What has a handler of the program's raise `ValueError`."""

    def handler(*_: object) -> None:
        raise ValueError("a handler's")

    before = signal.signal(signal.SIGINT, handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_exception_of_a_handler_is_no_value_of_a_future(interrupt: Callable[[], None]) -> None:
    """It is raised where it struck, and the value is made by who asks next."""
    strikes = [interrupt]

    def value(_: object) -> str:
        if strikes:
            strikes.pop()()
        return "value"

    mine = future_of(value, lambda _: False)
    mine.settle(Pong(1))
    with pytest.raises(ValueError, match="a handler's"):
        mine.result()
    assert mine.result() == "value"
    assert mine.exception() is None


def test_exception_of_a_handler_passes_through_a_callback(interrupt: Callable[[], None]) -> None:
    """It is the program's, not the callback's; those behind it are called by the next."""
    mine, called = future(), []
    mine.add_done_callback(lambda _: interrupt())
    mine.add_done_callback(called.append)
    mine.settle(Pong(1))
    with pytest.raises(ValueError, match="a handler's"):
        mine.call_back()
    mine.call_back()
    assert called == [mine]


@pytest.mark.parametrize("method", [CallFuture.settle, CallFuture._make, CallFuture.call_back])
def test_future_that_is_struck_anywhere_is_done_by_the_next(method: Any) -> None:
    """One answer, one value, each callback at most once, and none that would be called is left."""
    at, through = 0, False
    while not through:
        mine, called = future_of(lambda answer: [answer], lambda _: False), []
        mine.add_done_callback(called.append)
        if method is not CallFuture.settle:
            mine.settle(Pong(1))
        args = (mine, Pong(1)) if method is CallFuture.settle else (mine,)
        with suppress(Struck):
            through = strike(at, method, *args)
        mine.settle(Pong(1))
        first = mine.result()
        mine.call_back()
        assert first == [Pong(1)]
        assert mine.result() is first
        assert len(called) <= 1
        assert not mine.has_to_call_back()
        at += 1
    assert at > 3
