"""The three tasks in one dump."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bgpy.codec import functions
from bgpy.codec.modules import Catalogue
from bgpy.codec.payload import OUT_OF_BAND
from bgpy.errors import DecodeError, EncodeError, PythonMismatch
from tests.support.packed import Packed, encode_tasks


def _there(*three: Any) -> functions.TaskFunctions:
    packed = encode_tasks(three, {}, {})
    return functions.decode_tasks(packed, Catalogue())


def test_tasks_share_what_they_shared_when_they_travel_by_value() -> None:
    """A closure's cell is one for all three also on the other side."""
    calls: list[str] = []
    init_task, exec_task, exit_task = _there(
        lambda: calls.append("init"),
        lambda client_socket, state, args: calls.append("exec"),
        lambda client_socket, state, args: calls,
    )
    init_task()
    exec_task(None, None, {})
    assert exit_task(None, None, {}) == ["init", "exec"]
    assert calls == []


def test_tasks_keep_large_arrays_when_they_close_over_them() -> None:
    """Buffers of the inner dump come along."""
    array = np.arange(OUT_OF_BAND, dtype=np.uint8)
    init_task, _, _ = _there(lambda: array.sum(), print, print)
    assert init_task() == array.sum()


SCRIPT = """
import sys
from bgpy.codec.functions import encode_tasks

COUNT = 0

def init_task():
    return "state"

def exec_task(client_socket, state, args):
    global COUNT
    COUNT += 1
    return state

def exit_task(client_socket, state, args):
    return COUNT

head, _, code = encode_tasks((init_task, exec_task, exit_task), {}, {}, {})
sys.stdout.buffer.write(bytes((code,)) + head)
"""


def test_tasks_share_their_globals_when_they_come_from_a_script(tmp_path: Path) -> None:
    """One dump for all three, else each would have a COUNT of its own."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], stdout=subprocess.PIPE, check=True)
    packed = Packed(done.stdout[1:], (), bool(done.stdout[0]))
    init_task, exec_task, exit_task = functions.decode_tasks(packed, Catalogue())
    state = init_task()
    for _ in range(3):
        state = exec_task(None, state, {})
    assert (state, exit_task(None, state, {})) == ("state", 3)


def test_encode_tasks_names_the_function_when_it_cannot_be_sent() -> None:
    """A closure over a lock can't travel."""
    lock = threading.Lock()
    with pytest.raises(
        EncodeError, match=r"^tasks\['exec_task'\] .*'lock'.* can't be sent: .*lock"
    ):
        functions.encode_tasks((print, lambda *_: lock, print), {}, {}, {})


def test_decode_tasks_refuses_bytecode_when_the_python_differs() -> None:
    """Before any of it is loaded."""
    packed = encode_tasks((lambda: None, print, print), {}, {})
    lacking, known, head, buffers, code = pickle.loads(packed.head)
    assert code
    other = (lacking, known, bytes((3, 5)) + head[2:], buffers, code)
    with pytest.raises(PythonMismatch, match=r"Python 3\.5"):
        functions.decode_tasks(Packed(pickle.dumps(other), (), False), Catalogue())


def test_decode_tasks_raises_when_the_payload_is_no_tasks() -> None:
    """A client that sends anything else hears it."""
    with pytest.raises(DecodeError):
        functions.decode_tasks(Packed(b"garbage", (), False), Catalogue())
