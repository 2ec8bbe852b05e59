"""Leaving at once."""

from __future__ import annotations

import subprocess
import sys

LEAVING = """
import atexit, sys, threading
from bgpy.system.exiting import leave
atexit.register(print, "never printed")
threading.Thread(target=threading.Event().wait).start()
sys.stdout.write("printed")
try:
    leave(7)
finally:
    print("never printed either")
"""


def test_leave_ends_the_process_and_writes_out_what_was_printed() -> None:
    """Whatever its other threads do; nothing of its own runs any more."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "printed", "")


def test_leave_ends_a_process_without_streams() -> None:
    """As a service or a windowed program is."""
    code = "import sys; sys.stdout = sys.stderr = None\n"
    code += "from bgpy.system.exiting import leave; leave(3)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 3
