"""The reactor's two threads as a model whose every interleaving can be walked.

`bgpy.serving.io.reactor` mirrored with program counters: each step of a thread is one
critical section, one look at shared data or one system call. The polling role is the
real `PollingRole`. Around the threads are a network, which delivers a bounded number
of requests and makes room for bytes whenever it likes, and a third thread, which acts
once. Time is a choice: the standby ticks whenever it likes.

`tests.support.role_walk` walks all states.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bgpy.serving.io.polling_role import Look, PollingRole

Job = tuple[int, int]
"""The client and the number of its request."""

LAST: Job = (-1, 0)
"""What an interrupt has the task thread run."""


JOB_ENDS = "a job ends"
STRIKE = "an exception strikes"
CHORES = "time for chores"


class World(NamedTuple):
    """One state of everything."""

    role: tuple[Any, ...]
    to_come: tuple[int, ...]  # requests that each client has yet to send
    inbox: tuple[int, ...]  # sent, not yet received
    received: tuple[int, ...]
    ran: tuple[int, ...]
    other: str  # what the third thread does next
    sends: int  # how many more answers don't fit into the socket
    task: str = "top"
    standby: str = "top"
    look: Look = Look.SLEEP
    strikes: int = 0  # how often a signal handler may yet raise in the task thread
    at_once: bool = False  # the task thread polls without waiting
    alone: bool = False  # what the poll found was one request, which is taken
    ready: tuple[int | str, ...] = ()  # what the poll found, yet to be handled
    poller: str = "task"
    bell: bool = False
    wakes: bool = False
    queue: tuple[Job, ...] = ()
    changes: int = 0
    unsent: bool = False
    watched: bool = False  # for room to write
    room: bool = False
    interrupted: bool = False
    stopping: bool = False
    draining: bool = False  # serve has returned

    @property
    def has_jobs(self) -> bool:
        return bool(self.queue)


Step = tuple[str, World]


class Broken(AssertionError):
    """An invariant doesn't hold."""


