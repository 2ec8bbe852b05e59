"""The specification and the code say the same bytes."""

from __future__ import annotations

import hmac
import re
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgpy.errors import RemoteProtocolError
from bgpy.wire.encoding import Tag
from bgpy.wire.extensions import Extension, Output, encode_extensions
from bgpy.wire.handshake import (
    MAX_VERSION,
    MIN_VERSION,
    ClientHandshake,
    Refusal,
    ServerHandshake,
    ServerTerms,
    Welcome,
    derive_key,
)
from bgpy.wire.messages import (
    Acknowledge,
    Cancel,
    Credit,
    Event,
    Execute,
    Failure,
    Goodbye,
    Item,
    Modules,
    Ping,
    Progress,
    Reason,
    Receipt,
    ReceiptCode,
    Reply,
    Status,
    Subscribe,
)
from bgpy.wire.table import TABLE, encode

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
    "execute-extended": Execute(
        13,
        b"\x80\x05}.",
        wait=True,
        extensions=encode_extensions({Extension.KEY: b"k"}, {Extension.KEY}),
    ),
    "item": Item(7, b"\x80\x05N.", last=True, place=2),
    "credit": Credit(7, 0, 16, 2**20),
    "subscribe": Subscribe(14, '{"topics": ["a"]}'),
    "event": Event(14, b"\x80\x05N.", topic="a", sequence=5),
    "progress": Progress(7, 3, 4),
    "acknowledge": Acknowledge(7, (9,)),
}
OPTIONAL = {"buffers", "extensions", "wait", "error", "last", "end", "interrupt", "traceback"}
OPTIONAL |= {"type_name", "text", "topic", "requests", "stream", "place"}
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


FLAGS = {bit: {name for name, flag in vars(Tag).items() if flag == 1 << bit} for bit in range(4)}
KINDS = re.findall(
    r"^\| (\d+) \| (\w+)( \(later\))? \| ([CS, ]+) \| [^|]+ \|([^|]*)\|",
    table("## Messages", "### Execute"),
    re.MULTILINE,
)


def test_table_of_messages_is_the_codes() -> None:
    """Number, name, sender, and whether it is spoken: none more, none less, both ways."""
    assert [
        (int(number), name, sides.replace(", ", ""), not later)
        for number, name, later, sides, _ in KINDS
    ] == [(row.number, row.message.__name__, row.sent_by, row.spoken) for row in TABLE]


def test_every_flag_is_on_the_page() -> None:
    """A bit has the page's name for it, in all messages that have it."""
    listed = {flag for kind in KINDS for flag in re.findall(r"[A-Z]+", kind[4])}
    assert set().union(*FLAGS.values()) == listed


@pytest.mark.parametrize(
    ("number", "name", "flags"), [(each[0], each[1], each[4]) for each in KINDS]
)
@pytest.mark.parametrize("bit", FLAGS)
def test_flag_is_taken_when_the_page_lists_it_for_the_kind(number, name, flags, bit) -> None:
    """And refused where it doesn't: so the page tells each flag of each message."""
    (row,) = (row for row in TABLE if row.number == int(number))
    given = {"request": 7, "head": b"\x80\x05N.", "codec": 1, "code": 0, "done": 1.0, "reason": 0}
    made: Any = row.message
    message = made(**{each: given.get(each, 1) for each in made._fields if each not in OPTIONAL})
    (data, *rest) = encode(message)
    kind, tags, count, _, request = struct.unpack_from("<BBHIQ", data)
    assert (kind, count, rest) == (row.number, 0, [])
    listed = bool(FLAGS[bit] & set(re.findall(r"[A-Z]+", flags)))
    block = b"\4\0\xc8\0\0\0" if listed and bit == 3 else b""
    head = block + data[16:]
    decode = partial(row.decode, kind, tags & 0xF0 | 1 << bit, request, head, ())
    if listed:
        assert encode(decode())[0][1] == tags & 0xF0 | 1 << bit
    else:
        with pytest.raises(RemoteProtocolError):
            decode()


def test_tables_name_every_reason_refusal_and_extension() -> None:
    """The page's numbers are the code's numbers, none more."""
    reasons = re.findall(r"^\| (\d+) \| [a-z]", table("| did it run? |", "### Cancel"), re.M)
    assert list(map(int, reasons)) == list(map(int, Reason))
    refusals = re.findall(r"^\| (\d) \| ", table("**refusal**", "### Key"), re.M)
    assert list(map(int, refusals)) == list(map(int, Refusal))
    types = re.findall(r"^\| (\d+) \| ([A-Z]+) \| ", table("### Extensions", "### Reply"), re.M)
    assert [(int(number), name) for number, name in types] == [
        (int(each), each.name) for each in Extension
    ]
    outputs = re.search(r"as bits: (.*?);", table("### Extensions", "### Reply"))
    assert outputs is not None
    assert list(map(int, re.findall(r"\d+", outputs[1]))) == list(map(int, Output))


def test_page_is_of_the_version_that_is_spoken() -> None:
    """Its title and its examples."""
    assert PAGE.startswith(f"# The protocol, version {MAX_VERSION}\n")
    assert EXAMPLES["hello"][8:10] == bytes([MIN_VERSION, MAX_VERSION])
