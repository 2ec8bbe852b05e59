"""What a server answered, as a value or as the exception to raise."""

from __future__ import annotations

import pytest

from bgpy import errors
from bgpy.calling.results import _ERRORS, about, value_of
from bgpy.wire.messages import Failure, Pong, Reason, Receipt, ReceiptCode


def test_every_reason_but_the_task_s_own_has_its_error() -> None:
    """One that a later version adds is told in words, as a `RemoteError`.

    What an ending server refuses has its own in `bgpy.calling.conversation`.
    """
    ours = {Reason.NOT_STARTED, Reason.TASK, Reason.KEEPS_SERVING}
    assert {*_ERRORS, *ours} == set(Reason)
    with pytest.raises(errors.RemoteError, match="why"):
        value_of(Failure(1, 250, text="why"), "EXEC")


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.NOT_INITIALIZED, errors.NotInitialized),
        (Reason.NO_RESPONSE, errors.NoResponse),
        (Reason.PROTOCOL, errors.RemoteProtocolError),
        (Reason.TOO_LARGE, errors.MessageTooLarge),
        (Reason.DECODE, errors.DecodeError),
        (Reason.PYTHON, errors.PythonMismatch),
        (Reason.CODEC, errors.EncodeError),
        (Reason.OVERLOAD, errors.ServerOverloaded),
        (Reason.CALLING_SELF, errors.CallingSelf),
        (Reason.UNSUPPORTED, errors.RemoteProtocolError),
        (Reason.DROPPED, errors.NoResponse),
    ],
)
def test_failure_of_bgpy_is_the_error_of_its_reason(
    reason: Reason, kind: type[errors.BgpyError]
) -> None:
    """It is about this call, so it isn't marked as a task's."""
    with pytest.raises(kind, match="why") as caught:
        value_of(Failure(1, reason, text="why"), "EXEC")
    assert not caught.value.remote


def test_receipt_says_what_was_received() -> None:
    """As in 0.3.1."""
    assert value_of(Receipt(1, ReceiptCode.RECEIVED), "EXEC") == {"message": "Received 'EXEC'"}
    assert value_of(Receipt(1, ReceiptCode.INITIALIZED), "INIT") == {
        "message": "Initialization successful."
    }


def test_end_of_a_call_is_raised_as_it_is() -> None:
    """With what is known."""
    error = errors.ServerGone("gone", progress="unknown")
    with pytest.raises(errors.ServerGone) as caught:
        value_of(error, "EXEC")
    assert caught.value is error


def test_answer_of_another_kind_is_a_mistake_of_the_server() -> None:
    """Whatever it is."""
    with pytest.raises(errors.RemoteProtocolError, match="Pong"):
        value_of(Pong(1), "EXEC")


def test_error_of_a_call_is_about_its_server_unless_it_is_about_another() -> None:
    """What a task raised is about what the task did; what isn't bgpy's is as it was."""
    of_task, own = errors.CallTimeout("there"), ValueError("mine")
    of_task.remote = True
    assert about(errors.NoResponse("none"), "box:1").address == "box:1"
    assert about(errors.NotRunning("nothing", address="box:2"), "box:1").address == "box:2"
    assert about(of_task, "box:1").address is None
    assert vars(about(own, "box:1")) == {}
