"""A thread that is rung, works and rests: every interleaving of its steps, and real threads."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from bgpy.calling.blocking import helper as module
from bgpy.calling.blocking import threads
from bgpy.calling.blocking.helper import Helper
from tests.support.helper_scene import CODE, Begin, HelperScene, translated
from tests.support.interleaving import Broken, explore, mutants
from tests.support.peers import wait_until
from tests.support.strikes import Struck, strike

LONG = 30.0


class Owner:
    """Of a helper."""


class Notes(Helper[int]):
    """Notes what it is given, and in which thread."""

    def __init__(self, owner: object) -> None:
        super().__init__(owner)
        self.done: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self.fails: list[int] = []

    def do(self, what: int) -> None:
        if what in self.fails:
            self.fails.remove(what)
            raise MemoryError
        self.done.put((what, threading.get_ident()))


BEGINS = {
    "one after another": Begin(ringers=2, switches=0),
    "nobody is there to rest": Begin(ringers=0, rests=True),
    "one": Begin(),
    "no thread can be had": Begin(starts=0),
    "one fails": Begin(fails=1),
    **{f"look {at} fails": Begin(looks=at, switches=1) for at in range(1, 6)},
    "one of two fails": Begin(ringers=2, fails=1, switches=1),
    "a second thread can't be had": Begin(ringers=2, starts=1, switches=2),
    "two": Begin(ringers=2, switches=2),
    "one that is struck, and somebody has it rest": Begin(rests=True, strikes=1),
}
"""All orders of events; with `switches` those in which threads that could go on wait so often."""

NEEDLESS = {
    "tend without: return None": "which is what a function gives anyway",
    "_run without: continue": "which the loop does there anyway",
    "_has_ended without: return False": "None says the same",
    "_is_rung without: return False": "None says the same",
    "is_running without: return not self.life.is_over": "a test with threads finds it",
    "rest without: if self.is_running:": "a test with threads finds it",
    "rest without: self._bell.put(self._owner)": "a test with threads finds it",
    "_recover without: self._is_rung(AGAIN)": "a test with threads finds it",
}
"""Changes that lose no ring."""


@pytest.mark.parametrize("name", BEGINS)
def test_no_ring_is_lost_in_any_order_of_the_steps_of_the_code(name: str) -> None:
    """Threads interleave, are struck, fail, can't be had; each thing is done once."""
    names = translated()
    assert explore(lambda: HelperScene(names, BEGINS[name])) > 2


def test_each_statement_is_needed_where_it_stands() -> None:
    """One that is left out, or comes after the next one, breaks what the walks look at."""
    found = {}
    for what, tree in mutants(CODE):
        names = translated(tree)
        if what not in NEEDLESS and not any(breaks(names, each) for each in BEGINS.values()):
            found[what] = tree
    assert list(found) == []


def breaks(names: dict[str, Any], begin: Begin) -> bool:
    """Whether an order of events breaks something."""
    try:
        explore(lambda: HelperScene(names, begin))
    except Broken:
        return True
    return False


@pytest.fixture(autouse=True)
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test waits for comes by itself."""
    monkeypatch.setattr(module, "REST_AFTER", 1000.0)


def test_each_thing_is_done_once_in_order_by_one_thread() -> None:
    """However fast it is rung for."""
    owner = Owner()
    notes = Notes(owner)
    for number in range(1000):
        assert notes.ring(number)
    done = [notes.done.get(timeout=LONG) for _ in range(1000)]
    assert [number for number, _ in done] == list(range(1000))
    assert len({thread for _, thread in done}) == 1
    assert notes._bell.qsize() <= 1
    notes.rest()


def test_many_threads_ring_while_others_have_it_rest() -> None:
    """All is done, each thing once, and no thread stays."""
    owner = Owner()
    notes = Notes(owner)

    def ring(begin: int) -> None:
        for number in range(begin, begin + 300):
            assert notes.ring(number)
            if number % 7 == 0:
                notes.rest()

    ringers = [threading.Thread(target=ring, args=(begin,)) for begin in range(0, 1200, 300)]
    for each in ringers:
        each.start()
    for each in ringers:
        each.join(LONG)
    assert sorted(notes.done.get(timeout=LONG)[0] for _ in range(1200)) == list(range(1200))
    notes.rest()
    wait_until(lambda: not notes.is_running, "it has ended")
    assert notes.done.empty()


@pytest.mark.parametrize("how", ["rest", "collected", "after a while"])
def test_thread_ends_when_nothing_is_left_to_do(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to rest, its owner gone, or without a ring; the next ring starts another."""
    if how == "after a while":
        monkeypatch.setattr(module, "REST_AFTER", 0.01)
    owner: object = Owner()
    notes = Notes(owner)
    for number in range(2):
        assert notes.ring(number)
        assert notes.done.get(timeout=LONG)[0] == number
        if how == "rest":
            notes.rest()
        elif how == "collected":
            owner = None
        wait_until(lambda: not notes.is_running, "it has ended")
        if how == "collected":
            return


