"""What a browser, a proxy or a program for another protocol sends when it finds the port."""

from __future__ import annotations

import pickle
import ssl

import pytest

from bgpy.wire.handshake import MAGIC
from tests.support.peers import EXECUTE, HELLO, connect, frame, read_to_end
from tests.support.served import Served

BODY = HELLO + bytes(32) + frame(2, EXECUTE, 1, pickle.dumps({"add": 1}))
"""What a page would have the server hear, as bytes that it may choose freely."""


def _post(path: str, *headers: str, body: bytes = BODY) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


REQUESTS = {
    "fetch": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: https://evil.example\r\n\r\n",
    "fetch without cors": _post("/", "Content-Type: text/plain", "Sec-Fetch-Mode: no-cors"),
    "form": _post(
        "/",
        "Content-Type: multipart/form-data; boundary=x",
        body=b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + BODY + b"\r\n--x--\r\n",
    ),
    "plain form, first bytes chosen": _post("/", "Content-Type: text/plain", body=BODY),
    "path of the magic": b"GET /" + MAGIC + b" HTTP/1.1\r\n\r\n" + BODY,
    "method of the magic": MAGIC[1:5] + b" / HTTP/1.1\r\n\r\n" + BODY,
    "preflight": b"OPTIONS / HTTP/1.1\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    "web socket": b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x82\x7e"
    + BODY,
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + BODY,
    "proxy": b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n" + BODY,
    "proxy protocol": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n" + BODY,
    "socks 4": b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00" + BODY,
    "socks 5": b"\x05\x01\x00" + BODY,
    "ftp": b"USER anonymous\r\n",
    "smtp": b"EHLO localhost\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "dns": b"\x00\x1d\xaa\xaa\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x00\x00\x01\x00\x01",
    "rmi": b"JRMI\x00\x02\x4b",
    "smb": b"\x00\x00\x00\x54\xffSMB\x72",
    "rdp": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
}


def test_server_closes_without_a_byte_when_a_request_is_not_its_own(served: Served) -> None:
    """A page can send what it likes behind its first bytes: those are not its to choose."""
    for name, request in REQUESTS.items():
        with connect(served.port) as sock:
            sock.sendall(request)
            assert read_to_end(sock) == b"", name
    assert served.client.call({"add": 0}) == 0


def test_server_closes_when_a_request_comes_byte_by_byte(served: Served) -> None:
    """However it is cut, its first byte is enough."""
    for name in ("fetch", "web socket", "form"):
        with connect(served.port) as sock:
            sock.sendall(REQUESTS[name][:1])
            assert read_to_end(sock) == b""


def test_tls_client_gets_no_answer_when_it_greets_a_plain_server(served: Served) -> None:
    """A TLS client of any sort ends with an error at once, not at a timeout."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(served.port) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(sock, server_hostname="localhost")


def test_no_web_page_can_begin_as_a_client_does() -> None:
    """The first byte of a request is a letter of its method; that of the magic is no letter."""
    assert not MAGIC[:1].isascii()
    assert b"\r\n\n" in MAGIC  # which what translates line ends would change
    with pytest.raises(UnicodeDecodeError):
        MAGIC.decode("utf-8")
