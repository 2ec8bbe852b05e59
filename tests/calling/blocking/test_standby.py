"""The thread that reads where no thread that waits does."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from bgpy.calling.blocking import helper, threads
from bgpy.calling.blocking.standby import Standby
from tests.support.peers import wait_until

LONG = 30.0


class Channel:
    """Is read for, or isn't any more."""

    def __init__(self) -> None:
        self.has_ended = False
        self.served = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []
        self.fails: BaseException | None = None

    def serve(self, turn: threading.Lock) -> None:
        assert turn.locked()
        self.threads.append(threading.current_thread())
        self.served.release()
        if self.fails is not None:
            fails, self.fails = self.fails, None
            raise fails


@pytest.fixture(autouse=True)
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread ends because it waited for so long."""
    monkeypatch.setattr(helper, "REST_AFTER", 1000.0)


def test_standby_serves_each_time_it_is_rung_in_one_thread() -> None:
    """With its turn held; where it has failed it reads on without another ring."""
    channel = Channel()
    standby = Standby(channel)
    channel.fails = MemoryError()
    assert standby.ring(channel)
    for _ in range(2):
        assert channel.served.acquire(timeout=LONG)
    for _ in range(2):
        assert standby.ring(channel)
        assert channel.served.acquire(timeout=LONG)
    assert len({each.ident for each in channel.threads}) == 1
    channel.has_ended = True
    standby.tell_end()
    assert channel.served.acquire(timeout=LONG)


def test_standby_ends_with_the_connection_and_holds_nothing() -> None:
    """What is still in its queue would hold the channel for ever."""
    channel = Channel()
    standby = Standby(channel)
    channel.has_ended = True
    for _ in range(3):
        standby.ring(channel)
    wait_until(lambda: not standby.is_running, "nothing is left to do")
    gone = weakref.ref(channel)
    del channel
    wait_until(lambda: gc.collect() >= 0 and gone() is None, "the channel is collected")


def test_standby_keeps_no_channel_alive_and_ends_when_it_is_collected() -> None:
    """While nothing is under way."""
    channel = Channel()
    standby = Standby(channel)
    assert standby.ring(channel)
    assert channel.served.acquire(timeout=LONG)
    gone = weakref.ref(channel)
    del channel
    wait_until(lambda: gone() is None, "the channel is collected")
    wait_until(lambda: not standby.is_running, "the standby has taken the news of that")


def test_standby_that_can_not_be_started_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would sleep then doesn't; the next one tries again."""
    channel = Channel()
    standby = Standby(channel)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", lambda *_: False)
        assert not standby.ring(channel)
        standby.tell_end()
    assert not standby._to_do
    assert standby.ring(channel)
    assert channel.served.acquire(timeout=LONG)
