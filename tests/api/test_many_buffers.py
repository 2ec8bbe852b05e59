"""More large buffers in one message than the server's limit: the surplus travels in-band."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bgpy import Client, Handle, Limits
from bgpy.codec.payload import OUT_OF_BAND
from tests.support.tasks.counting import TASKS

ITEMS = OUT_OF_BAND // 8 + 1

Start = Callable[..., tuple[Handle, Client]]


class Carried(Exception):
    """An exception that holds arrays."""


def rows(count: int) -> list[Any]:
    """So many arrays, none of them too small to travel beside the pickle."""
    return [np.full(ITEMS + at % 3, at) for at in range(count)]


def same(received: list[Any], count: int) -> bool:
    """Whether these are the arrays of `rows`, and each can be written to."""
    alike = all(map(np.array_equal, received, rows(count)))
    return alike and len(received) == count and all(each.flags.writeable for each in received)


def echo(sent: Any) -> Any:
    """To be run by `exec_task`: a function that holds what it gives."""
    return lambda state: sent


def raising(sent: Any) -> Any:
    """To be run by `exec_task`: it raises what it holds."""

    def fail(state: Any) -> None:
        raise Carried(sent)

    return fail


@pytest.mark.parametrize(("most", "count"), [(1024, 1100), (1, 3), (3, 3), (3, 40), (5000, 1100)])
def test_arrays_arrive_when_they_are_more_than_the_servers_limit(
    start: Start, most: int, count: int
) -> None:
    """In requests, replies, futures and exceptions, whatever the limit."""
    _, client = start(limits=Limits(max_buffers=most))
    client.initialize(*TASKS)
    assert same(client.call({"run": echo(rows(count))}), count)
    if count < 1000:
        assert same(client.submit({"run": echo(rows(count))}).result(60), count)
        with pytest.raises(Exception, match="array") as caught:
            client.call({"run": raising(rows(count))})
        assert type(caught.value).__name__ == "Carried"
        assert same(caught.value.args[0], count)
        client.execute({"run": echo(rows(count))})
    assert client.call({"run": echo("usable still")}) == "usable still"


def test_tasks_arrive_when_they_hold_more_arrays_than_the_servers_limit(start: Start) -> None:
    """The three functions by value, and the arguments of the last one."""
    _, client = start(limits=Limits(max_buffers=2))
    held = rows(5)
    init_task, exec_task, exit_task = TASKS
    client.initialize(lambda: {**init_task(), "held": held}, exec_task, exit_task)
    assert same(client.call({"run": lambda state: state["held"]}), 5)
    assert same(client.terminate({"more": rows(5)}, True)["held"], 5)