class Model:
    """What each thread may do next."""

    role_type: type[PollingRole] = PollingRole

    def __init__(self) -> None:
        self._names = tuple(vars(self.role_type()))
        self._polling = self._names.index("polling")
        self._task: dict[str, Callable[[World], list[Step]]] = {
            "top": self.top,
            "say": self.say,
            "ask": self.ask,
            "wake": self.wake,
            "enter": self.enter,
            "own": self.own,
            "timeout": self.timeout,
            "changes": self.task_changes,
            "select": self.task_select,
            "handle": self.task_handle,
            "leave": self.leave,
            "count": self.count,
            "ring": self.ring,
            "arm": self.arm,
            "heed": self.heed,
            "run": self.run,
            "running": self.running,
            "tell": self.tell,
            "close": self.close,
            "join": self.join,
            "ended": lambda w: [],
        }
        self._standby: dict[str, Callable[[World], list[Step]]] = {
            "top": self.standby_top,
            "bell": self.standby_bell,
            "look": self.standby_look,
            "claim": self.standby_claim,
            "say": self.standby_say,
            "disarm": self.standby_disarm,
            "quiet": self.standby_quiet,
            "until": self.standby_until,
            "changes": self.standby_changes,
            "select": self.standby_select,
            "handle": self.standby_handle,
            "yield": self.standby_yield,
            "ended": lambda w: [],
        }

    def begin(
        self, requests: Iterable[int], other: str = "", sends: int = 0, strikes: int = 0
    ) -> World:
        """The first state: each client will send so many requests."""
        to_come = tuple(requests)
        none = (0,) * len(to_come)
        values = vars(self.role_type())
        values["polling"] = False
        role = tuple(values.values())
        return World(role, to_come, none, none, none, other, sends, strikes=strikes)

    def steps(self, w: World) -> list[Step]:
        """All steps that may come next."""
        standby = self._standby[w.standby](w)
        strikes = [(STRIKE, self.struck(w))] if w.strikes and w.task != "ended" else []
        return [*self._task[w.task](w), *strikes, *standby, *self.third(w), *self.network(w)]

    # The task thread: Reactor._serve, _poll_and_run, drain

    def top(self, w: World) -> list[Step]:
        if w.stopping:
            return [("drain", w._replace(task="say", draining=True))]
        return [("poll is due", w._replace(task="say"))]

    def say(self, w: World) -> list[Step]:
        _, w = self.call(w, lambda role: setattr(role, "running", False))
        return [("say", w._replace(task="ask"))]

    def ask(self, w: World) -> list[Step]:
        standby, w = self.call(w, lambda role: role.standby)
        return [("ask", w._replace(task="wake" if standby else "own"))]

    def wake(self, w: World) -> list[Step]:
        return [("wake", w._replace(task="enter", wakes=True))]

    def enter(self, w: World) -> list[Step]:
        free, _ = self.call(w, lambda role: not role.polling.locked())
        return [("enter", w._replace(task="own"))] if free else []

    def own(self, w: World) -> list[Step]:
        return [("own", w._replace(task="close" if w.draining else "changes"))]

    def struck(self, w: World) -> World:
        """What is done when an exception leaves the step that comes next."""
        w = w._replace(strikes=w.strikes - 1)
        if w.task in ("close", "join"):
            return w._replace(task="close")  # whoever closes does so whatever strikes
        return w._replace(task="top", alone=False, ready=(), draining=False)

    def timeout(self, w: World) -> list[Step]:
        at_once = w.has_jobs or w.stopping or w.interrupted
        return [("timeout", w._replace(task="select", at_once=at_once))]

    def task_changes(self, w: World) -> list[Step]:
        return [("change", w._replace(task="timeout") if not w.changes else changed(w))]

    def task_select(self, w: World) -> list[Step]:
        ready = found(w)
        if not ready and not w.at_once:
            return []
        if w.at_once:
            return [("select", w._replace(task="handle", ready=ready))]
        alone = [isinstance(each, int) and w.inbox[each] == 1 for each in ready]
        return [
            ("select one", w._replace(task="handle", ready=(each,), alone=one))
            for each, one in zip(ready, alone, strict=True)
        ]

    def task_handle(self, w: World) -> list[Step]:
        return [("handle", handled(w) if w.ready else w._replace(task="leave"))]

    def leave(self, w: World) -> list[Step]:
        told = w.at_once or w.has_jobs
        if told:
            _, w = self.call(w, lambda role: setattr(role, "running", True))
        return [("leave", w._replace(task="count" if told else "say"))]

    def count(self, w: World) -> list[Step]:
        must, w = self.call(w, counted)
        return [("count", w._replace(task="ring" if must else "heed"))]

    def ring(self, w: World) -> list[Step]:
        return [("ring", w._replace(task="arm", bell=True))]

    def arm(self, w: World) -> list[Step]:
        _, w = self.call(w, lambda role: role.arm())
        return [("arm", w._replace(task="heed"))]

    def heed(self, w: World) -> list[Step]:
        if w.alone:
            return [("alone", w._replace(task="run"))]
        if w.stopping:
            return [("drain", w._replace(task="say", draining=True))]
        if not w.interrupted:
            return [("not interrupted", w._replace(task="run"))]
        return [("heed", w._replace(task="say", interrupted=False, queue=(*w.queue, LAST)))]

    def run(self, w: World) -> list[Step]:
        if not w.has_jobs or (not w.alone and (w.stopping or w.interrupted)):
            return [("nothing to run", w._replace(task="say"))]
        (client, number), *queue = w.queue
        if (client, number) == LAST:
            return [("run the last", w._replace(task="running", queue=tuple(queue)))]
        if number != w.ran[client] + 1:
            raise Broken(f"request {number} of client {client} runs after {w.ran[client]}")
        ran = replaced(w.ran, client, number)
        return [("run", w._replace(task="running", queue=tuple(queue), ran=ran))]

    def running(self, w: World) -> list[Step]:
        following = ("say",) if w.alone else ("say", "run")
        ends = [(JOB_ENDS, w._replace(task=each, alone=False)) for each in following]
        if not w.sends:
            return ends
        changed, after = self.sent(w._replace(sends=w.sends - 1))
        return [*ends, ("answer", after._replace(task="tell") if changed else after)]

    def tell(self, w: World) -> list[Step]:
        return [("tell", self.told_of_change(w, "task")._replace(task="running"))]

    def close(self, w: World) -> list[Step]:
        return [("close", w._replace(task="join", wakes=True, bell=True))]

    def join(self, w: World) -> list[Step]:
        return [("join", w._replace(task="ended"))] if w.standby == "ended" else []

    # The standby: Reactor._stand_by, _poll_until_asked

    def standby_top(self, w: World) -> list[Step]:
        return [("again", w._replace(standby="ended" if w.stopping else "bell"))]

    def standby_bell(self, w: World) -> list[Step]:
        if w.bell:
            return [("bell", w._replace(standby="look", bell=False))]
        return [] if w.look is Look.SLEEP else [("tick", w._replace(standby="look"))]

    def standby_look(self, w: World) -> list[Step]:
        look, w = self.call(w, lambda role: role.look())
        if look is Look.POLL:
            return [("is to poll", w._replace(standby="claim", look=look))]
        after = "disarm" if look is Look.SLEEP else "top"
        return [(look.name.lower(), w._replace(standby=after, look=look))]

    def standby_claim(self, w: World) -> list[Step]:
        # `PollingRole.claim` takes both steps: it waits for a lock, and says that it has it.
        free, taken = self.call(w, lambda role: role.polling.acquire(False))
        return [("claim", taken._replace(standby="say"))] if free else []

    def standby_say(self, w: World) -> list[Step]:
        _, w = self.call(w, lambda role: setattr(role, "standby", True))
        return [("take over", w._replace(standby="until", poller="standby"))]

    def standby_disarm(self, w: World) -> list[Step]:
        _, w = self.call(w, lambda role: role.disarm())
        return [("disarm", w._replace(standby="quiet"))]

    def standby_quiet(self, w: World) -> list[Step]:
        quiet, w = self.call(w, lambda role: role.is_quiet())
        look = Look.SLEEP if quiet else Look.TICK
        return [("quiet", w._replace(standby="top", look=look))]

    def standby_until(self, w: World) -> list[Step]:
        on = self.runs(w) and not w.stopping
        return [("while it runs", w._replace(standby="changes" if on else "yield"))]

    def standby_changes(self, w: World) -> list[Step]:
        return [("change", w._replace(standby="select") if not w.changes else changed(w))]

    def standby_select(self, w: World) -> list[Step]:
        ready = found(w)
        chores = (CHORES, w._replace(standby="until"))
        return [("select", w._replace(standby="handle", ready=ready))] if ready else [chores]

    def standby_handle(self, w: World) -> list[Step]:
        return [("handle", handled(w) if w.ready else w._replace(standby="until"))]

    def standby_yield(self, w: World) -> list[Step]:
        _, w = self.call(w, lambda role: role.yield_role())
        return [("yield", w._replace(standby="top", poller="task"))]

    # A third thread (or a signal handler), and the network

    def third(self, w: World) -> list[Step]:
        if w.other == "wake":
            return [("third wakes", w._replace(other="", wakes=True))]
        if w.other == "interrupt":
            return [("interrupt", w._replace(other="wake", interrupted=True))]
        if w.other == "stop":
            return [("stop", w._replace(other="wake", stopping=True))]
        if w.other == "send":
            changed, w = self.sent(w)
            return [("third sends", w._replace(other="tell" if changed else ""))]
        if w.other == "tell":
            return [("third tells", self.told_of_change(w, "third")._replace(other=""))]
        return []

    def network(self, w: World) -> list[Step]:
        steps: list[Step] = []
        for client, count in enumerate(w.to_come):
            if count:
                to_come = replaced(w.to_come, client, count - 1)
                inbox = replaced(w.inbox, client, w.inbox[client] + 1)
                steps.append((f"from {client}", w._replace(to_come=to_come, inbox=inbox)))
        if w.unsent and not w.room:
            steps.append(("room", w._replace(room=True)))
        return steps

    # What steps are made of

    def sent(self, w: World) -> tuple[bool, World]:
        """Session.send where the socket is full: (whether a change was left, state)."""
        if w.unsent:
            return False, w  # queued behind what waits
        return True, w._replace(unsent=True, room=False, changes=w.changes + 1)

    def told_of_change(self, w: World, thread: str) -> World:
        """The rest of Reactor.change: whoever polls is woken."""
        return w._replace(wakes=True) if w.poller != thread else w

    def runs(self, w: World) -> bool:
        return bool(w.role[self._names.index("running")])

    def call(self, w: World, method: Callable[[PollingRole], Any]) -> tuple[Any, World]:
        """Call a method of the role as it is in `w`: its result, and the next state."""
        role = self.role_type()
        values = vars(role)
        values.update(zip(self._names, w.role, strict=True))
        role.polling = threading.Lock()
        if w.role[self._polling]:
            role.polling.acquire()
        result = method(role)
        values["polling"] = role.polling.locked()
        # Calls are only compared with those seen: that they differ says it all.
        values["calls"], values["_calls_seen"] = int(values["calls"] != values["_calls_seen"]), 0
        return result, w._replace(role=tuple(values.values()))


