"""``python -m endurance.siege.slow PORT COUNT``: half-open peers that send a byte now and then.

Each says its hello a byte a second, and comes again when it finds that it was dropped. Prints
``ready`` when all have connected for the first time; ends with its standard input.
"""

from __future__ import annotations

import heapq
import select
import socket
import sys
import time

from benchmarks.harness.home import open_files
from bgpy.wire.handshake import HELLO_SIZE, MAGIC

HELLO = MAGIC + bytes((1, 1, 0, 0)) + bytes(HELLO_SIZE - 12)
PAUSE = 1.0


class Peer:
    """One of them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None
        self._sent = 0

    def act(self) -> None:
        """Connect, or send the next byte."""
        if self._sock is None:
            self._connect()
            return
        at = self._sent % (HELLO_SIZE - 1)
        try:
            self._sock.send(HELLO[at : at + 1])
            self._sent += 1
            self._sock.recv(1)
        except BlockingIOError:
            return
        except OSError:
            pass
        self._sock.close()  # it was dropped
        self._connect()

    def _connect(self) -> None:
        self._sock, self._sent = socket.socket(), 0
        self._sock.setblocking(False)
        self._sock.connect_ex(("127.0.0.1", self._port))


def main() -> None:
    """Be slow until standard input ends."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    open_files(count)
    now = time.monotonic()
    peers = [Peer(port) for _ in range(count)]
    # Spread over the pause, so that they don't come in one wave.
    due = [(now + PAUSE * number / count, number) for number in range(count)]
    heapq.heapify(due)
    told = False
    while True:
        at, number = due[0]
        left = max(0.0, at - time.monotonic())
        if left and select.select([sys.stdin], [], [], left)[0]:
            return
        heapq.heapreplace(due, (max(at, time.monotonic() - PAUSE) + PAUSE, number))
        peers[number].act()
        if not told and time.monotonic() > now + 2 * PAUSE:
            print("ready", flush=True)
            told = True


if __name__ == "__main__":
    main()
