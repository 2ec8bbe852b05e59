"""Truths of a client whose threads are interrupted, or close it, at an unlucky moment."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bgpy import Client, ServerGone
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.waiting import READABLE, poll
from bgpy.calling.conversation import Pending
from bgpy.wire.messages import Ping
from tests.support.gate import Gate
from tests.support.tasks.counting import count

LONG = 30.0


class Struck(BaseException):
    """What a signal handler raises."""


def _channel(client: Client) -> Channel:
    client.call({"run": count})
    channel = client._caller._channel
    assert channel is not None
    return channel


def test_call_gives_its_answer_when_another_thread_closes_the_client_as_it_comes(
    client: Client,
) -> None:
    """The answer is here: that nobody waits for it any more by the books is no matter."""
    channel = _channel(client)
    receive = channel._receive

    def received(memory: memoryview) -> int:
        size = receive(memory)
        closing = threading.Thread(target=client.close)
        closing.start()
        closing.join()
        return size

    channel._receive = received
    assert client.call({"run": count}) == 1
    assert client.call({"run": count}) == 2


def test_other_threads_go_on_when_a_reader_is_interrupted_as_it_leaves(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has let go of nothing, and woken nobody: the connection ends, and the next one works."""
    channel = _channel(client)

    def interrupted() -> None:
        raise Struck

    monkeypatch.setattr(channel, "_leave", interrupted)
    with pytest.raises(Struck):
        client.call({"run": count})
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(client.call({"run": count}, timeout=LONG))
    )
    thread.start()
    thread.join()
    assert answers == [2]


def test_connection_ends_when_looking_at_it_is_interrupted(client: Client) -> None:
    """Half of a late answer may have been read: nobody can read on from there."""
    channel = _channel(client)
    number = next(client._caller.requests)
    late = channel.send(number, channel.connection.send(Ping(number)), None)
    channel.abandon(late)
    assert poll(channel._sock, LONG, READABLE)
    receive = channel._receive

    def interrupted(memory: memoryview) -> int:
        receive(memory)
        raise Struck

    channel._receive = interrupted
    channel._last_used -= LONG
    with pytest.raises(Struck):
        client.call({"run": count})
    channel._receive = receive
    assert not channel.usable()
    assert client.call({"run": count}) == 1


def test_other_threads_get_their_answers_when_a_reader_is_interrupted_as_it_hands_one_over(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for it hears that the connection has ended, and doesn't wait for ever."""
    _channel(client)
    wake = Pending.wake
    struck = []

    def interrupted(pending: Pending) -> None:
        if not struck:
            struck.append(pending)
            raise Struck
        wake(pending)

    monkeypatch.setattr(Pending, "wake", interrupted)
    outcomes: list[object] = []

    def ask(question: Callable[[], object]) -> threading.Thread:
        def asking() -> None:
            try:
                outcomes.append(question())
            except (Struck, ServerGone) as error:
                outcomes.append(error)

        thread = threading.Thread(target=asking, daemon=True)
        thread.start()
        return thread

    reader = ask(lambda: client.call({"run": gate.passing()}))
    gate.wait()
    sleeper = ask(client.ping)
    sleeper.join(LONG)
    gate.open()
    reader.join(LONG)
    assert len(outcomes) == 2
