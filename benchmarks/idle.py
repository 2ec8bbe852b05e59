"""What an idle client costs: bytes of the server's memory, and its time to connect one.

    python -m benchmarks.idle [FOLDER ...] [--clients 2000]

Measures the bgpy of each folder's ``src`` (of this one without any) in a process of its own.
A client here is a connection that has proved its token and sends nothing.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

TOKEN = "t" * 40
BEFORE = 200
"""Clients that connect first: what their memory leaves free doesn't count."""


def connected(port: int) -> socket.socket:
    """A client's socket."""
    from bgpy.wire.connection import Connection
    from bgpy.wire.handshake import ClientHandshake

    sock = socket.create_connection(("127.0.0.1", port))
    handshake = ClientHandshake(secrets.token_bytes(16), secrets.token_bytes(32), TOKEN)
    connection = Connection.client_side(handshake, lambda size: memoryview(bytearray(size)))
    sock.sendall(connection.take_outgoing())
    while not connection.established:
        connection.receive(sock.recv(65536))
        sock.sendall(connection.take_outgoing())
    return sock


def _status(pid: int, what: str) -> int:
    """A number of /proc; bytes of resident memory, or nanoseconds that it ran."""
    if what == "ran":
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(count: int) -> None:
    """Print what `count` clients cost the bgpy that can be imported."""
    import bgpy

    handle = bgpy.Server("127.0.0.1", 0, TOKEN).run_background()
    try:
        keep = [connected(handle.port) for _ in range(BEFORE)]
        time.sleep(0.5)
        memory, ran = (_status(handle.pid, what) for what in ("memory", "ran"))
        keep += [connected(handle.port) for _ in range(count)]
        time.sleep(0.5)
        memory = (_status(handle.pid, "memory") - memory) // count
        ran = (_status(handle.pid, "ran") - ran) // count
        print(f"{Path(bgpy.__file__).parent}: {memory} bytes a client, {ran / 1000:.0f} µs")
    finally:
        handle.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--clients", type=int, default=2000)
    options = parser.parse_args()
    code = f"from benchmarks.idle import measure; measure({options.clients})"
    here = Path(__file__).resolve().parents[1]
    for folder in options.folders:
        path = os.pathsep.join([str(folder.resolve() / "src"), str(here)])
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, check=True
        )


if __name__ == "__main__":
    main()
