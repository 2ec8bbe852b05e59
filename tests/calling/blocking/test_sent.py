"""What becomes of a call that was sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from bgpy.calling.blocking import sent as sent_module
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.sent import Sent
from bgpy.calling.conversation import Call
from bgpy.errors import ServerGone
from bgpy.wire.messages import Goodbye, Pong
from tests.support.channels import Far, bare_future, far_end
from tests.support.loop import LONG
from tests.support.peers import wait_until

Ends = tuple[Channel, Far]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A channel, and its other end."""
    with far_end() as both:
        yield both


def sent(channel: Channel) -> Sent:
    return Sent(channel.link, channel.reader)


def begun(channel: Channel) -> Call:
    """A call that waits to be sent."""
    call = Call()
    with channel._lock:
        channel.conversation.begin(call, channel._numbers.draw())
        channel._sends.gather_one(call, b"request")
    return call


def test_answer_is_read_when_all_of_the_call_has_left(ends: Ends) -> None:
    """By the thread whose turn it is."""
    channel, far = ends
    call = begun(channel)
    with channel._lock:
        assert channel._turns.enter(channel.link.shared.here.turn)
    far.say(Pong(call.request))
    assert sent(channel).answer_of(call, True, None) == Pong(call.request)
    assert call.left


def test_what_others_have_put_behind_a_call_is_handed_on(ends: Ends) -> None:
    """They count on whoever was the first to leave something in the queue."""
    channel, far = ends
    rung: list[object] = []
    channel.link.shared.push_on = lambda: lambda: rung.append(None)
    call = begun(channel)
    far.sock.settimeout(30.0)
    with channel._lock:
        channel._sends.gather_one(bare_future(), bytes(1_000_000))
    sent(channel)._see_off(call, None)
    assert rung


def test_lost_connection_is_the_answer_of_a_call_that_failed(ends: Ends) -> None:
    """With what the server had said before."""
    channel, far = ends
    call = begun(channel)
    far.say(Goodbye("it is late"))
    answer = sent(channel).failed(call, ConnectionResetError(104, "reset"))
    assert isinstance(answer, ServerGone)
    assert "it is late" in str(answer)


def test_connection_that_fails_while_another_thread_reads_ends_with_what_that_reads(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had come before: the server has said why it ended."""
    channel, far = ends
    reading, go_on = threading.Event(), threading.Event()
    receive = channel.reader._receive

    def slowly(memory: memoryview) -> int:
        reading.set()
        assert go_on.wait(LONG)
        return receive(memory)

    monkeypatch.setattr(channel.reader, "_receive", slowly)
    monkeypatch.setattr(sent_module, "MOMENT", LONG)
    future = bare_future()
    with channel._lock:
        channel.admit(future, (b"request", (), False))
    assert reading.wait(LONG)
    far.say(Goodbye("it is late"))
    fails = threading.Thread(target=channel.lost, args=(BrokenPipeError(32, "broken pipe"),))
    fails.start()
    waits = lambda: min(channel.conversation.pending, default=0) < 0  # noqa: E731
    wait_until(lambda: waits() or not fails.is_alive(), "the end is waited for")
    go_on.set()
    fails.join(LONG)
    assert channel.conversation.ended == "the server closed the connection: it is late"


def test_standby_that_can_not_send_reads_what_came_before(ends: Ends) -> None:
    """Likewise."""
    channel, far = ends
    turn = channel.link.shared.here.turn
    far.say(Goodbye("it is late"))
    far.sock.close()
    with channel._lock:
        channel._sends.gather_one(bare_future(), bytes(1_000_000))
    with turn:
        channel._turns.reader = turn
        channel.reader._push_on()
        channel._turns.leave()
    assert channel.conversation.ended == "the server closed the connection: it is late"


@pytest.mark.parametrize("left", [True, False])
def test_struck_call_is_expected_no_longer(ends: Ends, left: bool) -> None:
    """What struck it is raised, and what it has left to send is handed on."""
    channel, _ = ends
    rung: list[object] = []
    channel.link.shared.push_on = lambda: lambda: rung.append(None)
    call = begun(channel)
    call.left = left
    with pytest.raises(KeyboardInterrupt):
        sent(channel).failed(call, KeyboardInterrupt())
    assert not channel.conversation.pending
    assert channel.conversation.unanswered == ({call.request} if left else set())
    assert rung
