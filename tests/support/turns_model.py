"""Two callers and the standby of a channel as a model whose every interleaving can be walked.

`bgpy.calling.blocking.channel` and what it reads with, mirrored with program counters: each step
of a thread is one critical section, one look at shared data or one system call. A call goes the
short road or the general one, wherever both are open, and may be one that is submitted, which
never reads and whose future is waited for. Whose turn it is, is the real `Turns`. A server
answers what was sent whenever it likes; a caller may be struck down by an interrupt at any step,
and may lose its patience, so many times in all. What an interrupted thread would tidy up it
doesn't: that is the worst case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from bgpy.calling.blocking.turns import Turns

CALLERS = ("A", "B")
STANDBY = "S"

Flags = tuple[bool, bool]


class World(NamedTuple):
    """One state of everything. What belongs to a caller is at its index."""

    left: tuple[int, int]  # calls that each has yet to make
    strikes: int
    timeouts: int
    at: tuple[str, str] = ("top", "top")
    standby: str = "bell"
    turns: tuple[str | None, bool, int] = (None, False, 0)
    held: tuple[str, str] = ("", "")  # by whom each caller's turn is held
    pending: Flags = (False, False)
    unanswered: Flags = (False, False)  # the server has yet to answer
    inbox: Flags = (False, False)
    took: tuple[int, ...] = ()  # received, yet to be handed out
    answered: Flags = (False, False)
    latch: Flags = (False, False)
    bell: bool = False
    torn: bool = False
    came: bool = False
    before: int = 0  # whose turn the standby waits for
    ended: bool = False


Step = tuple[str, World]


class Broken(AssertionError):
    """An invariant doesn't hold."""


def put(flags: tuple, at: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*flags[:at], value, *flags[at + 1 :])


