"""A helper's thread, and those that ring it, as a model whose every interleaving can be walked.

`bgpy.calling.blocking.helper` mirrored with program counters: each step of a thread is one
look at shared data, one change of it or one wait. Two ring, once each, a third has the thread
rest once; whoever rings may be struck at any step, so many times in all.
"""

from __future__ import annotations

from typing import NamedTuple

MOST = 4
"""Threads that are started at most: each ring starts one at its begin and one at its end."""


class World(NamedTuple):
    """One state of everything."""

    strikes: int
    ringers: tuple[tuple[int, str], ...] = ((0, "begin"), (0, "begin"))
    """The place of the step that each is at, and what it does there."""
    rests: bool = True  # somebody has yet to have it rest
    left: int = 0  # to be done
    bell: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()  # where each is that was started
    lives: tuple[bool, ...] = ()  # whether each has said that it is over
    noted: int | None = None  # the one that is taken to be there
    struck: int = 0  # things that were left by one that was struck since


Step = tuple[str, World]


class Broken(AssertionError):
    """An invariant doesn't hold."""


def put(row: tuple, at: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*row[:at], value, *row[at + 1 :])


class Model:
    """What each may do next; a mutant changes one method."""

    order: tuple[str, ...] = ("starts", "leaves", "fills", "looks")
    """The steps of who rings."""

    def steps(self, w: World) -> list[Step]:
        found = []
        for who, (place, does) in enumerate(w.ringers):
            if does == "idle":
                continue
            found.append((f"ringer {who} {does}", self.ring(w, who, place, does)))
            if w.strikes and does != "begin":
                struck = w._replace(
                    strikes=w.strikes - 1,
                    ringers=put(w.ringers, who, (place, "idle")),
                    struck=w.struck + (place > self.order.index("leaves")),
                )
                found.append((f"ringer {who} struck", struck))
        if w.rests:
            bell = (*w.bell, "rest") if self.is_running(w) else w.bell
            found.append(("rest", w._replace(rests=False, bell=bell)))
        for who, at in enumerate(w.threads):
            following = getattr(self, at)(w, who)
            if following is not None:
                found.append((f"thread {who} {at}", following))
            if at == "waits":
                found.append((f"thread {who} time over", self.at(w, who, "says")))
        return found

    # Who rings

    def ring(self, w: World, who: int, place: int, does: str) -> World:
        if does == "begin":
            return w._replace(ringers=put(w.ringers, who, (0, self.order[0])))
        following: World = getattr(self, does)(w, who)
        return following

    def next(self, w: World, who: int, does: str | None = None) -> World:
        place = w.ringers[who][0] + 1
        does = does or (self.order[place] if place < len(self.order) else "idle")
        return w._replace(ringers=put(w.ringers, who, (place, does)))

    def is_running(self, w: World) -> bool:
        return w.noted is not None and not w.lives[w.noted]

    def starts(self, w: World, who: int) -> World:
        if self.is_running(w):
            return self.next(w, who)
        if len(w.threads) == MOST:
            raise Broken("more threads than that are never started")
        w = w._replace(threads=(*w.threads, "work"), lives=(*w.lives, False))
        place = w.ringers[who][0]
        return w._replace(ringers=put(w.ringers, who, (place, f"notes_{len(w.threads) - 1}")))

    looks = starts

    def __getattr__(self, name: str) -> object:
        if not name.startswith("notes_"):
            raise AttributeError(name)
        thread = int(name.removeprefix("notes_"))
        return lambda w, who: self.next(w._replace(noted=thread), who)

    def leaves(self, w: World, who: int) -> World:
        return self.next(w._replace(left=w.left + 1), who)

    def fills(self, w: World, who: int) -> World:
        return self.next(w if w.bell else w._replace(bell=("rung",)), who)

    # The thread

    def at(self, w: World, who: int, at: str) -> World:
        return w._replace(threads=put(w.threads, who, at))

    def over(self, w: World, who: int, is_over: bool) -> World:
        return w._replace(lives=put(w.lives, who, is_over))

    def work(self, w: World, who: int) -> World:
        if not w.left:
            return self.at(w, who, "waits")
        return w._replace(left=w.left - 1)

    def waits(self, w: World, who: int) -> World | None:
        if not w.bell:
            return None
        first, *rest = w.bell
        w = w._replace(bell=tuple(rest))
        return self.at(w, who, "work" if first == "rung" else "says")

    def says(self, w: World, who: int) -> World:
        return self.at(self.over(w, who, True), who, "ends")

    def ends(self, w: World, who: int) -> World:
        return self.found(w, who) if w.left else self.at(w, who, "gone")

    def found(self, w: World, who: int) -> World:
        return self.at(self.over(w, who, False), who, "work")

    def gone(self, w: World, who: int) -> World | None:
        return None


def explore(model: Model, begin: World) -> int:
    """Walk all states from `begin`; how many there are.

    Raises `Broken` where something is left to be done that nobody does, though no time is over:
    all that ring have rung, none was struck, and no thread has a step but to wait; and where, once
    all times are over, a thread is left, or anything that was left by one that was not struck.
    """
    states, known = [begin], {begin}
    for w in states:  # grows while it is walked
        steps = model.steps(w)
        if not any("time over" not in name for name, _ in steps) and w.left > w.struck:
            raise Broken(f"nobody hears of what is left\n{w}")
        if not steps and (w.left > w.struck or any(at != "gone" for at in w.threads)):
            raise Broken(f"something stays for ever\n{w}")
        for _, following in steps:
            following = following._replace(ringers=tuple(sorted(following.ringers)))  # alike
            if following not in known:
                known.add(following)
                states.append(following)
    return len(states)
