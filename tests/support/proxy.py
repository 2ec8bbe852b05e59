"""A network between a client and its server that misbehaves, by a script made of a seed.

::

    client ── listener │ pump up:   Fate ──► │ server
           ◄────────── │ pump down: Fate ◄── │

A `Script` says what goes wrong, in which direction and after how many bytes, and is the same
for the same seed. Corrupted bytes are those that the protocol looks at itself: handshake and
headers. What a plain connection carries besides can change without anyone noticing.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.support.peers import PATIENCE

UP, DOWN = "up", "down"
HANDSHAKE = {UP: 60 + 32, DOWN: 108 + 80}
"""Bytes before the first frame."""
HEADER = struct.Struct("<BBHIQ")
SPAN = {UP: 900, DOWN: 700}
"""Bytes among which a fault happens: handshake and a few calls."""

MOST_PIECES = 100
"""Of what arrives at once, where the network is slow: about as many milliseconds."""

HARMLESS = ("delay", "slow", "split")
"""Every byte arrives; only later."""
LOSSES = ("truncate", "reset", "half-close", "blackhole")
"""Every byte that arrives is right."""
FORGERIES = ("lose", "duplicate", "corrupt")
"""The stream itself is changed, which TCP does not do and a stranger in the middle can."""


class Script(NamedTuple):
    """What goes wrong on one connection: `fault` after `at` bytes in one direction."""

    fault: str
    way: str
    at: int
    size: int

    @classmethod
    def of(cls, fault: str, seed: int) -> Script:
        """The script of a seed."""
        chance = random.Random(f"{fault} {seed}")
        way = chance.choice((UP, DOWN))
        return cls(fault, way, chance.randrange(SPAN[way]), chance.randrange(1, 40))


Place = tuple[str, int]


class Proxy:
    """Passes connections on to `target`, the first `spoiled` of them by the script.

    Without a script it is a plain forwarder, as `ssh -L` is one.
    """

    def __init__(
        self,
        target: Place,
        script: Script | None = None,
        spoiled: int = 0,
        place: Place = ("127.0.0.1", 0),
    ) -> None:
        self._listener = socket.create_server(place)
        self.port: int = self._listener.getsockname()[1]
        self._target = target
        self._script = script
        self._spoiled = spoiled
        self._socks: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, PATIENCE)
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(PATIENCE)
            self._socks += [client, server]
            self._spoiled -= 1
            crossing = Crossing(client, server)
            for way in (UP, DOWN):
                script = self._script if self._spoiled >= 0 else None
                pump = Pump(crossing, way, script if script and script.way == way else None)
                thread = threading.Thread(target=pump.run)
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End all connections; no thread and no socket is left. Harmless if repeated."""
        _shut(self._listener, socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for sock in self._socks:
            _shut(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._socks:
            sock.close()


@contextmanager
def proxy(port: int, script: Script, spoiled: int = 1) -> Iterator[int]:
    """Run a proxy in front of `port`; gives its port."""
    made = Proxy(("127.0.0.1", port), script, spoiled)
    try:
        yield made.port
    finally:
        made.close()


class Crossing:
    """The two sockets of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ends = {UP: (client, server), DOWN: (server, client)}
        self.is_reset = False
        self._pumps = threading.Semaphore(1)

    def reset(self) -> None:
        """Have both reset, once nobody reads them: a socket that is read isn't closed."""
        self.is_reset = True
        for sock in self.ends[UP]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _shut(sock, socket.SHUT_RD)

    def leave(self) -> None:
        """Called by each pump at its end; the second one closes a connection that is reset."""
        if not self._pumps.acquire(blocking=False) and self.is_reset:
            for sock in self.ends[UP]:
                sock.close()


class Pump:
    """One direction of one connection."""

    def __init__(self, crossing: Crossing, way: str, script: Script | None) -> None:
        self._crossing = crossing
        self._source, self._target = crossing.ends[way]
        self._script = script
        self._passed = 0
        self._done = script is None
        self._look = _Look(HANDSHAKE[way])

    def run(self) -> None:
        """Pass on what comes until there is no more."""
        try:
            while data := self._source.recv(65536):
                if not self._pass(data):
                    return
            if not self._crossing.is_reset:
                _shut(self._target, socket.SHUT_WR)
        except OSError:
            self._crossing.reset()
        finally:
            self._crossing.leave()

    def _pass(self, data: bytes) -> bool:
        script = self._script
        corrupts = script is not None and script.fault == "corrupt"
        looked_at = self._look.at(data) if corrupts else []
        start, self._passed = self._passed, self._passed + len(data)
        if self._done or script is None or self._passed <= script.at:
            self._target.sendall(data)
            return True
        at = max(0, script.at - start)
        if corrupts:
            places = [place for place in looked_at if place >= at]
            if places:
                self._done = True
                data = data[: places[0]] + bytes((data[places[0]] ^ 0x80,)) + data[places[0] + 1 :]
            self._target.sendall(data)
            return True
        self._done = script.fault not in HARMLESS
        return _FAULTS[script.fault](self, data, at, script.size)

    def _delay(self, data: bytes, at: int, size: int) -> bool:
        time.sleep(size / 2000)
        self._target.sendall(data)
        return True

    def _slow(self, data: bytes, at: int, size: int) -> bool:
        # The hellos of TLS differ in length by its version, from 225 bytes to 1,500: each of
        # their bytes by itself would take longer than a handshake may, on a busy machine.
        size = max(size, len(data) // MOST_PIECES)
        for place in range(0, len(data), size):
            self._target.sendall(data[place : place + size])
            time.sleep(0.001)
        return True

    def _split(self, data: bytes, at: int, size: int) -> bool:
        for place in range(len(data)):
            self._target.sendall(data[place : place + 1])
        return True

    def _truncate(self, data: bytes, at: int, size: int) -> bool:
        self._target.sendall(data[:at])
        _shut(self._target, socket.SHUT_RDWR)
        _shut(self._source, socket.SHUT_RDWR)
        return False

    def _reset(self, data: bytes, at: int, size: int) -> bool:
        self._target.sendall(data[:at])
        self._crossing.reset()
        return False

    def _half_close(self, data: bytes, at: int, size: int) -> bool:
        self._target.sendall(data[:at])
        _shut(self._target, socket.SHUT_WR)
        while self._source.recv(65536):
            pass
        return False

    def _blackhole(self, data: bytes, at: int, size: int) -> bool:
        self._target.sendall(data[:at])
        while self._source.recv(65536):
            pass
        return False

    def _lose(self, data: bytes, at: int, size: int) -> bool:
        self._target.sendall(data[:at] + data[at + size :])
        return True

    def _duplicate(self, data: bytes, at: int, size: int) -> bool:
        self._target.sendall(data + data[-min(size, len(data) - 1) :])
        return True


_FAULTS = {
    "delay": Pump._delay,
    "slow": Pump._slow,
    "split": Pump._split,
    "truncate": Pump._truncate,
    "reset": Pump._reset,
    "half-close": Pump._half_close,
    "blackhole": Pump._blackhole,
    "lose": Pump._lose,
    "duplicate": Pump._duplicate,
}


class _Look:
    """Which bytes of a stream the protocol looks at: handshake and headers of frames."""

    def __init__(self, handshake: int) -> None:
        self._looked_at = handshake
        self._skipped = 0
        self._header = b""

    def at(self, data: bytes) -> list[int]:
        """The places in `data` of such bytes."""
        places = []
        for place, byte in enumerate(data):
            if self._skipped:
                self._skipped -= 1
                continue
            places.append(place)
            if self._looked_at:
                self._looked_at -= 1
                continue
            self._header += bytes((byte,))
            if len(self._header) == HEADER.size:
                self._skipped = HEADER.unpack(self._header)[3]
                self._header = b""
        return places


def _shut(sock: socket.socket, how: int) -> None:
    try:
        sock.shutdown(how)
    except OSError:
        pass  # it is gone already
