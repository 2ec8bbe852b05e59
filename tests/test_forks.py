"""A fork waits for work that holds other libraries' locks; a child has locks of its own."""

from __future__ import annotations

import hashlib
import hmac
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from bgpy import digests
from bgpy.forks import OwnLock, uncut
from bgpy.tls import certificates, contexts, layer
from tests.support.ends import established
from tests.support.fixtures import script
from tests.support.forks import forked_while_held

__all__ = ["script"]

Script = Callable[..., "Popen[str]"]


def held() -> bool:
    """Whether a fork would wait now."""
    free: list[bool] = []

    def look() -> None:
        free.append(uncut.acquire(blocking=False))
        if free[0]:
            uncut.release()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return not free[0]


class Watched:
    """Stands for an object, and notes for each call of it whether a fork would have waited."""

    def __init__(self, real: Any, seen: list[tuple[str, bool]]) -> None:
        self._real, self._seen = real, seen

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found) or isinstance(found, type):
            return found

        def call(*args: Any, **named: Any) -> Any:
            self._seen.append((name, held()))
            return found(*args, **named)

        return call


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sha256", (b"data",)),
        ("hmac_sha256", (b"key", b"data")),
        ("scrypt", (b"secret", b"salt")),
    ],
)
def test_digests_hold_a_fork_off(
    name: str, args: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL looks for each algorithm under a lock of its own."""
    seen: list[tuple[str, bool]] = []
    expected = getattr(digests, name)(*args)
    watched = Watched(hashlib, seen), Watched(hmac, seen)
    monkeypatch.setattr(digests, "hashing", lambda: watched)
    assert getattr(digests, name)(*args) == expected
    assert [was for _, was in seen] == [True]
    assert not held()


def test_tls_holds_a_fork_off_while_it_shakes_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of the handshake on either side, and not what the peer takes in between."""
    seen: list[tuple[str, bool]] = []
    made = layer.TlsLayer.__init__

    def watch(self: layer.TlsLayer, context: ssl.SSLContext, server_side: bool) -> None:
        made(self, Watched(context, seen), server_side)  # type: ignore[arg-type]
        self._tls = Watched(self._tls, seen)  # type: ignore[assignment]

    monkeypatch.setattr(layer.TlsLayer, "__init__", watch)
    established([5])
    names = [name for name, _ in seen]
    assert names.count("wrap_bio") == 2
    assert names.count("do_handshake") >= 4
    assert {name for name, was in seen if not was} <= {"read"}
    assert not held()


def test_contexts_and_certificates_hold_a_fork_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is made, set up and loaded."""
    seen: list[tuple[str, bool]] = []

    def watch(owner: Any, name: str) -> None:
        does = getattr(owner, name)  # of __new__ it is the function itself

        def call(*args: Any, **named: Any) -> Any:
            seen.append((name, held()))
            return does(*args, **named)

        monkeypatch.setattr(owner, name, call)

    watch(contexts, "_load")
    watch(certificates, "_make")
    watch(ssl.SSLContext, "__new__")
    contexts.for_client.cache_clear()
    contexts.for_client()
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificates.make())
    contexts.identity(str(path))
    assert seen == [(name, True) for name in ("__new__", "_make", "__new__", "_load")]
    assert not held()


FORK = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
from bgpy import digests
from bgpy.forks import OwnLock, uncut

forking = threading.Event()

def work():
    with uncut:
        forking.set()
        while not waits:  # the fork of the other thread
            pass
        digests.sha256(b"")

waits = []
thread = threading.Thread(target=work)
os.register_at_fork(before=lambda: waits.append(None))  # called before that of the lock
thread.start()
forking.wait()
child = os.fork()
if not child:
    signal.alarm(20)  # by default it ends the process
    with uncut:
        os._exit(len(digests.sha256(b"child")))
with uncut:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_fork_waits_and_leaves_the_lock_open_on_both_sides(script: Script) -> None:
    """Parent and child go on as if nothing had been under way."""
    output, errors = script(FORK).communicate(timeout=60)
    assert (output.split(), errors) == (["32"], "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_has_a_lock_of_its_own_whoever_held_the_parents() -> None:
    """The parent's stays the same one, held or not."""
    lock = OwnLock()
    before = lock.here

    def take() -> None:
        assert lock.here is not before
        with lock.here:
            pass

    assert forked_while_held(before, take) == 0
    assert lock.here is before


def test_lock_may_be_taken_again_by_the_thread_that_holds_it() -> None:
    """The collector or a signal handler may run what needs it meanwhile."""
    lock = OwnLock()
    with lock.here, lock.here:
        pass
