"""The core of every client: tables of what happens to a call, and walks of any length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgpy.calling.conversation import Call, Conversation, Expiry, Farewell, Known
from bgpy.errors import BgpyError, CallTimeout, Progress, ServerGone
from bgpy.wire.messages import (
    Failure,
    Goodbye,
    Message,
    Pong,
    Reason,
    Receipt,
    Reply,
    Runs,
    Stage,
    Status,
    stage_text,
)
from tests.support.timed import timed_call

REPLY = Reply(1, b"value")
RECEIPT = Receipt(1, 0)


def begun(conversation: Conversation, request: int = 1, left: bool = True) -> Call:
    """A call under way."""
    call = timed_call(0.5)
    conversation.begin(call, request)
    call.begun = call.left = left
    return call


def test_answer_ends_its_call_and_no_other() -> None:
    """Each call gets the message of its own request."""
    conversation = Conversation()
    first, second = begun(conversation, 1), begun(conversation, 2)
    assert conversation.received(Pong(2)) is second
    assert second.answer == Pong(2)
    assert first.answer is None


def test_answered_call_is_found_by_the_end_until_it_is_done() -> None:
    """Whoever is interrupted before it woke the waiter leaves that to others."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.received(REPLY)
    assert conversation.end("gone") == [call]
    assert call.answer is REPLY
    conversation.done(call)
    assert conversation.end("gone") == []


def test_second_answer_to_a_call_changes_nothing() -> None:
    """A call ends once."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.received(REPLY)
    conversation.received(Pong(1))
    assert call.answer is REPLY


def test_late_answer_of_an_abandoned_call_is_dropped() -> None:
    """It is remembered that one is to come, and forgotten when it has."""
    conversation = Conversation()
    conversation.abandon(begun(conversation))
    assert not conversation.is_quiet
    assert conversation.received(REPLY) is None
    assert conversation.is_quiet


def test_parts_come_before_the_answer() -> None:
    """A call can get many messages; only the last one ends it."""
    conversation = Conversation(parts=frozenset({Pong}))
    call = begun(conversation)
    assert conversation.received(Pong(1)) is call
    assert conversation.received(Pong(1)) is call
    assert (call.parts, call.answer) == ((Pong(1), Pong(1)), None)
    assert conversation.received(REPLY) is call
    assert call.answer is REPLY


@pytest.mark.parametrize("message", [Goodbye("it ends"), Failure(0, 4, text="it ends")])
def test_message_about_the_connection_says_farewell(message: Message) -> None:
    """It answers no call."""
    assert Conversation().received(message) == Farewell("it ends")


def test_message_that_answers_nothing_is_dropped() -> None:
    """What a later version tells unasked is no failure."""
    assert Conversation().received(Status(0, "{}")) is None


@pytest.mark.parametrize(
    ("byte", "whole", "what", "progress"),
    [
        (False, False, Expiry.WITHDRAWN, "not started"),
        (True, False, Expiry.CUT_OFF, "not started"),
        (True, True, Expiry.ASK, None),
    ],
)
def test_expired_call_is_what_it_has_left(
    byte: bool, whole: bool, what: Expiry, progress: Progress | None
) -> None:
    """What never left whole never runs; of the rest the server knows."""
    conversation = Conversation()
    call = begun(conversation)
    call.begun, call.left = byte, whole
    assert conversation.expire(call) is what
    if progress is None:
        assert call.answer is None
    else:
        assert isinstance(call.answer, CallTimeout)
        assert call.answer.progress == progress
        assert not conversation.pending


@pytest.mark.parametrize("others", ["pending", "unanswered"])
def test_expired_call_that_has_left_in_part_is_asked_for_where_others_use_the_connection(
    others: str,
) -> None:
    """It must not end for them; what is told when it ends is still that it never left whole."""
    conversation = Conversation()
    other = begun(conversation, 1)
    if others == "unanswered":
        conversation.abandon(other)
    call = begun(conversation, 2, left=False)
    call.begun = True
    assert conversation.expire(call) is Expiry.ASK
    assert call.answer is None
    conversation.ask(call, 3)
    conversation.end("gone")
    assert isinstance(call.answer, CallTimeout)
    assert call.answer.progress == "not started"


def test_expired_call_that_has_its_answer_needs_nothing() -> None:
    """It came at the last moment."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.received(REPLY)
    assert conversation.expire(call) is Expiry.ENDED


SAID = {
    '{"call": "withdrawn"}': "not started",
    '{"call": "queued"}': "started",
    '{"call": "running"}': "started",
    '{"call": "deferred"}': "started",
    '{"call": "ending"}': "started",
    '{"call": "unknown"}': "unknown",
    '{"call": "what?"}': "unknown",
    '{"call": ["running"]}': "unknown",
    '{"call": null}': "unknown",
    "{}": "unknown",
    "[]": "unknown",
    "{": "unknown",
}