class Model:
    """What each thread may do next; a mutant changes one method."""

    turns_type: type[Turns[str]] = Turns
    submitters: tuple[int, ...] = (1,)
    """Which callers submit, too."""

    def steps(self, w: World) -> list[Step]:
        """All steps that may come next."""
        found: list[Step] = []
        for who in (0, 1):
            found += [(f"{CALLERS[who]} {n}", s) for n, s in self.caller(w, who)]
        found += [(f"S {name}", state) for name, state in self.stand_by(w)]
        for who in (0, 1):
            if w.unanswered[who] and not w.ended:
                state = w._replace(
                    unanswered=put(w.unanswered, who, False), inbox=put(w.inbox, who, True)
                )
                found.append(("answer", state))
        return found

    # A caller

    def caller(self, w: World, who: int) -> list[Step]:
        at = w.at[who]
        steps: list[Step] = getattr(self, at)(w, who)
        if at not in ("top", "done"):
            if w.strikes:
                steps += [("struck", self.struck(w._replace(strikes=w.strikes - 1), who))]
            if w.timeouts and at in ("sleep", "read"):
                steps += [("time over", self.late(w._replace(timeouts=w.timeouts - 1), who))]
        return steps

    def go(self, w: World, who: int, at: str) -> World:
        return w._replace(at=put(w.at, who, at))

    def struck(self, w: World, who: int) -> World:
        """The stack unwinds, which releases its turn, and nothing else is done."""
        if w.held[who] == CALLERS[who]:
            w = w._replace(held=put(w.held, who, ""))
        if w.at[who] == "hand":
            w = w._replace(took=())
        return self.go(w, who, "top")

    def late(self, w: World, who: int) -> World:
        w = w._replace(pending=put(w.pending, who, False))
        return self.go(w, who, "leave" if w.at[who] == "read" else "top")

    def top(self, w: World, who: int) -> list[Step]:
        if not w.left[who] or w.ended:
            return [("ends", self.go(w, who, "done"))]
        w = w._replace(
            left=put(w.left, who, w.left[who] - 1),
            answered=put(w.answered, who, False),
            latch=put(w.latch, who, False),
            # A request is one of its own; what comes for the one before is dropped.
            pending=put(w.pending, who, False),
            unanswered=put(w.unanswered, who, False),
            inbox=put(w.inbox, who, False),
            took=tuple(each for each in w.took if each != who),
        )
        return [("calls", self.go(w, who, "begin"))]

    def done(self, w: World, who: int) -> list[Step]:
        return []

    def begin(self, w: World, who: int) -> list[Step]:
        if w.ended:
            return [("unusable", self.go(w, who, "top"))]
        return self.hold(w, who) + self.begin_among_others(w, who) + self.submit(w, who)

    def hold(self, w: World, who: int) -> list[Step]:
        """A lone call holds its turn's lock before it looks whether it may have the turn."""
        if w.held[who]:
            return []
        return [("holds", self.go(w._replace(held=put(w.held, who, CALLERS[who])), who, "alone"))]

    def alone(self, w: World, who: int) -> list[Step]:
        if w.ended or not self.is_free(w, who):
            free = w._replace(held=put(w.held, who, ""))
            return [("leaves it", self.go(free, who, "among"))]
        if w.torn:
            raise Broken("the short road, which looks for no mark, would read on behind one")
        w = w._replace(turns=(CALLERS[who], *w.turns[1:]))
        return [("begins alone", self.go(self.sent(w, who), who, "read"))]

    def is_free(self, w: World, who: int) -> bool:
        """Whether nobody has the turn or was asked to take it, as the short road looks."""
        reader, asked, _ = w.turns
        return reader is None and not asked

    def among(self, w: World, who: int) -> list[Step]:
        """Left by the short road."""
        if w.ended:
            return [("unusable", self.go(w, who, "top"))]
        return self.begin_among_others(w, who)

    def begin_among_others(self, w: World, who: int) -> list[Step]:
        reads, w = self.enter(w, who)
        if reads and w.torn:
            return [("finds it torn", self.go(self.end(w), who, "top"))]
        after = self.sent(w, who)
        if reads:
            return [("begins to read", self.go(after, who, "take"))]
        return self.asks(after, who)

    def submit(self, w: World, who: int) -> list[Step]:
        """The short road is taken where the standby was asked, which is all that it needs."""
        if who not in self.submitters:
            return []
        return self.asks(self.sent(w, who), who)

    def sent(self, w: World, who: int) -> World:
        return w._replace(
            pending=put(w.pending, who, True), unanswered=put(w.unanswered, who, True)
        )

    def asks(self, w: World, who: int) -> list[Step]:
        steps = [("asks", self.go(self.ask(w), who, "sleep"))]
        if w.strikes:
            # Within the critical section: the standby was rung, and that isn't noted.
            struck = self.half_asked(w)._replace(strikes=w.strikes - 1)
            steps.append(("struck as it asks", self.go(struck, who, "top")))
        return steps

    def ask(self, w: World) -> World:
        if self.turns_of(w).asked:
            return w
        return self.call(w._replace(bell=True), lambda turns: turns.note_asked())[1]

    def half_asked(self, w: World) -> World:
        return w if self.turns_of(w).asked else w._replace(bell=True)

    def take(self, w: World, who: int) -> list[Step]:
        if w.held[who]:
            return []
        return [("takes", self.go(w._replace(held=put(w.held, who, CALLERS[who])), who, "check"))]

    def check(self, w: World, who: int) -> list[Step]:
        if self.turns_of(w).reader == CALLERS[who]:
            return [("has it", self.go(w, who, "read"))]
        return [("lost it", self.go(w._replace(held=put(w.held, who, "")), who, "again"))]

    def again(self, w: World, who: int) -> list[Step]:
        if w.answered[who]:
            return [("answered", self.go(w, who, "top"))]
        reads, w = self.enter(w, who)
        return [("again", self.go(w if reads else self.ask(w), who, "take" if reads else "sleep"))]

    def read(self, w: World, who: int) -> list[Step]:
        if w.ended or w.answered[who]:
            return [("ends", self.go(w, who, "leave"))]
        if not any(w.inbox):
            return []
        return [("reads", self.go(self.receive(w), who, "hand"))]

    def hand(self, w: World, who: int) -> list[Step]:
        if w.took:
            return [("hands out", self.hand_out(w))]
        w = w._replace(torn=False)
        return [("handed", self.go(w, who, "leave" if w.answered[who] else "read"))]

    def leave(self, w: World, who: int) -> list[Step]:
        w = self.call(w, lambda turns: turns.leave())[1]
        return [("leaves", self.go(w, who, "release"))]

    def release(self, w: World, who: int) -> list[Step]:
        return [("releases", self.go(w._replace(held=put(w.held, who, "")), who, "top"))]

    def sleep(self, w: World, who: int) -> list[Step]:
        if w.answered[who] or w.latch[who]:
            return [("wakes", self.go(w, who, "top"))]
        return []

    # The standby

    def stand_by(self, w: World) -> list[Step]:
        steps: list[Step] = getattr(self, f"standby_{w.standby}")(w)
        return steps

    def standby_bell(self, w: World) -> list[Step]:
        return [("is rung", w._replace(standby="look", bell=False))] if w.bell else []

    def standby_look(self, w: World) -> list[Step]:
        before, w = self.call(w, lambda turns: turns.look(STANDBY))
        if before is None:
            return [("takes over", w._replace(standby="torn"))]
        return [("waits", w._replace(standby="wait", before=CALLERS.index(before)))]

    def standby_wait(self, w: World) -> list[Step]:
        if w.held[w.before]:
            return []
        held = put(w.held, w.before, STANDBY)
        return [("has waited", w._replace(standby="succeed", held=held))]

    def standby_succeed(self, w: World) -> list[Step]:
        w = self.call(w, lambda turns: turns.succeed(CALLERS[w.before], STANDBY))[1]
        return [("succeeds", w._replace(standby="look", held=put(w.held, w.before, "")))]

    def standby_torn(self, w: World) -> list[Step]:
        w = self.end(w) if w.torn else w
        return [("looks", w._replace(standby="loop", came=False))]

    def standby_loop(self, w: World) -> list[Step]:
        if w.ended:
            w = self.call(self.end(w), lambda turns: turns.rest(False, True))[1]
            return [("ends", w._replace(standby="bell"))]
        if any(w.pending):
            return [("goes on", w._replace(standby="recv"))]
        rests, w = self.call(w, lambda turns: turns.rest(any(w.pending), not w.came))
        return [("rests" if rests else "stays", w._replace(standby="bell" if rests else "recv"))]

    def standby_recv(self, w: World) -> list[Step]:
        if w.ended:
            return [("end", w._replace(standby="loop"))]
        steps = [("tick", w._replace(standby="loop", came=False))] if not any(w.pending) else []
        if any(w.inbox):
            steps.append(("reads", self.receive(w)._replace(standby="hand")))
        return steps

    def standby_hand(self, w: World) -> list[Step]:
        if w.took:
            return [("hands out", self.hand_out(w))]
        return [("handed", w._replace(standby="loop", torn=False, came=True))]

    # What steps are made of

    def receive(self, w: World) -> World:
        took = tuple(who for who in (0, 1) if w.inbox[who])
        return w._replace(torn=True, took=took, inbox=(False, False))

    def hand_out(self, w: World) -> World:
        who, *rest = w.took
        w = w._replace(took=tuple(rest))
        if not w.pending[who]:
            return w
        return w._replace(
            answered=put(w.answered, who, True),
            latch=put(w.latch, who, True),
            pending=put(w.pending, who, False),
        )

    def end(self, w: World) -> World:
        gone = tuple(p or a for p, a in zip(w.pending, w.answered, strict=True))
        return w._replace(
            ended=True, pending=(False, False), answered=gone, latch=(True, True), took=()
        )

    def enter(self, w: World, who: int) -> tuple[bool, World]:
        return self.call(w, lambda turns: turns.enter(CALLERS[who]))

    def turns_of(self, w: World) -> Turns[str]:
        turns = self.turns_type()
        turns.reader, turns.asked, turns._lone = w.turns
        return turns

    def call(self, w: World, method: Callable[[Turns[str]], object]) -> tuple:  # type: ignore[type-arg]
        turns = self.turns_of(w)
        result = method(turns)
        return result, w._replace(turns=(turns.reader, turns.asked, turns._lone))


