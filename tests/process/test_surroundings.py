"""Where a server can't outlive its starter, starting it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpy.process.surroundings import batch_job, logind_session, warn_of_end


@pytest.mark.parametrize(
    ("variable", "system"),
    [("SLURM_JOB_ID", "Slurm"), ("PBS_JOBID", "PBS"), ("LSB_JOBID", "LSF")],
)
def test_batch_job_is_named_when_inside_one(variable: str, system: str) -> None:
    """The warning names the batch system and its job."""
    reason = batch_job({variable: "417"})
    assert reason is not None
    assert system in reason
    assert "417" in reason


def test_batch_job_says_nothing_when_outside() -> None:
    """No batch system, no warning."""
    assert batch_job({"PATH": "/bin"}) is None


@pytest.mark.parametrize(
    ("setting", "warns"),
    [
        ("KillUserProcesses=yes", True),
        ("KillUserProcesses = true", True),
        ("#KillUserProcesses=yes", False),
        ("KillUserProcesses=no", False),
        ("", False),
    ],
)
def test_logind_session_warns_only_when_it_kills(tmp_path: Path, setting: str, warns: bool) -> None:
    """Only a setting in force counts, in the file or in a folder of files."""
    folder = tmp_path / "logind.conf.d"
    folder.mkdir()
    (folder / "10-site.conf").write_text(f"[Login]\n{setting}\n")
    session = {"XDG_SESSION_ID": "3", "USER": "ada"}
    reason = logind_session(session, (str(tmp_path / "none"), str(folder)), str(tmp_path))
    assert (reason is not None) == warns
    assert logind_session({}, (str(folder),), str(tmp_path)) is None


def test_logind_session_advises_lingering_unless_it_is_on(tmp_path: Path) -> None:
    """Who lingers already is told only to start in a scope of their own."""
    conf = tmp_path / "logind.conf"
    conf.write_text("[Login]\nKillUserProcesses=yes\n")
    session = {"XDG_SESSION_ID": "3", "USER": "ada"}
    without = logind_session(session, (str(conf),), str(tmp_path / "linger"))
    assert without is not None
    assert "enable-linger" in without
    (tmp_path / "linger").mkdir()
    (tmp_path / "linger" / "ada").touch()
    having = logind_session(session, (str(conf),), str(tmp_path / "linger"))
    assert having is not None
    assert "enable-linger" not in having


def test_warn_of_end_warns_when_in_a_batch_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a server inside a batch job warns."""
    monkeypatch.setenv("PBS_JOBID", "9")
    with pytest.warns(RuntimeWarning, match="PBS job"):
        warn_of_end()
