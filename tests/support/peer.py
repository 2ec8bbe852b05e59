"""The one double of a client: its end of a connection over any socket, which keeps what comes."""

from __future__ import annotations

import secrets
import socket
from typing import Self

from bgpy.memory import allocate
from bgpy.wire.connection import Connection
from bgpy.wire.handshake import ClientHandshake
from bgpy.wire.messages import Message


class Peer:
    """Speaks the wire, and sends also what no client would."""

    def __init__(self, sock: socket.socket, token: str, client_id: bytes | None = None) -> None:
        self.sock = sock
        handshake = ClientHandshake(
            client_id or secrets.token_bytes(16), secrets.token_bytes(32), token
        )
        self.connection = Connection.client_side(handshake, allocate)
        self.inbox: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def shake_hands(self) -> Self:
        """Prove the token; raises what the connection raises."""
        self.send_bytes(self.connection.take_outgoing())
        while not self.connection.established:
            self.inbox += self.connection.receive(self.receive_bytes())
            self.send_bytes(self.connection.take_outgoing())
        return self

    def send(self, message: Message) -> None:
        """Send a message, piece by piece."""
        for piece in self.connection.send(message):
            self.send_bytes(piece)

    def send_together(self, *messages: Message) -> None:
        """Send messages so that the other side can receive them at once."""
        pieces = [piece for each in messages for piece in self.connection.send(each)]
        self.send_bytes(b"".join(pieces))

    def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data` as it is."""
        self.sock.sendall(data)

    def receive_bytes(self) -> bytes:
        """What comes next; nothing when the other side has closed, in whatever way."""
        try:
            return self.sock.recv(2**16)
        except ConnectionError:
            return b""

    def read(self, count: int) -> list[Message]:
        """The next `count` messages; raises `EOFError` if fewer come."""
        while len(self.inbox) < count:
            data = self.receive_bytes()
            if not data:
                raise EOFError("the server closed the connection")
            self.inbox += self.connection.receive(data)
        messages, self.inbox = self.inbox[:count], self.inbox[count:]
        return messages

    def read_to_end(self) -> list[Message]:
        """All messages until the other side closes."""
        while data := self.receive_bytes():
            self.inbox += self.connection.receive(data)
        messages, self.inbox = self.inbox, []
        return messages
