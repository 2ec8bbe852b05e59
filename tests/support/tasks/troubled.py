"""The tasks of a server in trouble: they count what ran, and do what makes trouble inside."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from typing import Any

from bgpy import respond
from bgpy.core.sockets import ClientSocket

State = dict[int, int]
"""How often each request ran, by the number that its caller gave it."""


def init_task() -> State:
    """Nothing has run."""
    return {}


def exec_task(client_socket: ClientSocket, state: State, args: dict[str, Any]) -> State | None:
    """Do what the key of `args` says, and respond."""
    for name, do in _DEEDS.items():
        if name in args:
            respond(client_socket, do(args[name]))
            return state
    if "counts" in args:
        respond(client_socket, state)
        return state
    number, data = args["number"], args["data"]
    if sha256(data).digest() != args["digest"]:
        raise ValueError("the data are not those that were sent")
    state[number] = state.get(number, 0) + 1
    respond(client_socket, answer(number, data))
    return state


def exit_task(client_socket: ClientSocket, state: State, args: dict[str, Any]) -> None:
    """Respond with how much ran."""
    respond(client_socket, len(state))


TASKS = (init_task, exec_task, exit_task)


def request(number: int) -> dict[str, Any]:
    """Args of which the task sees whether they arrived as they were sent."""
    data = bytes((0xA5,)) * (50 + number % 50)
    return {"number": number, "digest": sha256(data).digest(), "data": data}


def answer(number: int, data: bytes) -> tuple[int, bytes, bytes]:
    """A response of which the caller sees the same."""
    return number, sha256(b"%d" % number + data).digest(), bytes((0xA5,)) * 50


def right_answer(number: int) -> tuple[int, bytes, bytes]:
    """What `request` is answered with."""
    return answer(number, request(number)["data"])


def _close_descriptors(after: float) -> None:
    """Close all but the standard streams; `after` some seconds in which others may poll."""
    time.sleep(after)
    os.closerange(3, 4096)


def _spawn(command: list[str]) -> int:
    return subprocess.run([sys.executable, "-c", *command], check=False).returncode


def _block_signals(_: Any) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGCHLD})


def _start_threads(count: int) -> int:
    threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(threads)


def _limit(limit: tuple[int, int]) -> None:
    import resource

    kind, value = limit
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value, hard))


def _jump_clock(by: float) -> None:
    """Let this process's `time.time` be off by `by` seconds from now on; see `clocks`."""
    time.offset = by  # type: ignore[attr-defined]


def _crash(_: Any) -> None:
    faulthandler.disable()
    faulthandler._sigsegv()  # type: ignore[attr-defined]


def _virtual_size(_: Any) -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


_DEEDS = {
    "respond": lambda value: value,
    "reply_size": lambda size: b"r" * size,
    "allocate": lambda size: len(bytearray(size)),
    "exit": os._exit,
    "abort": lambda _: os.abort(),
    "crash": _crash,
    "null": lambda _: ctypes.string_at(0),
    "kill": lambda number: os.kill(os.getpid(), number),
    "close_descriptors": _close_descriptors,
    "spawn": _spawn,
    "block_signals": _block_signals,
    "change_directory": os.chdir,
    "start_threads": _start_threads,
    "limit": _limit,
    "virtual_size": _virtual_size,
    "jump_clock": _jump_clock,
    "time": lambda _: time.time(),
    "print": lambda text: print(text, flush=True),
    "raise": lambda text: (_ for _ in ()).throw(ValueError(text)),
    "sleep": time.sleep,
}
