"""Which server's tasks run in this thread."""

from __future__ import annotations

import os
import threading
from types import SimpleNamespace

import pytest

from bgpy.tasks.current import ENTRY, Running, chain, is_task_thread_of, serials_in, serving

ONE, OTHER = b"1" * 16, b"2" * 16


def running(serial: int, chain: bytes = b"") -> Running:
    """A call that runs."""
    return SimpleNamespace(serial=serial, chain=chain)


def test_is_task_thread_of_is_true_when_that_server_serves_here() -> None:
    """And of no other server, before or after."""
    assert not is_task_thread_of(ONE)
    with serving(ONE):
        assert is_task_thread_of(ONE)
        assert not is_task_thread_of(OTHER)
    assert not is_task_thread_of(ONE)


def test_serving_is_restored_when_a_server_runs_within_a_task() -> None:
    """The inner server ends, the outer one goes on; also when the inner one raises."""
    with serving(ONE):
        with pytest.raises(RuntimeError), serving(OTHER):
            _raise_whether(is_task_thread_of(OTHER))
        assert is_task_thread_of(ONE)


def _raise_whether(here: bool) -> None:
    assert here
    raise RuntimeError


def test_is_task_thread_of_is_false_when_asked_in_another_thread() -> None:
    """A thread of the user's may wait for the server."""
    answers: list[bool] = []
    with serving(ONE):
        thread = threading.Thread(target=lambda: answers.append(is_task_thread_of(ONE)))
        thread.start()
        thread.join()
    assert answers == [False]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_is_task_thread_of_is_false_when_asked_in_a_forked_child() -> None:
    """It is another process, which the server doesn't wait for."""
    with serving(ONE):
        pid = os.fork()
        if not pid:
            os._exit(3 if is_task_thread_of(ONE) else 0)
        assert os.waitpid(pid, 0) == (pid, 0)


def test_chain_is_empty_where_no_task_runs() -> None:
    """Neither outside of a server nor between two of its calls, nor in another thread."""
    assert chain() == b""
    with serving(ONE) as thread:
        assert chain() == b""
        thread.call = running(7)
        seen: list[bytes] = []
        other = threading.Thread(target=lambda: seen.append(chain()))
        other.start()
        other.join()
        assert seen == [b""]
        thread.call = None
        assert chain() == b""


def test_call_has_a_serial_from_when_it_is_first_needed_on() -> None:
    """The same then each time, and another one's is another."""
    with serving(ONE) as thread:
        thread.call = running(0)
        assert serials_in(chain(), ONE) == serials_in(chain(), ONE) == [1]
        thread.call = running(0)
        assert serials_in(chain(), ONE) == [2]


def test_chain_ends_in_the_running_call_behind_those_that_wait_for_it() -> None:
    """Each server on the way finds itself, with the serial of its call."""
    with serving(ONE) as thread:
        thread.call = running(7, ENTRY.pack(OTHER, 3))
        assert chain() == ENTRY.pack(OTHER, 3) + ENTRY.pack(ONE, 7)
        assert serials_in(chain(), ONE) == [7]
        assert serials_in(chain(), OTHER) == [3]
        assert serials_in(chain(), b"3" * 16) == []


def test_chain_holds_the_outer_call_when_a_server_runs_within_a_task() -> None:
    """Whoever waits for the inner one keeps the outer one's task."""
    with serving(ONE) as outer:
        outer.call = running(1)
        with serving(OTHER) as inner:
            assert serials_in(chain(), ONE) == [1]
            inner.call = running(5)
            assert (serials_in(chain(), ONE), serials_in(chain(), OTHER)) == ([1], [5])


def test_serials_in_refuses_what_is_no_chain() -> None:
    """A row of entries of one size."""
    with pytest.raises(ValueError, match="25 bytes"):
        serials_in(bytes(25), ONE)
