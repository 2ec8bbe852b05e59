"""Messages: plain values, whose numbers never change their meaning."""

from __future__ import annotations

from typing import Any

import pytest

from bgpy.wire.messages import (
    AT_BUFFERS,
    AT_CODE,
    AT_CODEC,
    AT_EXTENSIONS,
    AT_HEAD,
    AT_REQUEST,
    AT_WAIT,
    CODEC_PICKLE,
    Execute,
    Exit,
    Init,
    Reason,
    ReceiptCode,
    Runs,
    Stage,
    json_object,
    modules_asked,
    modules_text,
    modules_told,
    runs_in,
    stage_of,
    stage_question,
    stage_text,
)
from bgpy.wire.table import TABLE

CLASSES: list[Any] = [row.message for row in TABLE]
PAYLOADS = [message for message in CLASSES if "buffers" in message._fields]


@pytest.mark.parametrize("message", CLASSES)
def test_message_is_immutable_and_says_what_request_it_belongs_to(message: Any) -> None:
    """Each can be kept and handed between threads; one without a request is about all."""
    made = message(*[7] * len(message._fields))
    assert made.request == 7
    with pytest.raises(AttributeError):
        made.request = 8
    assert message._field_defaults.get("request", 0) == 0


@pytest.mark.parametrize("message", PAYLOADS)
def test_payload_lies_where_shells_look_for_it(message: Any) -> None:
    """Head and buffers go together, and so do codec and whether there is bytecode."""
    at = message._fields.index("head")
    assert message._fields[at : at + 4] == ("head", "buffers", "codec", "code")
    assert message._field_defaults["buffers"] == ()


@pytest.mark.parametrize("message", [row.message for row in TABLE[:4]])
def test_request_and_reply_have_a_pickled_payload_unless_they_say_otherwise(message: Any) -> None:
    """Positions 1, 2 and 4 are head, buffers and code: the quick roads use them so."""
    assert message(1, b"head")[1:5] == (b"head", (), CODEC_PICKLE, False)


def test_reasons_and_codes_have_the_numbers_that_other_versions_know() -> None:
    """A number is never given another meaning; new ones may follow."""
    names = "TASK NOT_INITIALIZED NO_RESPONSE NOT_STARTED PROTOCOL TOO_LARGE DECODE PYTHON"
    names += " CODEC OVERLOAD CALLING_SELF UNSUPPORTED DROPPED KEEPS_SERVING"
    assert [reason.name for reason in Reason] == names.split()
    assert list(map(int, Reason)) == list(range(14))
    assert [code.name for code in ReceiptCode] == ["RECEIVED", "INITIALIZED", "ALREADY_INITIALIZED"]


def test_places_of_fields_are_those_of_every_request() -> None:
    """The hot road asks for them by number; an Init has no `wait`."""
    common = {
        AT_REQUEST: "request",
        AT_HEAD: "head",
        AT_BUFFERS: "buffers",
        AT_CODEC: "codec",
        AT_CODE: "code",
    }
    own = {AT_WAIT: "wait", AT_EXTENSIONS: "extensions"}
    kinds: list[tuple[Any, dict[int, str]]] = [
        (Execute, common | own),
        (Exit, common | own),
        (Init, common),
    ]
    for message, places in kinds:
        assert {place: message._fields[place] for place in places} == places


NO_OBJECTS = ["[]", "{", "", "7", "[" * 9999]


@pytest.mark.parametrize("text", NO_OBJECTS)
def test_text_that_is_no_json_object_says_nothing(text: str) -> None:
    """Whatever a peer sends."""
    assert json_object(text) is None
    assert stage_of(text) is Stage.UNKNOWN
    assert modules_asked(text) is None
    assert modules_told(text) is None


def test_stages_are_told_by_words_that_other_versions_know() -> None:
    """Their words never change; one that came later is unknown here."""
    assert {stage: stage_text(stage) for stage in Stage} == {
        stage: f'{{"call": "{stage.value}"}}' for stage in Stage
    }
    assert [stage_of(stage_text(stage)) for stage in Stage] == list(Stage)
    assert runs_in(stage_text(Stage.QUEUED)) is None
    for runs in Runs:
        text = stage_text(Stage.WITHDRAWN, runs)
        assert (stage_of(text), runs_in(text)) == (Stage.WITHDRAWN, runs)
    assert [*Stage] == ["withdrawn", "queued", "ending", "running", "deferred", "unknown"]
    asked = json_object(stage_question(7, b"\x0f"))
    assert asked == {"call": 7, "chain": "0f"}
    assert runs_in('{"call": "queued", "runs": ["own"]}') is None
    for text in ('{"call": "paused"}', '{"call": ["running"]}', '{"call": null}', "{}"):
        assert stage_of(text) is Stage.UNKNOWN


def test_modules_are_asked_by_name_and_told_with_their_hashes() -> None:
    """One key both ways; names that are no texts are no question."""
    assert modules_asked(modules_text(["a", "b.c"])) == ["a", "b.c"]
    assert modules_asked(modules_text({"a": "0f"})) is None
    assert modules_told(modules_text({"a": "0f", "b": None})) == {"a": "0f", "b": None}
    assert modules_told(modules_text(["a"])) is None
    assert modules_asked('{"modules": [7]}') is None
