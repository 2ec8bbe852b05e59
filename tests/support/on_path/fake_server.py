"""What a server's module looks like to the launcher; does what ``options.init_file`` says."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys

from bgpy.errors import StartupError
from bgpy.process import logs
from bgpy.process.readiness import Ready, Settings, options_of

PORT = 4242


def main(settings: Settings, ready: Ready) -> None:
    options = options_of(settings)
    globals()["_" + str(options.init_file)](settings, ready)


def _answer(settings: Settings, ready: Ready) -> None:
    """Be ready, then live until the connection to the test ends."""
    host, port = options_of(settings).host, options_of(settings).port
    with socket.create_connection((host, port)) as test:
        ready.ready(host, PORT, None)
        test.sendall(json.dumps(_world(settings)).encode() + b"\n")
        test.recv(1)


def _world(settings: Settings) -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0) if hasattr(os, "getsid") else 0,
        "cwd": os.getcwd(),
        "path": sys.path,
        "environment": dict(os.environ),
        "token": settings["token"],
        "main": sorted(name for name in vars(sys.modules["__main__"]) if name[:2] != "__"),
    }


def _hang(settings: Settings, ready: Ready) -> None:
    """Tell the test that it runs, then never become ready."""
    options = options_of(settings)
    with socket.create_connection((options.host, options.port)) as test:
        test.sendall(f"{os.getpid()}\n".encode())
        test.recv(1)


def _ready_when_told(settings: Settings, ready: Ready) -> None:
    """Become ready only when the test says so; live until the connection ends."""
    options = options_of(settings)
    with socket.create_connection((options.host, options.port)) as test:
        test.sendall(f"{os.getpid()}\n".encode())
        test.recv(1)
        ready.ready(options.host, PORT, None)
        test.recv(1)


def _fail(settings: Settings, ready: Ready) -> None:
    print("said before it failed")
    ready.failed(StartupError("the port is taken"))


def _raise(settings: Settings, ready: Ready) -> None:
    raise LookupError("nothing to be found")


def _exit(settings: Settings, ready: Ready) -> None:
    print("last words")
    sys.exit(7)


def _return(settings: Settings, ready: Ready) -> None:
    pass


def _kill_itself(settings: Settings, ready: Ready) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_beside_a_child(settings: Settings, ready: Ready) -> None:
    """Die while a forked child still has the pipe open; it ends with the connection."""
    options = options_of(settings)
    test = socket.create_connection((options.host, options.port))
    if os.fork() == 0:
        test.sendall(f"{os.getpid()}\n".encode())
        test.recv(1)
        os._exit(0)
    os._exit(3)


def _fail_with_log(settings: Settings, ready: Ready) -> None:
    path = options_of(settings).log_file
    assert path is not None
    print("early", flush=True)
    ready.logs_to(path)
    logs.redirect(logs.open_log(path))
    print("late")
    ready.failed(StartupError("no init file"))


def _print_all(settings: Settings, ready: Ready) -> None:
    """Print in every way there is and tell after each kind whether it is in the log yet."""
    options = options_of(settings)
    path = options.log_file
    assert path is not None
    print("early text", flush=True)
    ready.logs_to(path)
    logs.redirect(logs.open_log(path))
    logs.configure_logging("INFO")
    print("text of print")
    print("text of stderr", file=sys.stderr)
    print("\udcff")
    os.write(1, b"text of write\n")
    ctypes.CDLL(None).puts(b"text of puts")
    subprocess.run([sys.executable, "-c", "print('text of child')"], check=True)
    import logging

    logging.getLogger("bgpy.server").info("text of bgpy")
    logging.getLogger("mine").warning("text of task")
    with socket.create_connection((options.host, options.port)) as test:
        ready.ready(options.host, PORT, path)
        test.sendall(b"printed\n")
        test.recv(1)