@pytest.mark.parametrize(("text", "progress"), SAID.items())
@pytest.mark.parametrize("receipt", ["none", "before"])
def test_status_ends_the_call_that_it_is_about(text: str, progress: str, receipt: str) -> None:
    """What the server says is believed, and not a receipt that came before it."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.ask(call, 2)
    if receipt == "before":
        assert conversation.received(RECEIPT) is None
    assert conversation.received(Status(2, text)) is call
    if receipt == "before" and progress == "started":
        assert call.answer is RECEIPT
    else:
        assert isinstance(call.answer, CallTimeout)
        assert call.answer.progress == progress


def test_answer_that_comes_while_the_server_is_asked_is_the_calls() -> None:
    """It ran; what the server says later changes nothing."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.ask(call, 2)
    assert conversation.received(REPLY) is call
    assert conversation.received(Status(2, '{"call": "unknown"}')) is None
    assert call.answer is REPLY


def test_call_is_unknown_when_the_server_does_not_say_in_time() -> None:
    """Also with a receipt in hand: a withdrawal may have crossed it."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.ask(call, 2)
    conversation.received(RECEIPT)
    conversation.give_up(call)
    assert isinstance(call.answer, CallTimeout)
    assert call.answer.progress == "unknown"
    assert not conversation.is_quiet


@pytest.mark.parametrize(
    ("stage", "quiet"), [("withdrawn", True), ("running", False), ("unknown", False)]
)
@pytest.mark.parametrize("gave_up", [False, True])
def test_reply_of_a_call_that_timed_out_is_still_to_come(
    stage: str, quiet: bool, gave_up: bool
) -> None:
    """A client that closes waits for it, so that it is not reset; one withdrawn has none."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.ask(call, 2)
    if gave_up:
        conversation.give_up(call)
    conversation.received(Status(2, f'{{"call": "{stage}"}}'))
    conversation.done(call)
    assert conversation.is_quiet == quiet
    conversation.received(REPLY)
    assert conversation.is_quiet


def test_nothing_is_to_come_for_an_abandoned_call_that_never_left() -> None:
    """Its request is nowhere."""
    conversation = Conversation()
    conversation.abandon(begun(conversation, left=False))
    assert conversation.is_quiet


def test_end_is_noted_once() -> None:
    """Whoever notes it first says why, and sees to what depends on it."""
    conversation = Conversation()
    assert conversation.note_end("the first")
    assert not conversation.note_end("the second")
    assert conversation.end("the third") == []
    assert conversation.ended == "the first"


def test_forked_child_forgets_the_calls_of_its_parent() -> None:
    """They are answered there."""
    conversation = Conversation()
    call = begun(conversation)
    assert conversation.forget() == [call]
    assert call.answer is None
    assert conversation.end("gone") == []


@pytest.mark.parametrize(("left", "progress"), [(True, "unknown"), (False, "not started")])
def test_end_says_of_each_call_what_is_known(left: bool, progress: Progress) -> None:
    """A request that never left whole never runs."""
    conversation = Conversation()
    call = begun(conversation, left=left)
    assert conversation.end("the server is gone") == [call]
    assert isinstance(call.answer, ServerGone)
    assert call.answer.progress == progress
    assert "the server is gone" in str(call.answer)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("doubtful", [False, True])
def test_call_without_an_answer_has_not_run_when_the_server_says_so_at_its_end(
    left: bool, doubtful: bool
) -> None:
    """Before its goodbye: all that has run, or was refused, has its answer by then."""
    conversation = Conversation()
    call = begun(conversation, left=left)
    told = conversation.received(Failure(0, Reason.NOT_STARTED, text="it ended"))
    assert told == Farewell("it ended")
    conversation.end("the server ended", doubtful)
    error = call.answer
    assert isinstance(error, ServerGone)
    assert error.progress == "not started"
    assert str(error) == "the server ended; the call did not run: start the server again"


def test_receipt_that_came_is_the_answer_of_a_call_that_the_server_was_asked_for() -> None:
    """It was promised to run, and has run when the server says that all is answered."""
    conversation = Conversation()
    promised, other = begun(conversation, 1), begun(conversation, 2)
    for call in (promised, other):
        conversation.ask(call, call.request + 10)
    conversation.received(Receipt(1, 0))
    conversation.received(Failure(0, Reason.NOT_STARTED, text="it ended"))
    conversation.end("the server ended")
    assert promised.answer == Receipt(1, 0)
    assert isinstance(other.answer, CallTimeout)
    assert other.answer.progress == "not started"


def test_end_of_a_call_that_the_server_is_asked_for_is_a_timeout() -> None:
    """Its time was over before the connection was."""
    conversation = Conversation()
    call = begun(conversation)
    conversation.ask(call, 2)
    conversation.end("gone")
    assert isinstance(call.answer, CallTimeout)


WHAT_HAPPENS = ["begin", "left", "reply", "receipt", "expire", "status", "give_up", "end"]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(WHAT_HAPPENS),
        st.integers(1, 4),
        st.sampled_from(["withdrawn", "queued", "running", "unknown"]),
    ),
    max_size=40,
)


