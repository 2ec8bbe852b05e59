"""What the process of a background server tells its launcher when it can't start."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpy import Server
from bgpy.errors import StartupError


def test_failure_crosses_the_pipe_with_all_that_is_known(tmp_path: Path) -> None:
    """The advice in both wordings, the process that failed, and no log that it never had."""
    with pytest.raises(StartupError) as caught:
        Server("127.0.0.1", 0, certfile=tmp_path / "none.pem").run_background()
    error = caught.value
    assert error.problem.startswith("the server could not start: a certificate was given")
    assert error.advice is not None
    assert (error.advice.api, error.advice.cli) == (
        "give tls=True as well, or leave certfile out",
        "give --tls as well, or leave --certfile out",
    )
    assert error.pid
    assert error.printed == ()


def test_failure_of_the_init_file_quotes_what_was_printed(tmp_path: Path) -> None:
    """The last lines of the log follow the problem, and the log is named."""
    init_file, log = tmp_path / "failing.py", tmp_path / "log"
    init_file.write_text(
        "def init_task(): print('so far'); raise ValueError('no model')\n"
        "def exec_task(sock, state, args): pass\ndef exit_task(sock, state, args): pass\n"
    )
    with pytest.raises(StartupError) as caught:
        Server("127.0.0.1", 0, log_file=log, init_file=init_file).run_background()
    error = caught.value
    assert error.problem.endswith("init_task failed: ValueError: no model")
    assert error.log_file == str(log)
    assert any("so far" in line for line in error.printed)
    assert str(error).endswith(error.printed[-1])
