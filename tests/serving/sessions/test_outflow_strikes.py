"""What leaves through a session when a signal's handler raises, at each place where it may.

Over real sockets: what a socket has taken and what is noted of it must not come apart.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from types import FrameType, FunctionType

import pytest

from bgpy.config import Limits
from bgpy.memory import Piece
from bgpy.serving.budget import Budget
from bgpy.serving.io.transport import StreamTransport
from bgpy.serving.sessions import outflow as outflow_module
from bgpy.serving.sessions.outflow import Outflow
from bgpy.serving.sessions.telling import Teller, TellingOutflow, outflow_over
from endurance.strikes.striker import Strike, Striker, Struck, raise_struck
from tests.support.streams import STREAMS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

PLACES = 400
"""More than any of the acts below has."""


class Setting:
    """An outflow into one end of a connection, and what has come out at the other."""

    def __init__(self, way: str = "plain") -> None:
        ours, self.theirs = STREAMS[way]()
        self.transport = StreamTransport(ours)
        self._memory = memoryview(bytearray(2**18))
        self.budget = Budget(2**32)
        self.attended = 0
        self.outflow = outflow_over(self.transport, Limits(), self.budget, self._attend)
        self.is_at_work_meanwhile = False
        """The step is made by a handler that has interrupted the outflow."""
        self.sent: list[bytes] = []
        self.got = bytearray()

    def _attend(self) -> None:
        self.attended += 1

    def send(self, pieces: Sequence[Piece], more: bool = False) -> None:
        self.sent.append(b"".join(pieces))
        self.outflow.send(pieces, more)

    def receive(self) -> None:
        waits = 0
        while waits < 2:  # over TLS a part of a record may have come, and then the rest
            try:
                self.got += self._memory[: self.theirs.recv_into(self._memory)]
            except BlockingIOError:
                waits += 1

    def drain(self) -> None:
        """Flush as the thread that polls does, until nothing is left."""
        for _ in range(1000):
            self.receive()
            self.outflow.flush()
            if not self.outflow.waiting:
                break
        self.receive()

    def close(self) -> None:
        self.outflow.close()
        self.transport.close()
        self.theirs.close()


Message = tuple[list[Piece], bool]
Act = Callable[[Setting], Message | None]
"""Prepares, and gives the message whose `send` is struck; None where a flush is."""


def _large(letter: bytes) -> list[Piece]:
    return [letter * 20, memoryview(bytearray(letter * 100_000))]


def _small(setting: Setting) -> Message:
    return [b"small" * 10], False


def _several_of_one_byte(setting: Setting) -> Message:
    return [b"head", memoryview(b"x"), memoryview(b"x"), memoryview(b"y")], False


def _end_of_the_gathered(setting: Setting) -> Message:
    setting.send([b"first"], True)
    setting.send([b"second"], True)
    return [b"third"], False


def _more_of_the_gathered(setting: Setting) -> Message:
    setting.send([b"first"], True)
    return [b"second"], True


def _large_behind_the_gathered(setting: Setting) -> Message:
    setting.send([b"first"], True)
    return _large(b"l"), False


def _too_large_for_the_socket(setting: Setting) -> Message:
    return _large(b"l"), False


def _behind_what_waits(setting: Setting) -> Message:
    setting.send(_large(b"l"))
    return _large(b"m"), False


def _while_its_thread_is_at_work(setting: Setting) -> Message:
    """A handler or a `__del__` sends, and is struck itself."""
    setting.is_at_work_meanwhile = setting.outflow._busy = True
    return [b"from the handler", memoryview(bytearray(b"x" * 40))], False


def _flush(setting: Setting) -> None:
    setting.send(_large(b"l"))
    setting.send([b"head", memoryview(b"x"), memoryview(b"x"), memoryview(b"x")])
    setting.receive()


def _flush_of_the_gathered(setting: Setting) -> None:
    setting.send([b"first"], True)
    setting.send([b"second"], True)


ACTS: list[Act] = [
    _small,
    _several_of_one_byte,
    _end_of_the_gathered,
    _more_of_the_gathered,
    _large_behind_the_gathered,
    _too_large_for_the_socket,
    _behind_what_waits,
    _while_its_thread_is_at_work,
    _flush,
    _flush_of_the_gathered,
]


@pytest.fixture(scope="module")
def _uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile: what other tests have left would be struck too."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def striker(monkeypatch: pytest.MonkeyPatch, _uncollected: None) -> Iterator[Striker]:
    """A striker; the handler of its signal is as before when the test is over."""
    monkeypatch.setattr(outflow_module, "PATIENCE", 0.0)
    before = signal.getsignal(signal.SIGUSR1)
    yield Striker()
    signal.signal(signal.SIGUSR1, before)


class Watchdog(Struck, TimeoutError):
    """A handler's exception that looks like a socket's."""


def _raise_watchdog(frame: FrameType) -> None:
    raise Watchdog


@pytest.mark.parametrize("strike", [raise_struck, _raise_watchdog])
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("way", STREAMS)
def test_outflow_sends_all_once_and_in_order_wherever_a_handler_raises(
    striker: Striker, way: str, act: Act, strike: Strike
) -> None:
    """Only a message that was struck as `send` began may be missing, and then as a whole."""
    for place in range(1, PLACES):
        with closing(Setting(way)) as setting:
            struck = _strike(striker, place, setting, act(setting), strike)
            assert setting.outflow.lost is None, striker.where
        if not struck:
            return
    raise AssertionError("the act has more places than were tried")


def _beginning(function: FunctionType) -> str:
    """Where a strike falls that comes before the function's first step."""
    return f":{function.__code__.co_firstlineno} {function.__name__}"