def explore(model: Model, begin: World) -> int:
    """Walk all states from `begin`; how many there are.

    Raises `Broken` where two read at once, or from where there is no way, without another
    strike or time-out, to the end of all calls, the standby asleep.
    """
    states, number, edges, way = [begin], {begin: 0}, [], [(0, "begin")]
    for at, w in enumerate(states):  # grows while it is walked
        reading = [each for each in w.at if each in ("read", "hand")]
        reading += [w.standby] if w.standby in ("recv", "hand") else []
        if len(reading) > 1 and not w.ended:
            raise Broken(f"two read at once\n{_story(states, way, at)}")
        out = []
        for name, following in model.steps(w):
            known = number.setdefault(following, len(states))
            if known == len(states):
                states.append(following)
                way.append((at, name))
            out.append((name, known))
        edges.append(out)
    _check_ends(states, edges, way)
    return len(states)


def _check_ends(
    states: list[World], edges: list[list[tuple[str, int]]], way: list[tuple[int, str]]
) -> None:
    before: list[list[int]] = [[] for _ in states]
    for at, out in enumerate(edges):
        for name, following in out:
            if "struck" not in name and "time over" not in name:
                before[following].append(at)
    todo = deque(n for n, w in enumerate(states) if w.at == ("done", "done") and _is_quiet(w))
    good = set(todo)
    while todo:
        for at in before[todo.popleft()]:
            if at not in good:
                good.add(at)
                todo.append(at)
    for at in range(len(states)):
        if at not in good:
            raise Broken(f"somebody waits for ever\n{_story(states, way, at)}")


def _is_quiet(w: World) -> bool:
    # What a struck caller left of its call keeps the standby reading, which has a tick.
    return (w.standby == "bell" and not w.bell) or (any(w.pending) and w.standby == "recv")


def _story(states: list[World], way: list[tuple[int, str]], at: int) -> str:
    steps = []
    while at:
        w = states[at]
        at, name = way[at]
        steps.append(f"  {name:24} {w.at} standby {w.standby} {w.turns} torn={w.torn}")
    return "\n".join(reversed(steps))
