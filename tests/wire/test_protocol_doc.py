"""The specification and the code say the same bytes."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

import pytest

from bgpy.wire.handshake import (
    ClientHandshake,
    Refusal,
    ServerHandshake,
    ServerTerms,
    Welcome,
    derive_key,
)
from bgpy.wire.messages import (
    Cancel,
    Execute,
    Failure,
    Goodbye,
    Modules,
    Ping,
    Reason,
    Receipt,
    ReceiptCode,
    Reply,
    Status,
)
from bgpy.wire.table import encode

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^Example `([\w-]+)`[^\n]*\n\n```hex\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = {name: bytes.fromhex(text) for name, text in EXAMPLE.findall(PAGE)}

TOKEN = "an example token of 34 characters!"
CLIENT_ID = bytes(range(0x10))
SERVER_ID = bytes(range(0x10, 0x20))
TERMS = ServerTerms(2**31, 1024, 0b11)
WELCOME = Welcome(b"\x20" * 16, bytes(16), 4026531836, 4711, (3, 11, 7), "1.0.0")

MESSAGES = {
    "execute": Execute(7, b"\x80\x05}.", wait=True),
    "execute-buffers": Execute(8, b"head", [memoryview(b"abc"), memoryview(b"")]),
    "reply": Reply(7, b"\x80\x05N."),
    "receipt": Receipt(1, ReceiptCode.INITIALIZED),
    "failure": Failure(7, Reason.TASK, "builtins.KeyError", "'a'", "Traceback"),
    "cancel": Cancel(9, 7),
    "ping": Ping(10),
    "status": Status(11, '{"call": 7}'),
    "modules": Modules(12, '{"modules": ["numpy"]}'),
    "goodbye": Goodbye("bye"),
}
HANDSHAKE = {"key", "short-key", "hello", "server-hello", "proof", "welcome", "refusal"}


def client() -> ClientHandshake:
    return ClientHandshake(CLIENT_ID, b"\xc1" * 32, TOKEN)


def server() -> ServerHandshake:
    key = derive_key(TOKEN, SERVER_ID)
    return ServerHandshake(SERVER_ID, b"\xd2" * 32, key, TERMS, WELCOME)


@pytest.mark.parametrize("name", MESSAGES)
def test_message_is_encoded_as_shown_when_the_page_has_an_example(name) -> None:
    """Each example of a message is what the code sends."""
    assert b"".join(encode(MESSAGES[name])) == EXAMPLES[name]


def test_every_example_of_the_page_is_checked() -> None:
    """No example is left out, and no block of bytes stands there without its name."""
    assert set(EXAMPLES) == {*MESSAGES, *HANDSHAKE}
    assert PAGE.count("```hex") == len(EXAMPLES)


def test_handshake_is_as_shown_when_ids_and_nonces_are_those_of_the_page() -> None:
    """All four messages, in their order."""
    ours, theirs = client(), server()
    assert ours.hello() == EXAMPLES["hello"]
    assert theirs.receive(EXAMPLES["hello"]) == EXAMPLES["server-hello"]
    assert ours.receive(EXAMPLES["server-hello"]) == EXAMPLES["proof"]
    assert theirs.receive(EXAMPLES["proof"]) == EXAMPLES["welcome"]
    ours.receive(EXAMPLES["welcome"])
    assert ours.welcome == WELCOME


def test_keys_are_as_shown() -> None:
    """A long token and a short one."""
    assert derive_key(TOKEN, SERVER_ID) == EXAMPLES["key"]
    assert derive_key("secret", SERVER_ID) == EXAMPLES["short-key"]


def test_proofs_follow_from_the_page_alone() -> None:
    """What the page says about the proofs is enough to compute them."""
    key, hello, answer = EXAMPLES["key"], EXAMPLES["hello"], EXAMPLES["server-hello"]
    assert hmac.digest(key, b"server" + hello + answer[:76], "sha256") == answer[76:]
    assert hmac.digest(key, b"client" + hello + answer, "sha256") == EXAMPLES["proof"]


def test_refusal_is_as_shown_when_no_version_is_common() -> None:
    """The fixed refusal."""
    hello = bytearray(EXAMPLES["hello"])
    hello[8:10] = b"\3\3"
    assert server().receive(hello) == EXAMPLES["refusal"]


def table(heading: str, following: str) -> str:
    return PAGE[PAGE.index(heading) : PAGE.index(following)]


def test_tables_name_every_kind_reason_and_refusal() -> None:
    """The page's numbers are the code's numbers, none more."""
    reasons = re.findall(r"^\| (\d+) \| [a-z]", table("| did it run? |", "### Cancel"), re.M)
    assert list(map(int, reasons)) == list(map(int, Reason))
    refusals = re.findall(r"^\| (\d) \| ", table("**refusal**", "### Key"), re.M)
    assert list(map(int, refusals)) == list(map(int, Refusal))
