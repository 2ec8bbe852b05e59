"""Attackers who have heard a whole conversation, and say it again, in part, changed or back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy.wire.handshake import (
    HELLO_SIZE,
    MAGIC,
    MAX_VERSION,
    MIN_VERSION,
    PROOF_SIZE,
    SERVER_HELLO_SIZE,
)
from tests.support.peers import EXECUTE, Canary, connect, frame, read_to_end, reset
from tests.support.recording import Recording, record
from tests.support.served import TOKEN, Served

PROVED = HELLO_SIZE + PROOF_SIZE
OURS = (MIN_VERSION, MAX_VERSION)


@pytest.fixture
def heard(served: Served) -> Recording:
    """What a client and the server said."""
    return record(served.port, TOKEN)


def _said(port: int, data: bytes) -> bytes:
    """All that the server answers to `data`."""
    with connect(port) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_to_end(sock)


@pytest.mark.parametrize("at_once", [True, False])
def test_server_answers_nothing_when_a_conversation_is_replayed(
    served: Served, heard: Recording, at_once: bool
) -> None:
    """A proof that was heard is worth nothing on another connection, as often as it is tried."""
    for _ in range(5):
        if at_once:
            answer = _said(served.port, heard.sent)
        else:
            with connect(served.port) as sock:
                sock.sendall(heard.sent[:HELLO_SIZE])
                answer = sock.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)
                sock.sendall(heard.sent[HELLO_SIZE:])
                answer += read_to_end(sock)
        assert len(answer) in ((0, SERVER_HELLO_SIZE) if at_once else (SERVER_HELLO_SIZE,))
        assert answer[44:] != heard.received[44:SERVER_HELLO_SIZE]


def test_server_answers_nothing_when_its_own_words_are_sent_to_it(
    served: Served, heard: Recording
) -> None:
    """Reflected: its hello is no client's, and its proof and welcome prove nothing to it."""
    refusal = _said(served.port, heard.received)
    assert (len(refusal), refusal[8:12]) == (
        SERVER_HELLO_SIZE,
        bytes((0, MIN_VERSION, MAX_VERSION, 4)),
    )
    hello = heard.sent[:HELLO_SIZE]
    for back in (
        lambda own: own[-PROOF_SIZE:],
        lambda own: own,
        lambda own: heard.received[SERVER_HELLO_SIZE - PROOF_SIZE : SERVER_HELLO_SIZE],
        lambda own: heard.received[SERVER_HELLO_SIZE:],
    ):
        with connect(served.port) as sock:
            sock.sendall(hello)
            own = sock.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)
            sock.sendall(back(own).ljust(PROOF_SIZE, b"\0"))
            assert read_to_end(sock) == b""


def test_server_answers_nothing_when_the_proof_of_another_connection_is_used(
    served: Served, heard: Recording
) -> None:
    """Two connections at once: what the server says on one can't be used on the other."""
    with connect(served.port) as one, connect(served.port) as two:
        proofs = []
        for sock in (one, two):
            sock.sendall(heard.sent[:HELLO_SIZE])
            proofs.append(sock.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)[-PROOF_SIZE:])
        assert proofs[0] != proofs[1]
        one.sendall(proofs[1])
        two.sendall(proofs[0])
        assert (read_to_end(one), read_to_end(two)) == (b"", b"")


DOWNGRADES = [
    *((9, highest, 1) for highest in (0, 1)),
    *((9, highest, 0) for highest in (3, 128, 255)),
    *((8, lowest, 1) for lowest in (3, 255)),
    *((10, flags, 4) for flags in (1, 2, 4, 128, 255)),
    *((11, role, 2) for role in (1, 2, 255)),
]
"""A byte of the hello, its value, and the reason of the refusal; 0 where there is none."""


def test_server_refuses_or_mistrusts_when_a_hello_is_downgraded(
    served: Served, heard: Recording
) -> None:
    """Another version, flag or role is refused; where it is allowed, the proof no longer fits."""
    for place, value, reason in DOWNGRADES:
        hello = bytearray(heard.sent[:HELLO_SIZE])
        hello[place] = value
        answer = _said(served.port, bytes(hello) + heard.sent[HELLO_SIZE:])
        if reason:
            assert answer == MAGIC + bytes((0, *OURS, reason)) + bytes(SERVER_HELLO_SIZE - 12)
        else:
            assert len(answer) in (0, SERVER_HELLO_SIZE), (place, value)


def test_relay_that_only_forwards_is_let_through_and_knows_nothing(
    served: Served, heard: Recording
) -> None:
    """On a plain connection whoever forwards every byte hears them; it can say none of its own.

    What is appended to a proof that is right would be the client's own frames: a stranger
    who could write into the stream of a plain connection needs no proof. What it can't do
    is to go on with the same proof on a connection of its own.
    """
    assert heard.sent.startswith(MAGIC)
    assert TOKEN.encode() not in heard.sent + heard.received
    with connect(served.port) as sock:
        sock.sendall(heard.sent[:HELLO_SIZE])
        sock.recv(SERVER_HELLO_SIZE, socket.MSG_WAITALL)
        sock.sendall(heard.sent[HELLO_SIZE:PROVED] + heard.sent[heard.starts[3] :])
        assert read_to_end(sock) == b""


def _half_closes(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)
    read_to_end(sock)
    sock.close()


@pytest.mark.parametrize(
    "end", [socket.socket.close, reset, _half_closes], ids=["closed", "reset", "half-closed"]
)
def test_server_serves_on_when_a_client_dies_at_every_byte(
    served: Served, heard: Recording, end: Callable[[socket.socket], None]
) -> None:
    """Each prefix of a conversation, with a proof that is right, and then the end."""
    step = 1 if end is socket.socket.close else 7
    for length in range(PROVED, len(heard.sent), step):
        with served.raw() as client:
            client.send(heard.sent[PROVED:length])
            end(client.sock)
    for length in range(0, PROVED, step):
        sock = served.stranger()
        sock.sendall(heard.sent[:length])
        end(sock)


def test_nothing_is_unpickled_when_a_replay_ends_in_a_canary(
    served: Served, heard: Recording, tmp_path: Path
) -> None:
    """A bomb behind each prefix of a recorded conversation is never opened."""
    path = tmp_path / "canary"
    bomb = frame(2, EXECUTE, 9, Canary(path).pickled())
    for length in range(0, len(heard.sent), 5):
        assert len(_said(served.port, heard.sent[:length] + bomb)) in (0, SERVER_HELLO_SIZE)
    assert not path.exists()
