"""``python -m endurance.strikes.storm``: signals at random, on both sides, beside 50 threads.

The main thread acts at random; signals come from a sibling process, and a timer of this one,
and their handlers raise, use the same client or make the collector run. A task of the server
sets a timer whose handler raises there: in tasks, between them, while nothing is asked.
Meanwhile 50 threads call on the same client, most of them with a time-out.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from time import monotonic, sleep
from types import FrameType
from typing import Any

from bgpy import BgpyError
from endurance.strikes.book import Book
from endurance.strikes.client_walk import Garbage
from endurance.strikes.gap import is_entering
from endurance.strikes.served import Served
from endurance.strikes.striker import ALIKE, Struck
from endurance.strikes.tasks import TASKS
from endurance.strikes.watch import Watch

PATIENCE = 30.0
"""Seconds for what nothing keeps from its end, with 50 threads before it."""
THREADS = 50
TIMER = 0.05
"""Seconds between two signals in the server, on average."""

SENDER = """
import os, random, sys, time
chance = random.Random(int(sys.argv[2]))
try:
    while os.getppid() == int(sys.argv[1]):
        time.sleep(chance.expovariate(400))
        os.kill(int(sys.argv[1]), int(sys.argv[3]))
except ProcessLookupError:
    pass
"""


class Storm:
    """One client, its threads, and what strikes it."""

    def __init__(self, seed: int) -> None:
        self.book = Book()
        self.served = Served()
        self._chance = random.Random(seed)
        self._client = self.served.client()
        self._futures: list[tuple[int, Future[Any]]] = []
        self._blows = 0
        """How often a handler may still raise; it does so in acts only."""
        self._inside = False
        self._over = threading.Event()
        self.acts = self.struck = 0

    def run(self, seconds: float) -> list[str]:
        """The faults found."""
        watch = Watch("storm", PATIENCE + 15.0)
        threads = [
            threading.Thread(target=self._call_with_timeouts, args=(self._chance.random(),))
            for _ in range(THREADS)
        ]
        end = monotonic() + seconds
        with self._signals():
            for thread in threads:
                thread.start()
            while monotonic() < end:
                act = self._chance.choice(self._acts())
                watch.step(f"{act.__name__} after {self.acts} acts")
                self._attempt(act)
        self._over.set()
        watch.step("the threads end")
        for thread in threads:
            thread.join()
        watch.step("the futures end")
        self._finish()
        watch.step("the end")
        with self.served.client() as client:
            number = self.book.take()
            with contextlib.suppress(Struck):
                client.call({"id": number, "timer": 0.0}, timeout=PATIENCE)
        self._client.close()
        return self.served.verdict(self.book)

    def _attempt(self, act: Callable[[int], None]) -> None:
        """Do `act`; a strike may come anywhere in it, and just after it."""
        number = self.book.take()
        self.acts += 1
        try:
            try:
                self._blows = self._chance.choice((1, 1, 1, 2))
                act(number)
            finally:
                self._blows = 0
        except (Struck, KeyboardInterrupt):
            self._blows = 0
            self.struck += 1
        except BgpyError as error:
            self._blows = 0
            self.book.error(number, error)

    # What strikes.

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        signal.signal(signal.SIGUSR1, self._handle)
        signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0037)
        arguments = [os.getpid(), self._chance.randrange(2**32), int(signal.SIGUSR1)]
        sender = subprocess.Popen([sys.executable, "-c", SENDER, *map(str, arguments)])
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            sender.kill()
            sender.wait()
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._inside or not self._blows or self._chance.random() < 0.5:
            return
        what = self._chance.random()
        if what < 0.6:
            if frame is not None and is_entering(frame):
                return
            self._blows -= 1
            raise self._chance.choice((Struck, KeyboardInterrupt, *ALIKE))("by a handler")
        self._inside = True  # one at a time is enough
        try:
            if what < 0.8:
                self._use()
            else:
                Garbage(lambda _: self._use(), sys._getframe())
                gc.collect()
        finally:
            self._inside = False

    def _use(self) -> None:
        act = self._chance.choice((self._call, self._submit, self._execute))
        number = self.book.take()
        try:
            act(number)
        except Exception as error:
            self._failed(number, error)

    # What is struck.

    def _acts(self) -> list[Callable[[int], None]]:
        often = [self._call, self._submit, self._execute] * 5
        return [*often, self._sleep, self._ping, self._close, self._initialize, self._timer]

    def _call(self, number: int) -> None:
        self.book.value(number, self._client.call({"id": number}, timeout=PATIENCE))

    def _sleep(self, number: int) -> None:
        seconds = self._chance.uniform(0.0, 0.01)
        answer = self._client.call({"id": number, "sleep": seconds}, timeout=PATIENCE)
        self.book.value(number, answer)

    def _submit(self, number: int) -> None:
        self._futures.append((number, self._client.submit({"id": number})))

    def _execute(self, number: int) -> None:
        self.book.receipt(number, self._client.execute({"id": number}, timeout=PATIENCE))

    def _ping(self, number: int) -> None:
        if self._client.ping() > PATIENCE:
            self.book.wrong("a ping took longer than anything may")

    def _close(self, number: int) -> None:
        self._client.close()

    def _initialize(self, number: int) -> None:
        self._client.initialize(*TASKS)

    def _timer(self, number: int) -> None:
        args = {"id": number, "timer": self._chance.choice((0.0, TIMER))}
        self.book.value(number, self._client.call(args, timeout=PATIENCE))

    def _call_with_timeouts(self, seed: float) -> None:
        chance = random.Random(seed)
        while not self._over.is_set():
            number = self.book.take()
            timeout = chance.choice((0.0, 0.001, 0.01, 0.1, PATIENCE))
            args: dict[str, Any] = {"id": number}
            if chance.random() < 0.1:
                args["sleep"] = chance.uniform(0.0, 0.005)
            try:
                if chance.random() < 0.2:
                    self.book.receipt(number, self._client.execute(args, timeout=timeout))
                else:
                    self.book.value(number, self._client.call(args, timeout=timeout))
            except Exception as error:
                self._failed(number, error)
            sleep(chance.uniform(0.0, 0.02))

    def _failed(self, number: int, error: Exception) -> None:
        """A call that nothing struck here: it may fail in words, or as its task was struck."""
        self.book.error(number, error)
        if not isinstance(error, (BgpyError, Struck)):
            self.book.wrong(f"call {number} raised {error!r}")

    def _finish(self) -> None:
        for number, future in list(self._futures):
            try:
                self.book.value(number, future.result(PATIENCE))
            except Exception as error:
                self.book.error(number, error)
                if not future.done():
                    self.book.wrong(f"the future of call {number} was never done")


def main() -> None:
    """Run as the command line says; the faults go to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    storm = Storm(options.seed)
    faults = storm.run(options.seconds)
    print(f"storm: {storm.acts} acts, {storm.struck} struck, {storm.book.counts()}")
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
