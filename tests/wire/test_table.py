"""The table of messages: what it says is what both sides do."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bgpy.wire import encoding, messages, table
from bgpy.wire.messages import Execute, Ping
from bgpy.wire.table import NUMBERS, TABLE, TO_CLIENT, TO_SERVER, encode

WIRE = Path(messages.__file__).parent


def test_rows_ascend_and_name_each_class_once() -> None:
    """A number has one meaning."""
    numbers = [row.number for row in TABLE]
    assert numbers == sorted(set(numbers))
    assert 0 < numbers[0] <= numbers[-1] <= 255
    assert len(NUMBERS) == len(TABLE)
    assert {row.sent_by for row in TABLE} == {"C", "S", "CS"}


def test_every_class_of_messages_has_a_row() -> None:
    """A class without a row could not be sent, and none is left behind."""
    found = {
        each
        for each in vars(messages).values()
        if isinstance(each, type) and each.__module__ == messages.__name__
        if issubclass(each, tuple)
    }
    assert found == NUMBERS.keys()


def test_directions_are_those_of_the_rows() -> None:
    """What one side sends the other takes, and nothing that isn't spoken yet."""
    for side, direction in (("C", TO_SERVER), ("S", TO_CLIENT)):
        rows = [row for row in TABLE if row.spoken and side in row.sent_by]
        assert direction.decoders == {row.number: row.decode for row in rows}
        assert list(direction.encoders) == [row.message for row in rows]


def test_kinds_that_are_not_spoken_are_those_of_later_issues() -> None:
    """To speak one is to take its `LATER` away, here and in its row."""
    later = {row.message.__name__ for row in TABLE if not row.spoken}
    assert later == {"Item", "Event", "Acknowledge", "Credit", "Progress", "Subscribe"}


def test_encode_gives_the_kind_of_the_row() -> None:
    """The number stands in the table alone."""
    assert encode(Ping(1))[0][0] == NUMBERS[Ping] == 10
    assert encode(Execute(1, b"a"))[0][0] == NUMBERS[Execute] == 2


@pytest.mark.parametrize("module", ["connection", "encoding", "extensions", "frames", "messages"])
def test_no_other_module_of_the_wire_names_a_kind_by_its_number(module: str) -> None:
    """Frames are packed with a kind that was handed in, never with a number written there."""
    tree = ast.parse((WIRE / f"{module}.py").read_text(encoding="utf-8"))
    packed = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("encode_frame", "pack_header")
    ]
    assert not [node for node in packed if isinstance(node.args[0], ast.Constant)]


def test_every_encoder_and_decoder_stands_in_a_row() -> None:
    """None is left that no message uses."""
    used = {row.encode.__name__ for row in TABLE} | {row.decode.__name__ for row in TABLE}
    found = {name for name in vars(encoding) if name.startswith(("encode_", "decode_"))}
    assert found - {"encode_frame"} == used - {"decode"}
    assert table.LATER is False
