"""``python -m endurance.strikes.server_walk STRIKE``: a server's task thread, struck everywhere.

In turn n a task arms a strike that falls at the nth place after it: while its answer leaves,
between tasks, while the server is idle, while the next request is read and decoded. The
strike hurts one call at most, and that one is answered; each call is answered once. The
client is bare, so that a second answer would be seen: `Bare` keeps all that comes.
"""

from __future__ import annotations

import argparse
import secrets
import socket
import sys
from typing import Any

from bgpy.codec import payload
from bgpy.memory import allocate
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake
from bgpy.wire.messages import Failure, Message, Ping, Pong, Reply
from endurance.strikes.book import Book
from endurance.strikes.served import PATIENCE, Served
from endurance.strikes.watch import Watch

PLACES = 600
"""More places than the task thread passes until it has answered the call after the next."""
MOST_FAULTS = 5


class Bare:
    """A client that keeps every answer, in the order in which they come."""

    def __init__(self, port: int, token: str) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        handshake = ClientHandshake(secrets.token_bytes(16), secrets.token_bytes(32), token)
        self._connection = Connection.client_side(handshake, allocate)
        self.inbox: list[Message] = []
        while not self._connection.established:
            self._sock.sendall(self._connection.take_outgoing())
            self.inbox += self._connection.receive(self._sock.recv(65536))

    def send(self, number: int, args: dict[str, Any]) -> None:
        """Send a call that waits for its answer."""
        for piece in self._connection.execute(number, payload.encode(args, "args"), True):
            self._sock.sendall(piece)

    def ping(self, number: int) -> None:
        """Send a ping; its answer comes after those of the calls that have been answered."""
        for piece in self._connection.send(Ping(number)):
            self._sock.sendall(piece)

    def wait_for(self, number: int) -> Message:
        """The answer to `number`; raises `OSError` and `EOFError`."""
        while True:
            for message in self.inbox:
                if message.request == number:
                    return message
            data = self._sock.recv(65536)
            if not data:
                raise EOFError("the server closed the connection")
            self.inbox += self._connection.receive(data)

    def close(self) -> None:
        """Leave."""
        self._sock.close()


class Walk:
    """One server, struck in turn after turn."""

    def __init__(self, strike: str) -> None:
        self._strike = strike
        self._served = Served()
        self._book = Book()
        self.turns = 0
        self.struck = 0

    def run(self, start: int, step: int) -> list[str]:
        """The faults found."""
        watch = Watch(f"server: {self._strike}", 3 * PATIENCE)
        for turn in range(start, PLACES, step):
            watch.step(f"turn {turn}")
            before = self._book.counts().get("failed", 0)
            try:
                self._one(turn)
            except (OSError, EOFError) as error:
                self._book.wrong(f"turn {turn}, {self._served.last_line()}: no answer: {error!r}")
            self.turns += 1
            hurt = self._book.counts().get("failed", 0) - before
            if hurt > 1:
                self._book.wrong(f"turn {turn}: {hurt} calls were hurt by one strike")
            self.struck += hurt
            if len(self._book.wrongs) > MOST_FAULTS or not self._served.handle.is_alive():
                break
        watch.step("the end")
        return self._served.verdict(self._book)

    def _one(self, turn: int) -> None:
        first = self._book.take()
        numbers = [first]
        bare = Bare(self._served.handle.port, self._served.token)
        try:
            bare.send(first, {"id": first, self._strike: turn})
            if self._strike != "leave":
                self._note(first, bare.wait_for(first))
            others = [self._book.take(), self._book.take()]
            numbers += others
            for number in others:
                bare.send(number, {"id": number})
            for number in others:
                self._note(number, bare.wait_for(number))
            if self._strike == "leave":
                numbers.append(last := self._book.take())
                bare.send(last, {"id": last, "sweep": True})
                self._note(last, bare.wait_for(last))
                self._note(first, bare.wait_for(first))
            end = 2**40
            bare.ping(end)
            if not isinstance(bare.wait_for(end), Pong):
                self._book.wrong(f"turn {turn}: a ping was answered with something else")
            answered = sorted(message.request for message in bare.inbox)
            if answered != [*numbers, end]:
                self._book.wrong(f"turn {turn}: {numbers} were asked, answered {answered}")
        finally:
            bare.close()

    def _note(self, number: int, answer: Message) -> None:
        if isinstance(answer, Reply) and not answer.error:
            packed = (answer.head, answer.buffers, answer.code)
            self._book.value(number, payload.decode(*packed, "response"))
        elif isinstance(answer, Failure):
            if self._strike == "leave":
                self._book.wrong(f"call {number} failed, and nothing was raised: {answer.text}")
        else:
            self._book.wrong(f"call {number} was answered with a {type(answer).__name__}")


def main() -> None:
    """Run as the command line says; the faults go to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strike", choices=["strike", "leave"])
    parser.add_argument("--start", type=int, default=1)
    parser.add_argument("--step", type=int, default=1)
    options = parser.parse_args()
    walk = Walk(options.strike)
    faults = walk.run(options.start, options.step)
    print(f"{options.strike}: {walk.turns} turns, {walk.struck} calls struck")
    print("\n".join(faults))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
