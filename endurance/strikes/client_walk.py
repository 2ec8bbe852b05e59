"""``python -m endurance.strikes.client_walk STRIKE [ACT ...]``: a client struck everywhere.

In turn n an act is struck at the nth place where it can be, until it has no more. After
each turn another call on the same client has to give its value, in this thread and in one
beside it; at the end every future is done, and the server's count of what ran agrees with
what each call was told.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import FrameType
from typing import Any

from endurance.strikes.book import Book
from endurance.strikes.served import Served
from endurance.strikes.striker import (
    ALIKE,
    Strike,
    Striker,
    Struck,
    describe,
    raise_interrupt,
    raise_struck,
)
from endurance.strikes.tasks import TASKS
from endurance.strikes.watch import Watch

PATIENCE = 10.0
"""Seconds for a call that nothing keeps from its answer."""
PLACES = 4000
"""More places than any act has."""
APART = {"initialize": 29, "reconnect": 3}
"""Acts with many places, most of them in loops: every so manyth of them is struck."""
RAISING = ("raise", "interrupt", "alike")
"""Strikes whose exception must come out of the act, as it is."""
MOST_FAULTS = 5
"""Faults after which a walk ends: the rest would be the same."""


Act = Callable[[int], None]


class Walk:
    """One client, and the acts that it is struck in."""

    def __init__(self, strike: str) -> None:
        self._served = Served()
        self.book = Book()
        self._strike = self._strikes()[strike]
        self._collecting = strike == "collect"
        self._name = strike
        self._striker = Striker()
        self._client = self._served.client()
        self._futures: list[tuple[int, Future[Any]]] = []
        self._again = 0
        self._ignored = 0
        """Strikes that nothing can let out: in a finalizer, where the interpreter prints them."""
        sys.unraisablehook = self._ignore
        self.turns = 0

    def run(self, acts: Sequence[str], start: int, step: int) -> list[str]:
        """The faults found in `acts`, turn by turn from `start`."""
        watch = Watch(f"client, {self._name}")
        self._fresh("before anything")
        for name in acts or self.acts():
            self._walk(watch, name, start, step * APART.get(name, 1))
        watch.step("the end")
        self._finish_futures()
        self._client.close()
        return self._served.verdict(self.book)

    def _walk(self, watch: Watch, name: str, start: int, step: int) -> None:
        act, faults = self.acts()[name], len(self.book.wrongs)
        for turn in range(start, PLACES, step):
            watch.step(f"{name}, turn {turn}")
            self._again = 1 + turn % 7
            fallen = self._striker.fallen
            self._one(act, f"{name}, turn {turn}", turn)
            when = f"{name}, turn {turn}, struck at {self._striker.where}"
            watch.step(when)
            self._fresh(when)
            self.turns += 1
            if self._striker.fallen == fallen or len(self.book.wrongs) > faults + MOST_FAULTS:
                break

    def _one(self, act: Act, name: str, turn: int) -> None:
        number, fallen = self.book.take(), self._striker.fallen
        self._ignored = 0
        try:
            self._striker.arm(turn, self._strike, collecting=self._collecting)
            try:
                act(number)
            finally:
                self._striker.disarm()
            kept = self._name in RAISING and self._striker.fallen > fallen + self._ignored
            if kept and "inspect.py" not in self._striker.where:  # which catches errors itself
                self.book.wrong(f"{name}, struck at {self._striker.where}: it was swallowed")
        except (Struck, KeyboardInterrupt) as error:
            self.book.error(number, error)
        except Exception as error:
            self.book.error(number, error)
            self.book.wrong(f"{name}, struck at {self._striker.where}: {error!r}")

    def _ignore(self, unraisable: sys.UnraisableHookArgs) -> None:
        self._ignored += 1
        if not isinstance(unraisable.exc_value, (Struck, KeyboardInterrupt)):
            self.book.wrong(f"unraisable: {unraisable.exc_value!r}")

    def acts(self) -> dict[str, Act]:
        """By name; each calls with the number that it is given, if it calls."""
        return {
            "call": self._call,
            "small call": self._call_small,
            "submit": self._submit,
            "submit two": self._submit_two,
            "execute": self._execute,
            "ping": lambda number: self._reject(self._client.ping() < 0.0, "ping"),
            "close": lambda number: self._client.close(),
            "reconnect": self._reconnect,
            "initialize": self._initialize,
        }

    def _call(self, number: int) -> None:
        self.book.value(number, self._client.call({"id": number}, timeout=PATIENCE))

    def _call_small(self, number: int) -> None:
        """Over the short road: without a time limit."""
        self.book.value(number, self._client.call({"id": number}))

    def _submit_two(self, number: int) -> None:
        """The second one over the short road: the standby reads already."""
        self._submit(self.book.take())
        self._submit(number)

    def _submit(self, number: int) -> None:
        self._futures.append((number, self._client.submit({"id": number})))

    def _execute(self, number: int) -> None:
        self.book.receipt(number, self._client.execute({"id": number}, timeout=PATIENCE))

    def _reconnect(self, number: int) -> None:
        self._client.close()
        self._call(number)

    def _initialize(self, number: int) -> None:
        self._reject("Already" not in self._client.initialize(*TASKS)["message"], "initialize")

    def _reject(self, wrong: bool, what: str) -> None:
        if wrong:
            self.book.wrong(f"{what} gave something else")

    # The strikes; each runs once, in the thread that acts.

    def _strikes(self) -> dict[str, Strike]:
        return {
            "raise": raise_struck,
            "interrupt": raise_interrupt,
            "alike": self._alike,
            "twice": self._twice,
            "call": self._inside,
            "submit": self._inside_submit,
            "collect": self._collect,
        }

    def _alike(self, frame: FrameType) -> None:
        """Raise what looks like an exception of the system's, another one each time."""
        raise ALIKE[self._striker.fallen % len(ALIKE)](describe(frame))

    def _twice(self, frame: FrameType) -> None:
        """Raise, and raise again some places on: while the first is being cleaned up after."""
        self._striker.arm_around(frame, self._again, raise_interrupt)
        raise Struck("the first of two")

    def _inside(self, frame: FrameType) -> None:
        where = self._striker.where
        number = self.book.take()
        try:
            self._call(number)
        except Exception as error:
            self.book.error(number, error)
            self.book.wrong(f"a call in a handler at {where} failed: {error!r}")

    def _inside_submit(self, frame: FrameType) -> None:
        self._submit(self.book.take())

    def _collect(self, frame: FrameType) -> None:
        Garbage(self._inside, frame)
        gc.collect()

    # What has to hold after each turn.

    def _fresh(self, when: str) -> None:
        beside = threading.Thread(target=self._ask, args=(f"{when}, in another thread",))
        beside.start()
        beside.join()
        self._ask(when)

    def _ask(self, when: str) -> None:
        number = self.book.take()
        try:
            self._call(number)
        except Exception as error:
            self.book.error(number, error)
            self.book.wrong(f"the next call failed after {when}: {error!r}")

    def _finish_futures(self) -> None:
        for number, future in self._futures:
            try:
                self.book.value(number, future.result(PATIENCE))
            except Exception as error:
                self.book.error(number, error)
                if not future.done():
                    self.book.wrong(f"the future of call {number} was never done")


class Garbage:
    """Does something when it is collected."""

    def __init__(self, do: Callable[[FrameType], None], frame: FrameType) -> None:
        self._do, self._frame = do, frame
        self._myself = self

    def __del__(self) -> None:
        self._do(self._frame)


def main() -> None:
    """Run as the command line says; the faults go to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strike")
    parser.add_argument("acts", nargs="*")
    parser.add_argument("--start", type=int, default=1)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    walk = Walk(options.strike)
    faults = walk.run(options.acts, options.start, options.step)
    print(f"client, {options.strike}: {walk.turns} turns, {walk.book.counts()}")
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