def test_thread_that_rest_has_missed_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was being started just then, and nobody knew of it."""
    monkeypatch.setattr(module, "REST_AFTER", 0.01)
    owner, started = Owner(), threading.Event()
    notes = Notes(owner)

    def start(run: object, *args: object) -> bool:
        def noted() -> None:
            run(*args)  # type: ignore[operator]
            started.set()

        threading.Thread(target=noted).start()
        notes.rest()  # by another thread
        return True

    monkeypatch.setattr(threads, "start", start)
    assert notes.start()
    assert started.wait(LONG)


def test_thread_that_has_ended_before_it_was_noted_is_not_taken_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else what is rung for afterwards would wait for it for ever."""
    owner = Owner()
    notes, really = Notes(owner), threads.start

    def start(run: object, *args: object) -> bool:
        notes._bell.put(notes._owner)  # it is told to rest at once
        thread = threading.Thread(target=run, args=args)  # type: ignore[arg-type]
        thread.start()
        thread.join(LONG)
        return True

    monkeypatch.setattr(threads, "start", start)
    assert notes.start()
    monkeypatch.setattr(threads, "start", really)
    assert notes.ring(1)
    assert notes.done.get(timeout=LONG)[0] == 1
    notes.rest()


def test_thread_that_fails_carries_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so; what it was doing is done first, once more."""
    monkeypatch.setattr(module, "AGAIN", 0.01)
    owner = Owner()
    notes = Notes(owner)
    notes.fails = [1, 1]
    with caplog.at_level(logging.ERROR, "bgpy.client"):
        for number in (1, 2):
            assert notes.ring(number)
        assert [notes.done.get(timeout=LONG)[0] for _ in range(2)] == [1, 2]
    assert "a thread of a client failed; it carries on" in caplog.text
    notes.rest()


def test_what_has_failed_is_done_again_after_a_while_or_with_the_next_ring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not at once: what it failed for is still so."""
    monkeypatch.setattr(module, "AGAIN", 1000.0)
    owner = Owner()
    notes = Notes(owner)
    notes.fails = [1] * 1000
    assert notes.ring(1)
    wait_until(lambda: len(notes.fails) < 1000, "it has failed")
    with pytest.raises(Empty):
        notes.done.get(timeout=0.2)
    assert len(notes.fails) >= 998  # the ring itself may have come after the first failure
    notes.fails.clear()
    assert notes.ring(2)
    assert [notes.done.get(timeout=LONG)[0] for _ in range(2)] == [1, 2]
    notes.rest()


@pytest.mark.parametrize("step", ["_has_ended", "_work", "_is_rung", "_recover"])
def test_thread_without_memory_for_any_step_carries_on(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Those that have rung count on it, and may not ring again."""
    monkeypatch.setattr(module, "AGAIN", 0.01)
    owner = Owner()
    notes, out, failed = Notes(owner), [3, 3], threading.Event()
    real = getattr(notes, step)

    def failing(*args: object) -> object:
        if out:
            out.pop()
            raise MemoryError
        failed.set()
        return real(*args)

    monkeypatch.setattr(notes, step, failing)
    notes.fails = [1, 1, 1]  # then it has to recover
    assert notes.ring(1)
    assert notes.done.get(timeout=LONG)[0] == 1
    assert failed.wait(LONG)
    assert notes.is_running
    assert notes.ring(2)
    assert notes.done.get(timeout=LONG)[0] == 2
    notes.rest()
    wait_until(lambda: not notes.is_running, "it has ended")


def test_thread_waits_no_longer_than_a_rest_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it waits for may be over long before, and a lock waits for so many seconds at most."""
    monkeypatch.setattr(module, "REST_AFTER", 0.01)
    owner, calls = Owner(), iter([2.0 * threading.TIMEOUT_MAX, 3600.0, None])

    class Timed(Notes):
        def tend(self) -> float | None:
            return next(calls)

    timed = Timed(owner)
    assert timed.start()
    wait_until(lambda: not timed.is_running, "nothing is to be waited for any more")


def test_thread_is_called_again_after_the_seconds_that_it_says() -> None:
    """Without a ring, and it doesn't rest before."""
    owner, calls = Owner(), iter([0.01, 0.01, None, None])
    over = threading.Event()

    class Timed(Notes):
        def tend(self) -> float | None:
            seconds = next(calls)
            if seconds is None:
                over.set()
            else:
                self.rest()
            return seconds

    timed = Timed(owner)
    assert timed.start()
    assert over.wait(LONG)
    timed.rest()
    wait_until(lambda: not timed.is_running, "it has ended")


def test_nothing_is_taken_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was left for the next one is done by that."""
    owner = Owner()
    notes = Notes(owner)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", lambda *_: False)
        assert not notes.ring(1)
        notes.post(2)
    assert not notes.is_running
    assert notes.ring(3)
    assert [notes.done.get(timeout=LONG)[0] for _ in range(2)] == [2, 3]
    notes.rest()


def test_helper_leaves_no_circle() -> None:
    """It goes with its last reference, once its thread has ended."""
    gc.disable()
    try:
        owner = Owner()
        notes = Notes(owner)
        assert notes.ring(1)
        assert notes.done.get(timeout=LONG)[0] == 1
        found = weakref.ref(notes)
        del owner, notes
        wait_until(lambda: found() is None, "it is collected")
    finally:
        gc.enable()


def test_ring_that_is_struck_anywhere_is_heard_by_the_next() -> None:
    """Or has been left and is done then; nothing is done twice, and none is lost that was left."""
    at, through = 0, False
    owner = Owner()
    while not through:
        notes = Notes(owner)
        with suppress(Struck):
            through = strike(at, notes.ring, 1, within=("blocking/helper.py",))
        assert notes.ring(2)
        done = [notes.done.get(timeout=LONG)[0]]
        while done[-1] != 2:
            done.append(notes.done.get(timeout=LONG)[0])
        assert done in ([2], [1, 2], [2, 1])
        notes.rest()
        at += 1
    assert at > 5
