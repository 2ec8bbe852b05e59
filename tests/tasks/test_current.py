"""Which server's tasks run in this thread."""

from __future__ import annotations

import os
import threading

import pytest

from bgpy.tasks.current import is_task_thread_of, serving

ONE, OTHER = b"1" * 16, b"2" * 16


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
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_is_task_thread_of_is_false_when_asked_in_a_forked_child() -> None:
    """It is another process, which the server doesn't wait for."""
    with serving(ONE):
        pid = os.fork()
        if not pid:
            os._exit(3 if is_task_thread_of(ONE) else 0)
        assert os.waitpid(pid, 0) == (pid, 0)
