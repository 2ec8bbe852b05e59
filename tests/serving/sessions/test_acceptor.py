"""The door of a server: who is let in, who must leave for others, and who has to wait."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from bgpy.config import Limits
from bgpy.serving.io.agenda import Deadline
from bgpy.serving.io.listener import Arrival, Listener, TurnedAway
from bgpy.serving.io.reactor import Reactor
from bgpy.serving.sessions import acceptor as acceptor_module
from bgpy.serving.sessions.acceptor import Acceptor
from bgpy.serving.sessions.session import Session
from bgpy.system import reserve
from tests.support.strikes import Struck


class Stream:
    """A connection that arrives."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Door:
    """An acceptor between a listener and sessions that a test plays."""

    def __init__(self, sock: socket.socket, **limits: float) -> None:
        self.sock = sock
        self.watched: Callable[[int], None] | None = None
        self.timers: list[Callable[[], None]] = []
        self.deadlines: list[Deadline] = []
        self.arrives: BaseException | None = None
        self.fails: BaseException | None = None
        self.strikes = False
        self.registered = 0
        self.closed_in_child = False
        self.streams: list[Stream] = []
        self.made: list[Guest] = []
        self.turned_away: list[tuple[str, str]] = []
        self.acceptor = Acceptor(
            cast(Listener, self),
            Limits(**limits),  # type: ignore[arg-type]
            cast(Reactor, self),
            cast(Callable[[Arrival], Session], self._make),
            lambda peer, why: self.turned_away.append((peer, why)),
        )
        self.acceptor.open()

    # As a listener

    def accept(self) -> Arrival:
        if self.arrives is not None:
            raise self.arrives
        self.streams.append(Stream())
        return Arrival(cast(Any, self.streams[-1]), "a peer", lambda: b"")

    def close(self) -> None:
        self.sock.close()

    def close_in_child(self) -> None:
        self.closed_in_child = True

    # As a reactor

    def register(self, sock: socket.socket, events: int, handler: Callable[[int], None]) -> None:
        assert self.watched is None, "it is watched already"
        self.watched = handler
        self.registered += 1
        if self.strikes:
            raise Struck

    def unregister(self, sock: socket.socket) -> None:
        self.watched = None

    def after(self, seconds: float, expired: Callable[[], None]) -> Deadline:
        self.timers.append(expired)
        self.deadlines.append(Deadline(expired))
        return self.deadlines[-1]

    # What a test does

    def _make(self, arrival: Arrival) -> Guest:
        if isinstance(self.fails, MemoryError):
            raise self.fails
        self.made.append(Guest(self))
        return self.made[-1]

    def knock(self) -> Guest:
        """Somebody connects."""
        assert self.watched is not None, "nobody is accepted"
        self.watched(1)
        return self.made[-1]

    def knock_and_prove(self, client_id: bytes) -> Guest:
        guest = self.knock()
        guest.client_id = client_id
        self.acceptor.proved(cast(Session, guest))
        return guest


class Guest:
    """A session."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.client_id = b""
        self.outcome = ""
        self.resumed = 0
        self.closed_in_child = False

    def open(self) -> None:
        if self.door.fails is not None:
            raise self.door.fails

    def drop(self, outcome: str) -> None:
        self.outcome = outcome
        self.door.acceptor.closed(cast(Session, self))

    def resume(self) -> None:
        self.resumed += 1

    def close_in_child(self) -> None:
        self.closed_in_child = True


Open = Callable[..., Door]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Open a door."""
    monkeypatch.setattr(acceptor_module.descriptors, "is_scarce", lambda fd: False)
    with socket.socket() as sock:
        yield lambda **limits: Door(sock, **limits)


def test_all_connections_of_a_client_are_read_again_and_no_other(at: Open) -> None:
    """Those that have closed are forgotten."""
    door = at()
    one, two, gone = (door.knock_and_prove(b"client") for _ in range(3))
    other = door.knock_and_prove(b"other")
    gone.drop("left")
    door.acceptor.resume(b"client")
    door.acceptor.resume(b"nobody")
    assert [each.resumed for each in (one, two, gone, other)] == [1, 1, 0, 0]
    one.drop("left")
    two.drop("left")
    door.acceptor.resume(b"client")
    assert (one.resumed, two.resumed) == (1, 1)
    assert door.acceptor.sessions == {other}


def test_oldest_makes_room_when_too_many_have_not_proved_the_token(at: Open) -> None:
    """Those that have proved it stay."""
    door = at(max_half_open=2)
    proved = door.knock_and_prove(b"client")
    oldest, second, third = (door.knock() for _ in range(3))
    assert "max_half_open" in oldest.outcome
    assert [each.outcome for each in (proved, second, third)] == ["", "", ""]


def test_stranger_makes_room_when_there_are_too_many_connections(at: Open) -> None:
    """Without one, those that come wait until somebody leaves."""
    door = at(max_connections=2)
    first = door.knock_and_prove(b"client")
    stranger = door.knock()
    door.knock_and_prove(b"client")
    assert "max_connections" in stranger.outcome
    door.knock()  # nobody can be dropped
    assert len(door.made) == 3
    assert door.watched is None
    first.drop("left")
    assert door.knock() is door.made[3]


