"""For the tests of your own tasks.

`RecordingSocket` stands in for the client socket, so that a task can be tried as the plain
function that it is, without a server. `running_server` is a real server for one test, which
ends with it. ``bgpy.testing.fixtures`` makes a fixture of pytest's of it, `bgpy_server`; only
that module imports pytest.
"""

from __future__ import annotations

from bgpy.testing.recording import RecordingSocket
from bgpy.testing.running import Served, StartServer, running_server

__all__ = ["RecordingSocket", "Served", "StartServer", "running_server"]
