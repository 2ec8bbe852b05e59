"""The walk through all states of the model of the two threads, and what must hold in each.

`explore` raises `Broken`, with the way there, at the first state that breaks an
invariant of `bgpy.serving.io.polling_role`. That something happens in the end is checked as:
from each state there is a way to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from bgpy.serving.io.polling_role import Look
from tests.support.role_model import CHORES, JOB_ENDS, STRIKE, Broken, Model, World, found

POLLING = ("timeout", "changes", "select", "handle")


class Graph(NamedTuple):
    """All states, in the order found, with the steps between them."""

    states: list[World]
    edges: list[list[tuple[str, int]]]
    way: list[tuple[int, str]]  # from where, by which step, each was first found


def explore(model: Model, begin: World) -> int:
    """Walk all states from `begin` and check them; the number of states."""
    graph = _walk(model, begin)
    everything = range(len(graph.states))
    no_job_ends = frozenset((JOB_ENDS, CHORES, STRIKE))
    _check(
        graph, everything, frozenset((CHORES, STRIKE)), _is_quiet, "the end, quiet, is out of reach"
    )
    waiting = [each for each in everything if graph.states[each].task == "enter"]
    _check(graph, waiting, no_job_ends, lambda w: w.task != "enter", "the task thread waits on")
    going = [each for each in everything if not graph.states[each].stopping]
    _check(graph, going, no_job_ends, _may_stop_or(_polls), "nobody can reach the poll")
    _check(graph, going, no_job_ends, _may_stop_or(_all_sent), "nobody waits to send bytes")
    _check(graph, going, no_job_ends, _may_stop_or(_all_read), "requests aren't received")
    return len(graph.states)


def _walk(model: Model, begin: World) -> Graph:
    number = {begin: 0}
    graph = Graph([begin], [], [(0, "begin")])
    for at, world in enumerate(graph.states):  # grows while it is walked
        try:
            steps = model.steps(world)
        except Broken as error:
            raise Broken(f"{error}\n{_story(graph, at)}") from None
        edges = []
        for name, following in steps:
            known = number.setdefault(following, len(graph.states))
            if known == len(graph.states):
                graph.states.append(following)
                graph.way.append((at, name))
                _check_one_poller(graph, known)
            edges.append((name, known))
        graph.edges.append(edges)
        if all(name in (CHORES, STRIKE) for name, _ in edges) and not _is_quiet(world):
            raise Broken(f"stuck\n{_story(graph, at)}")
        if any(name != STRIKE for name, _ in edges) and _is_quiet(world) and not world.stopping:
            raise Broken(f"not quiet\n{_story(graph, at)}")
    return graph


def _check_one_poller(graph: Graph, at: int) -> None:
    w = graph.states[at]
    task, standby = w.task in POLLING, w.standby in POLLING
    held, by_standby = w.role[:2]
    if task and standby:
        raise Broken(f"two threads poll\n{_story(graph, at)}")
    if standby and not (held and by_standby):
        raise Broken(f"one polls without the role\n{_story(graph, at)}")


def _check(
    graph: Graph,
    states: Iterable[int],
    without: frozenset[str],
    goal: Callable[[World], bool],
    text: str,
) -> None:
    """Each of `states` must have a way to a state that fits `goal`, `without` some steps."""
    before: list[list[int]] = [[] for _ in graph.states]
    for at, edges in enumerate(graph.edges):
        for name, following in edges:
            if name not in without:
                before[following].append(at)
    todo = deque(at for at, w in enumerate(graph.states) if goal(w))
    good = set(todo)
    while todo:
        for at in before[todo.popleft()]:
            if at not in good:
                good.add(at)
                todo.append(at)
    for at in states:
        if at not in good:
            raise Broken(f"{text}\n{_story(graph, at)}")


def _is_quiet(w: World) -> bool:
    if w.stopping:
        return w.task == w.standby == "ended"
    asleep = w.standby == "bell" and w.look is Look.SLEEP and not w.bell
    blocked = w.task == "select" and not w.at_once and not found(w)
    left = (w.has_jobs, w.interrupted, w.unsent, w.changes, w.other, any(w.to_come), any(w.inbox))
    return asleep and blocked and not any(left) and w.ran == w.received


def _polls(w: World) -> bool:
    return "select" in (w.task, w.standby)


def _all_sent(w: World) -> bool:
    return not w.unsent


def _all_read(w: World) -> bool:
    return not any(w.inbox) and not any(w.to_come)


def _may_stop_or(goal: Callable[[World], bool]) -> Callable[[World], bool]:
    return lambda w: w.stopping or goal(w)


def _story(graph: Graph, at: int) -> str:
    steps = []
    while at:
        w = graph.states[at]
        at, name = graph.way[at]
        steps.append(f"  {name:20} task {w.task:8} standby {w.standby:8} {w.role[:2]}")
    return "\n".join(reversed(steps))
