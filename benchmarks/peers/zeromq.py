"""pyzmq: REQ and REP with pickle; an array is a frame of its own that nobody copies."""

from __future__ import annotations

import os
import pickle
import secrets
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from benchmarks import peers
from benchmarks.harness.pipes import Tell, end_with_stdin
from benchmarks.peers.counter import Counter

USER = b"benchmark"


def serve(tell: Tell) -> None:
    """Answer one request after another."""
    end_with_stdin()
    token = secrets.token_hex(16)
    context = zmq.Context()
    guard = ThreadAuthenticator(context)
    guard.start()
    guard.configure_plain(domain="*", passwords={USER.decode(): token})
    sock = context.socket(zmq.REP)
    sock.plain_server = True
    port = sock.bind_to_random_port("tcp://127.0.0.1")
    tell({"pid": os.getpid(), "address": f"tcp://127.0.0.1:{port}", "token": token})
    counter = Counter()
    while True:
        args = sock.recv_pyobj()
        if "add" in args:
            sock.send_pyobj(counter.add(args))
        elif args["do"] == "put":
            sock.send_pyobj(counter.put(_on(sock.recv(copy=False))))
        else:
            sock.send(counter.get(), copy=False)


def _on(frame: zmq.Frame) -> Any:
    import numpy

    return numpy.frombuffer(frame, numpy.float64)


class Connection(peers.Connection):
    """A REQ socket in a context of its own."""

    def __init__(self, target: dict[str, Any]) -> None:
        self._target = target
        self._context = zmq.Context()
        self._sock = self._connect(zmq.REQ)

    def _connect(self, kind: int) -> zmq.Socket[bytes]:
        sock = self._context.socket(kind)
        sock.plain_username = USER
        sock.plain_password = self._target["token"].encode()
        sock.linger = 0
        sock.rcvtimeo = 30_000
        sock.connect(self._target["address"])
        return sock

    def call(self, args: dict[str, int]) -> dict[str, int]:
        """``send_pyobj``, ``recv_pyobj``."""
        self._sock.send_pyobj(args)
        answer: dict[str, int] = self._sock.recv_pyobj()
        return answer

    def pipeline(self, count: int) -> None:
        """A DEALER may send on before it has the answer; it frames messages as REQ does."""
        if self._sock.type != zmq.DEALER:
            self._sock.close()
            self._sock = self._connect(zmq.DEALER)
        for _ in range(count):
            self._sock.send_multipart([b"", pickle.dumps({"add": 1})])
        for _ in range(count):
            pickle.loads(self._sock.recv_multipart()[1])

    def put(self, array: Any) -> float:
        """A head and the array's memory."""
        self._sock.send_pyobj({"do": "put"}, zmq.SNDMORE)
        self._sock.send(array, copy=False)
        last: float = self._sock.recv_pyobj()
        return last

    def get(self) -> Any:
        """An array on the frame received."""
        self._sock.send_pyobj({"do": "get"})
        return _on(self._sock.recv(copy=False))

    def close(self) -> None:
        """Close socket and context."""
        self._context.destroy(linger=0)
