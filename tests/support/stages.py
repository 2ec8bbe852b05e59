"""Starting a server and stopping it at a chosen stage, so that it can be killed right there.

The server's process gets a `sitecustomize` with an audit hook. At the first event of the
stage it writes down its pid and waits until the test lets it go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.peers import wait_until

STAGES = {
    "it imports bgpy": ("import", "bgpy.process.readiness"),
    "it binds": ("socket.bind", None),
    "it opens its guard": ("open", "/guard"),
    "it opens its lock": ("open", "/lock"),
    "it opens its log": ("open", "/log"),
    "it writes its token": ("open", "/token."),
    "it writes its record": ("open", "/record.json."),
    "it puts its record in place": ("os.rename", "/record.json"),
    "it runs its init file": ("open", "/tasks_of_mine.py"),
}

_HOOK = """
import os, sys, time

def hook(event, args, wanted={event!r}, part={part!r}, reached={reached!r}):
    if event != wanted or (part is not None and part not in " ".join(map(str, args[:2]))):
        return
    try:
        os.mkdir(reached)
    except OSError:
        return
    with open(os.path.join(reached, "pid"), "w") as file:
        file.write(f"{{os.getpid()}} {{os.getppid()}}")
    os.rename(os.path.join(reached, "pid"), os.path.join(reached, "pids"))
    while os.path.exists(os.path.join(reached, "pids")):
        time.sleep(0.01)

sys.addaudithook(hook)
"""

_LAUNCHER = """
import sys
from bgpy import Server, StartupError
try:
    Server("127.0.0.1", int(sys.argv[1]), init_file=sys.argv[2]).run_background()
except StartupError as error:
    print(error)
    sys.exit(3)
"""

INIT_FILE = """
def init_task(): return 0
def exec_task(client_socket, state, args): return 0
def exit_task(client_socket, state, args): return 0
"""


class Start:
    """A start that stands still; `launcher`, `starter` and `server` are its processes."""

    def __init__(self, launcher: subprocess.Popen[str], reached: Path) -> None:
        self._launcher = launcher
        self._pids = reached / "pids"
        wait_until(self._pids.exists, "the stage is reached")
        server, starter = map(int, self._pids.read_text().split())
        self._processes = {
            "launcher": psutil.Process(launcher.pid),
            "starter": psutil.Process(starter),
            "server": psutil.Process(server),
        }

    def kill(self, who: str) -> None:
        """Kill one of the three; it is gone then.

        The system takes its time over that where others run: a launcher's end of the pipe stays
        open meanwhile, and takes what a server says that goes on.
        """
        os.kill(self._processes[who].pid, signal.SIGKILL)
        wait_until(lambda: not _lives(self._processes[who]), f"the {who} is dead")

    def go_on(self) -> None:
        """Let the server go on from where it stands."""
        self._pids.unlink()

    def all_gone(self) -> bool:
        """Whether none of the three is left."""
        return not any(map(_lives, self._processes.values()))

    def outcome(self) -> tuple[int, str]:
        """Exit code of the launcher and what it printed."""
        printed = self._launcher.communicate(timeout=30.0)[0]
        return self._launcher.returncode, printed

    def end(self) -> None:
        """Kill all that is left."""
        for each in self._processes.values():
            if _lives(each):
                each.kill()


@contextmanager
def stopped_at(stage: str, folder: Path, port: int) -> Iterator[Start]:
    """Start a server on `port`, and stop it at `stage`."""
    event, part = STAGES[stage]
    hooks, reached = folder / "hooks", folder / "reached"
    hooks.mkdir()
    hook = _HOOK.format(event=event, part=part, reached=str(reached))
    (hooks / "sitecustomize.py").write_text(hook)
    init_file = folder / "tasks_of_mine.py"
    init_file.write_text(INIT_FILE)
    script = f"import os; os.environ['PYTHONPATH'] = {str(hooks)!r}{_LAUNCHER}"
    command = [sys.executable, "-c", script, str(port), str(init_file)]
    launcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    start = None
    try:
        start = Start(launcher, reached)
        yield start
    finally:
        launcher.kill()
        if start is not None:
            start.end()
        launcher.communicate()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