_BEGINNINGS = list(
    map(_beginning, (Outflow.send, Outflow.send_small, TellingOutflow.send_small))  # type: ignore[arg-type]
)


def _waiting(setting: Setting) -> None:
    setting.send(_large(b"l"))


@pytest.mark.parametrize("strike", [raise_struck, _raise_watchdog])
@pytest.mark.parametrize("prepare", [None, _waiting])
@pytest.mark.parametrize("way", STREAMS)
def test_small_reply_leaves_once_and_in_order_wherever_a_handler_raises(
    striker: Striker, way: str, prepare: Callable[[Setting], None] | None, strike: Strike
) -> None:
    """On its short way, as on any other; also where it is to wait behind others."""
    for place in range(1, PLACES):
        with closing(Setting(way)) as setting:
            if prepare is not None:
                prepare(setting)
            striker.fallen, outflow = 0, setting.outflow
            striker.arm(place, strike)
            try:
                outflow.send_small(b"small", False)
            except Struck:
                pass
            finally:
                striker.disarm()
            assert outflow.lost is None, striker.where
            outflow.send_small(b"the last", False)
            setting.drain()
            before = b"".join(setting.sent)
            wanted = {before + b"smallthe last"}
            if any(map(striker.where.endswith, _BEGINNINGS)):
                wanted.add(before + b"the last")
            assert bytes(setting.got) in wanted, striker.where
            assert not outflow._busy, striker.where
            assert setting.budget.unsent == 0, striker.where
        if not striker.fallen:
            return
    raise AssertionError("the small reply has more places than were tried")


