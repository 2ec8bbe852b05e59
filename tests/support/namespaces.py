"""Two hosts of our own: network namespaces with a cable between them that loses and delays.

::

    namespace a                              namespace b
      lo: client ─ forwarder ─ 10.97.0.1 ══ cable ══ 10.97.0.2 ─ forwarder ─ lo: server

The cable is a veth pair under `tc netem`, or, for kernels without that, two tun devices
joined by a process that loses and delays packets by a seed. Nothing of it touches the
machine's own network. The namespaces have no name in the system: they live as long as the
processes in them, and end, cable and all, together with those.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

ADDRESSES = ("10.97.0.1", "10.97.0.2")
ENDS = ("cable", "plug")

_TUN_CABLE = """
import ctypes, fcntl, heapq, os, random, select, struct, sys, time

def end(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH", name, 0x1001))  # TUNSETIFF: a tun, no header
    return fd

near = end(b"cable")
with open(sys.argv[1]) as namespace:
    assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0
far = end(b"plug")
print("ready", flush=True)
others = {near: far, far: near}
chance, loss, delay = random.Random(int(sys.argv[2])), 0.0, 0.0
due, count = [], 0
poll = select.poll()
for fd in (0, near, far):
    poll.register(fd, select.POLLIN)
while True:
    left = max(0.0, due[0][0] - time.monotonic()) * 1000 if due else None
    for fd, _ in poll.poll(left):
        if fd == 0:
            line = os.read(0, 100)
            if not line:
                sys.exit()
            loss, delay = map(float, line.split()[-2:])
            print("set", flush=True)
            continue
        packet = os.read(fd, 65536)
        if chance.random() >= loss:
            count += 1
            at = time.monotonic() + delay * chance.uniform(0.5, 1.5)
            heapq.heappush(due, (at, count, others[fd], packet))
    while due and due[0][0] <= time.monotonic():
        _, _, fd, packet = heapq.heappop(due)
        try:
            os.write(fd, packet)
        except OSError:
            pass  # that end is not up
"""


class Host:
    """One namespace, kept by a process."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._keeper.stdout is not None
        self.lives = self._keeper.stdout.readline() == b"ready\n"
        self.pid = self._keeper.pid
        self.namespace = f"/proc/{self.pid}/ns/net"

    def run(self, *command: str) -> None:
        """Run a command in it, to its end."""
        entered = ["nsenter", f"--net={self.namespace}", *command]
        subprocess.run(entered, check=True, capture_output=True)

    def inside(self, action: Callable[[], T]) -> T:
        """Call `action` in a thread that is in this namespace, with all that it starts."""
        results: list[Any] = []

        def enter_and_act() -> None:
            try:
                with open(self.namespace) as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0):
                        raise OSError(ctypes.get_errno(), "setns")
                results.append(action())
            except BaseException as error:
                results.append(error)

        thread = threading.Thread(target=enter_and_act)
        thread.start()
        thread.join()
        if isinstance(results[0], BaseException):
            raise results[0]
        made: T = results[0]
        return made

    def end(self) -> None:
        """End the process that keeps it."""
        self._keeper.kill()
        self._keeper.communicate()


class Netem:
    """A veth pair whose ends lose and delay as the kernel's netem does."""

    def __init__(self, hosts: tuple[Host, Host]) -> None:
        first, second = hosts
        first.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "plug")
        first.run("ip", "link", "set", "plug", "netns", str(second.pid))
        self._hosts = hosts
        self._set("add", 0.0, 0.0)

    def set(self, loss: float, delay: float) -> None:
        """Lose that part of the packets, and delay the others by about `delay` seconds."""
        self._set("change", loss, delay)

    def _set(self, how: str, loss: float, delay: float) -> None:
        weather = f"loss {100 * loss}% delay {1000 * delay}ms {500 * delay}ms".split()
        for host, end in zip(self._hosts, ENDS, strict=True):
            host.run("tc", "qdisc", how, "dev", end, "root", "netem", *weather)

    def close(self) -> None:
        """Nothing to do: it ends with the namespaces."""


class Tun:
    """Two tun devices and a process between them that loses and delays by a seed."""

    def __init__(self, hosts: tuple[Host, Host], seed: int = 1) -> None:
        first, second = hosts
        program = [sys.executable, "-c", _TUN_CABLE, second.namespace, str(seed)]
        self._process = subprocess.Popen(
            ["nsenter", f"--net={first.namespace}", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect("ready")

    def set(self, loss: float, delay: float) -> None:
        """As that of `Netem`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{loss} {delay}\n")
        self._process.stdin.flush()
        self._expect("set")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != word:
            raise OSError("the process of the cable has ended")


Cable = Netem | Tun
CABLES: dict[str, type[Netem] | type[Tun]] = {"netem": Netem, "tun": Tun}


@contextmanager
def two_hosts(kind: str) -> Iterator[tuple[Host, Host, Cable]]:
    """Two hosts and the cable between them, of one of the two kinds."""
    tools = ["ip", "unshare", "nsenter", *(["tc"] if kind == "netem" else [])]
    missing = [each for each in tools if shutil.which(each) is None]
    if missing or os.name != "posix" or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(tools)}; missing here: {missing or 'root'}")
    hosts = (Host(), Host())
    cable: Cable | None = None
    try:
        if not all(host.lives for host in hosts):
            pytest.skip("network namespaces can't be made here")
        try:
            cable = CABLES[kind](hosts)
        except (OSError, subprocess.CalledProcessError) as error:
            told = getattr(error, "stderr", None) or error
            pytest.skip(f"a cable with {kind} can't be laid here: {told!r}")
        for host, end, address in zip(hosts, ENDS, ADDRESSES, strict=True):
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "address", "add", f"{address}/24", "dev", end)
            host.run("ip", "link", "set", end, "up")
        yield *hosts, cable
    finally:
        if cable is not None:
            cable.close()
        for host in hosts:
            host.end()