def test_door_is_opened_again_when_its_time_is_over(at: Open) -> None:
    """What was short may be there again."""
    door = at()
    door.arrives = OSError(errno.EMFILE, "Too many open files")
    assert door.watched is not None
    door.watched(1)
    assert door.watched is None
    door.arrives = None
    (again,) = door.timers
    again()
    again()
    door.knock()
    assert door.registered == 2


def test_door_has_one_timer_however_often_it_was_closed(at: Open) -> None:
    """Clients that come and go while it is full would make one each, and each the next one."""
    door = at(max_connections=1)
    for _ in range(5):
        guest = door.knock_and_prove(b"client")
        door.knock()  # there is no room
        guest.drop("left")
    assert [each.expired is None for each in door.deadlines] == [True] * 4 + [False]
    door.acceptor.close()
    assert door.deadlines[-1].expired is None


def test_stranger_makes_room_when_descriptors_are_short(
    at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some are kept for the tasks."""
    door = at()
    stranger = door.knock()
    monkeypatch.setattr(acceptor_module.descriptors, "is_scarce", lambda fd: True)
    door.knock()
    assert "ulimit -n" in stranger.outcome


def test_connection_that_is_gone_already_is_nobodys_failure(at: Open) -> None:
    """Accepting continues."""
    door = at()
    stranger = door.knock()
    door.arrives = ConnectionAbortedError(errno.ECONNABORTED, "gone")
    door.knock()
    assert stranger.outcome == ""
    assert door.watched is not None


def test_who_is_turned_away_is_told_of(at: Open) -> None:
    """With the reason."""
    door = at()
    door.knock()
    door.arrives = TurnedAway("a peer", "why")
    door.knock()
    assert door.turned_away == [("a peer", "why")]


def test_connection_is_closed_when_there_is_no_memory_for_its_session(at: Open) -> None:
    """And a stranger makes room."""
    door = at()
    stranger = door.knock()
    door.fails = MemoryError()
    door.knock()
    assert door.streams[-1].closed
    assert "out of memory" in stranger.outcome


def test_memory_is_kept_for_those_that_are_there(at: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a new one has met the end of is given back, and nobody takes its place before that."""
    door = at()
    stranger = door.knock()
    door.fails = MemoryError()
    door.knock()
    door.fails = None
    assert stranger.outcome
    monkeypatch.setattr(reserve, "SIZE", 2**62)
    door.knock()
    assert door.watched is None  # nobody is left who could make room
    assert len(door.made) == 1
    monkeypatch.setattr(reserve, "SIZE", 2**10)
    door.timers[-1]()
    assert door.knock().outcome == ""
    assert len(door.made) == 2


def test_who_made_room_is_noted_with_what_the_system_was_short_of(at: Open) -> None:
    """In its words, also where another number says it than that of files."""
    door = at()
    stranger = door.knock()
    door.arrives = OSError(errno.ENOBUFS, "No buffer space available")
    door.knock()
    assert "No buffer space available" in stranger.outcome


def test_log_tells_once_in_a_while_that_nobody_can_be_accepted(
    at: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not at each connection: a flood would fill it."""
    now = [1000.0]
    monkeypatch.setattr(acceptor_module, "monotonic", lambda: now[0])
    door = at(max_connections=1, handshake_timeout=5.0)
    for seconds, lines in ((0.0, 0), (0.0, 1), (4.9, 1), (5.1, 2), (5.0, 2)):
        now[0] += seconds
        door.knock()
        assert len(caplog.records) == lines


def test_forked_child_gives_everything_back_and_says_nothing(at: Open) -> None:
    """The listener's descriptor and those of all sessions; the parent still has them."""
    door = at()
    guests = [door.knock_and_prove(b"client"), door.knock()]
    door.acceptor.close_in_child()
    assert door.closed_in_child
    assert all(guest.closed_in_child for guest in guests)
    assert [guest.outcome for guest in guests] == ["", ""]


def test_open_door_does_not_block_whoever_polls(at: Open) -> None:
    """Who connected may have gone before it is accepted."""
    assert at().sock.getblocking() is False


def test_connection_is_dropped_when_an_exception_strikes_as_it_is_let_in(at: Open) -> None:
    """Else nothing would ever be read from it, and nothing would end it."""
    door = at()
    door.fails = Struck()
    with pytest.raises(Struck):
        door.knock()
    assert door.made[0].outcome
    assert door.acceptor.sessions == set()
    door.fails = None
    door.knock()


def test_door_opens_when_an_exception_has_struck_it_as_it_opened(at: Open) -> None:
    """What is watched already is watched anew."""
    door = at(max_connections=1)
    client = door.knock_and_prove(b"client")
    door.knock()
    assert door.watched is None
    door.strikes = True
    with pytest.raises(Struck):
        client.drop("left")
    door.strikes = False
    client.drop("left")
    door.knock()


def test_closed_door_stays_closed(at: Open) -> None:
    """Whoever leaves then."""
    door = at()
    guest = door.knock()
    door.acceptor.close()
    guest.drop("left")
    assert door.watched is None