def counted(role: PollingRole) -> bool:
    """The task thread counts a poll that gave it jobs; whether it must arm the standby."""
    role.calls += 1
    return not role.armed


def replaced(counts: tuple[int, ...], at: int, count: int) -> tuple[int, ...]:
    return (*counts[:at], count, *counts[at + 1 :])


def found(w: World) -> tuple[int | str, ...]:
    """What a poll finds now."""
    ready: list[int | str] = [client for client, count in enumerate(w.inbox) if count]
    if w.wakes:
        ready.append("wake")
    if w.watched and w.room:
        ready.append("write")
    return tuple(ready)


def handled(w: World) -> World:
    """The first thing that the poll found, handled."""
    what, *rest = w.ready
    w = w._replace(ready=tuple(rest))
    if what == "wake":
        return w._replace(wakes=False)
    if not isinstance(what, int):
        return w._replace(unsent=False, watched=False)
    last = w.received[what] + w.inbox[what]
    jobs = tuple((what, number) for number in range(w.received[what] + 1, last + 1))
    received = replaced(w.received, what, last)
    return w._replace(queue=w.queue + jobs, inbox=replaced(w.inbox, what, 0), received=received)


def changed(w: World) -> World:
    """A change made before the poll: the session sends the rest, or watches for room."""
    w = w._replace(changes=w.changes - 1)
    return w._replace(unsent=False) if w.room else w._replace(watched=True)
