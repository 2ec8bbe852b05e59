"""Warns if the system will end a background server together with its starter.

A session and a process group of its own protect a server from its terminal, but not from a
batch system that ends all processes of a job, nor from logind if it is configured to end
all processes of a login session. The warning says what to do.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping

_BATCH_JOBS = {
    "SLURM_JOB_ID": "Slurm",
    "PBS_JOBID": "PBS",
    "LSB_JOBID": "LSF",
}

_LOGIND_FILES = ("/etc/systemd/logind.conf", "/etc/systemd/logind.conf.d")
_LINGER = "/var/lib/systemd/linger"


def warn_of_end() -> None:
    """Warn (`RuntimeWarning`) if a server started here can't outlive its surroundings."""
    reason = batch_job(os.environ) or logind_session(os.environ, _LOGIND_FILES, _LINGER)
    if reason is not None:
        warnings.warn(reason, RuntimeWarning, stacklevel=4)


def batch_job(environ: Mapping[str, str]) -> str | None:
    """What to say where a batch job ends all its processes; None elsewhere."""
    for variable, system in _BATCH_JOBS.items():
        if variable in environ:
            return (
                f"this is a {system} job ({variable}={environ[variable]}): the server ends "
                "when the job ends; start it outside the job to keep it running"
            )
    return None


def logind_session(
    environ: Mapping[str, str], settings: tuple[str, ...], linger: str
) -> str | None:
    """What to say where logind ends all processes of a login session; None elsewhere."""
    if "XDG_SESSION_ID" not in environ or not any(map(_kills, settings)):
        return None
    user = environ.get("USER", "")
    if user and os.path.exists(os.path.join(linger, user)):
        return (
            "logind ends all processes of this login session at logout (KillUserProcesses=yes): "
            "start the program with 'systemd-run --user --scope' to keep the server running"
        )
    return (
        "logind ends all processes of this login session at logout (KillUserProcesses=yes): run "
        "'loginctl enable-linger' once, and start the program with 'systemd-run --user --scope'"
    )


def _kills(path: str) -> bool:
    """Whether a file of logind's settings, or one in a folder of them, says so."""
    if os.path.isdir(path):
        return any(_kills(os.path.join(path, name)) for name in sorted(os.listdir(path)))
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.replace(" ", "").strip().lower() for line in file]
    except OSError:
        return False
    return any(f"killuserprocesses={yes}" in lines for yes in ("yes", "true", "1", "on"))