class Called:
    """A socket that tells, whose `send` is called from C, as tools are that watch each frame."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self.send = partial(teller.send)

    @property
    def told(self) -> int:
        return self._teller.told

    @told.setter
    def told(self, told: int) -> None:
        self._teller.told = told


def test_small_reply_leaves_once_where_a_handler_raises_behind_the_call_of_its_socket(
    striker: Striker,
) -> None:
    """What the socket took is known though it was not returned."""
    for place in range(1, PLACES):
        with closing(Setting("tls")) as setting:
            outflow, striker.fallen = setting.outflow, 0
            assert isinstance(outflow, TellingOutflow)
            outflow.teller = Called(outflow.teller)
            striker.arm(place, raise_struck)
            try:
                outflow.send_small(b"small", False)
            except Struck:
                pass
            finally:
                striker.disarm()
            setting.drain()
            assert bytes(setting.got) == b"small" or place < 3, striker.where
        if not striker.fallen:
            return
    raise AssertionError("the small reply has more places than were tried")


@pytest.mark.parametrize("way", STREAMS)
def test_small_reply_leaves_once_wherever_its_thread_comes_back(striker: Striker, way: str) -> None:
    """A handler sends in the middle of it."""
    for place in range(1, PLACES):
        with closing(Setting(way)) as setting:
            striker.fallen = 0
            striker.arm(place, partial(_come_back, setting.outflow))
            try:
                setting.outflow.send_small(b"M", False)
            finally:
                striker.disarm()
            setting.drain()
            both = (b"HM", b"MH") if striker.fallen else (b"M",)
            assert bytes(setting.got) in both, striker.where
        if not striker.fallen:
            return
    raise AssertionError("the small reply has more places than were tried")


def _come_back(outflow: Outflow, frame: FrameType) -> None:
    outflow.send([b"H"], False)


def test_gathered_piece_leaves_once_wherever_its_thread_comes_back(striker: Striker) -> None:
    """A handler sends in the middle of it."""
    for place in range(1, PLACES):
        with closing(Setting()) as setting:
            outflow = setting.outflow
            setting.send([b"first"], True)
            striker.fallen = 0
            striker.arm(place, partial(_come_back, outflow))
            try:
                taken = outflow.gather(b"M")
            finally:
                striker.disarm()
            if not taken:
                outflow.send([b"M"], True)
            setting.drain()
            assert bytes(setting.got) in (b"firstHM", b"firstMH", b"firstM"), striker.where
            assert (b"H" in setting.got) == bool(striker.fallen), striker.where
        if not striker.fallen:
            return
    raise AssertionError("gathering has more places than were tried")


@pytest.mark.parametrize("way", STREAMS)
def test_message_leaves_once_wherever_a_handler_sends_it_that_interrupts_a_receive(
    striker: Striker, way: str
) -> None:
    """On the thread that polls: what it holds while it receives keeps no handler out."""
    memory = memoryview(bytearray(2**18))
    for place in range(1, PLACES):
        with closing(Setting(way)) as setting:
            setting.theirs.send(b"from the client")
            striker.fallen = 0
            striker.arm(place, partial(_come_back, setting.outflow))
            try:
                count = setting.transport.receive_into(memory)
            finally:
                striker.disarm()
            assert memory[:count] == b"from the client", striker.where
            setting.drain()
            assert setting.got == b"H" * striker.fallen, striker.where
        if not striker.fallen:
            return
    raise AssertionError("receiving has more places than were tried")


def test_gathered_piece_leaves_once_or_not_at_all_wherever_a_handler_raises(
    striker: Striker,
) -> None:
    """As whoever sends it, and is told of the exception, has to bear."""
    for place in range(1, PLACES):
        with closing(Setting()) as setting:
            setting.send([b"first"], True)
            striker.fallen = 0
            striker.arm(place, raise_struck)
            try:
                setting.outflow.gather(b"M")
            except Struck:
                pass
            finally:
                striker.disarm()
            setting.outflow.send([b"the last"], False)
            setting.drain()
            assert bytes(setting.got) in (b"firstMthe last", b"firstthe last"), striker.where
            assert setting.budget.unsent == 0, striker.where
        if not striker.fallen:
            return
    raise AssertionError("gathering has more places than were tried")


def _strike(
    striker: Striker, place: int, setting: Setting, message: Message | None, strike: Strike
) -> bool:
    """Strike a step at its `place`, see what has left in the end; whether it had the place."""
    fallen, outflow, setting.attended = striker.fallen, setting.outflow, 0
    striker.arm(place, strike)
    try:
        if message is None:
            outflow.flush()
        else:
            outflow.send(*message)
    except Struck:
        pass
    finally:
        striker.disarm()
    struck = striker.fallen > fallen
    begun = place > 2 or not striker.where.endswith((" send", " flush"))
    assert setting.attended or not (struck and begun), striker.where
    if setting.is_at_work_meanwhile:
        outflow._go_on(None)
    outflow.send([b"the last"], False)
    setting.drain()
    before, own = b"".join(setting.sent), b"".join(message[0]) if message else b""
    wanted = {before + own + b"the last"} | (set() if begun else {before + b"the last"})
    assert bytes(setting.got) in wanted, striker.where
    assert not outflow._busy, striker.where
    assert setting.budget.unsent == 0, striker.where
    return struck