@given(STEPS)
def test_calls_end_once_whatever_happens_in_whatever_order(
    steps: list[tuple[str, int, str]],
) -> None:
    """An answer never changes, and after the end nobody is left without one."""
    conversation = Conversation()
    calls: dict[int, Call] = {}
    ended: dict[int, object] = {}
    for step, number, stage in steps:
        call = calls.get(number)
        if step == "begin" and call is None and conversation.ended is None:
            calls[number] = begun(conversation, number, left=False)
        elif step == "left" and call is not None and call.answer is None:
            call.begun = call.left = True
        elif step == "reply":
            conversation.received(Reply(number, b""))
        elif step == "receipt":
            conversation.received(Receipt(number, 0))
        elif step == "expire" and call is not None and not call.asked:
            if conversation.expire(call) is Expiry.ASK:
                conversation.ask(call, 100 + number)
        elif step == "status":
            conversation.received(Status(100 + number, f'{{"call": "{stage}"}}'))
        elif step == "give_up" and call is not None and call.asked:
            conversation.give_up(call)
        elif step == "end":
            for each in conversation.end("gone"):
                conversation.done(each)
        for key, each in calls.items():
            if each.answer is not None:
                assert ended.setdefault(key, each.answer) is each.answer
    conversation.end("gone")
    assert all(call.answer is not None for call in calls.values())


# What is said of a call whose time is over


@pytest.mark.parametrize("stage", list(Stage))
def test_call_whose_time_is_over_is_told_what_its_stage_means(stage: Stage) -> None:
    """Each stage has a progress; an exit that waits is not said to have run."""
    conversation = Conversation(server=Known(address="here:5", pid=77), pid=77)
    call = begun(conversation)
    conversation.ask(call, 2)
    conversation.received(Status(2, stage_text(stage)))
    assert isinstance(call.answer, CallTimeout)
    if stage is Stage.ENDING:
        assert "the server is ending; exit_task has not begun" in str(call.answer)
    keeps_the_server = stage in (Stage.RUNNING, Stage.ENDING)
    assert ("kill() of its handle" in str(call.answer)) is keeps_the_server
    assert ("'kill -9 77' on its machine" in str(call.answer)) is keeps_the_server
    assert call.answer.pid == (77 if keeps_the_server else None)
    ran = "is still running" in str(call.answer)
    assert ran is (stage is Stage.RUNNING)


@pytest.mark.parametrize(
    ("stage", "runs", "said"),
    [
        (Stage.WITHDRAWN, Runs.OTHER, "will not run (a call of another client is running)"),
        (Stage.WITHDRAWN, Runs.INIT, "will not run (init_task is running)"),
        (Stage.QUEUED, Runs.OWN, "will run (another call of this client is running)"),
        (Stage.ENDING, Runs.OTHER, "before has run (a call of another client is running)"),
        (Stage.RUNNING, Runs.EXIT, "exit_task has started and is still running"),
        (Stage.RUNNING, Runs.OWN, "it had started and is still running"),
    ],
)
def test_call_whose_time_is_over_is_told_what_it_waited_behind(
    stage: Stage, runs: Runs, said: str
) -> None:
    """As far as the server says it; older ones don't."""
    conversation = Conversation(server=Known(address="here:5", pid=77), pid=77)
    call = begun(conversation)
    conversation.ask(call, 2)
    conversation.received(Status(2, stage_text(stage, runs)))
    assert said in str(call.answer)


def test_call_that_is_refused_has_its_error_from_the_first_look_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread may look at any time."""
    conversation = Conversation()
    call = begun(conversation)
    seen: list[object] = []
    refused = conversation._refused

    def look(text: str) -> ServerGone:
        seen.append(call.answer)
        return refused(text)

    monkeypatch.setattr(conversation, "_refused", look)
    conversation.received(Failure(call.request, Reason.NOT_STARTED, text="it ends"))
    assert seen == [None]


class Watched(Call):
    """A call whose answer is looked at as soon as it is there."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "answer":
            assert isinstance(value, BgpyError)
            self.seen = str(value), value.progress, value.address, value.pid, value.advice


@pytest.mark.parametrize("stage", list(Stage))
def test_call_whose_time_is_over_has_all_of_its_error_from_the_first_look_on(stage: Stage) -> None:
    """What to do about it too, and whose process it is."""
    conversation = Conversation(server=Known(address="here:5", pid=77), pid=77)
    call = Watched()
    call.left = True
    conversation.begin(call, 1)
    conversation.ask(call, 2)
    conversation.received(Status(2, stage_text(stage)))
    error = call.answer
    assert isinstance(error, CallTimeout)
    assert call.seen == (str(error), error.progress, error.address, error.pid, error.advice)
    assert (error.pid is None) is (stage not in (Stage.RUNNING, Stage.ENDING))


def test_call_that_an_ending_server_refuses_is_told_what_ends_it_at_once() -> None:
    """Also a caller without its handle."""
    conversation = Conversation(server=Known(address="here:5", pid=77), pid=77)
    call = begun(conversation)
    conversation.received(Failure(call.request, Reason.NOT_STARTED, text="it ends"))
    error = call.answer
    assert isinstance(error, ServerGone)
    assert (error.problem, error.progress) == ("it ends", "not started")
    assert (error.address, error.pid) == ("here:5", 77)
    assert "kill() of its handle, or 'kill -9 77' on its machine" in str(error)
