"""``python -m fuzz``: run the targets for a set time; an exit code other than 0 is a find."""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import logging
import resource
import subprocess
import sys
import time
from pathlib import Path

from fuzz.corpus import CORPORA
from fuzz.targets import TARGETS

HANG = 5
"""Seconds after which an input has hung."""
GROWTH = 64
"""MiB by which a target may grow while it is run."""


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help="which; all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all of them together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"), help="what is kept")
    options = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None
    print("guided by coverage" if guided else "atheris is not installed: by hypothesis", flush=True)
    seconds = options.seconds / len(options.targets)
    found = [
        name
        for name in options.targets
        if not (_guided if guided else _by_hypothesis)(name, seconds, options.seed, options.corpus)
    ]
    sys.exit(f"defects in: {', '.join(found)}" if found else 0)


def _guided(name: str, seconds: float, seed: int, corpus: Path) -> bool:
    folder, finds = corpus / name, corpus / "finds"
    for each in (folder, finds):
        each.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(CORPORA[name]):
        (folder / f"honest-{number}").write_bytes(data)
    command = [sys.executable, "-m", "fuzz.guided", name, str(folder)]
    command += [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed}", f"-timeout={HANG}"]
    command += [f"-artifact_prefix={finds}/{name}-", "-max_len=4096", "-rss_limit_mb=1024"]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = (run.stdout + run.stderr).splitlines()
    done = next((line for line in reversed(lines) if line.startswith("Done ")), "")
    print(f"{name:18} {done or 'a find'}", flush=True)
    if run.returncode:
        print("\n".join(lines[-40:]), flush=True)
    return run.returncode == 0


def _by_hypothesis(name: str, seconds: float, seed: int, corpus: Path) -> bool:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    from fuzz.inputs import inputs

    count, end = 0, time.monotonic() + seconds
    logging.disable(logging.WARNING)

    def each(data: bytes) -> None:
        nonlocal count
        count += 1
        faulthandler.dump_traceback_later(HANG, exit=True)
        TARGETS[name](data)
        faulthandler.cancel_dump_traceback_later()

    options = settings(
        max_examples=1000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    peak = None
    while time.monotonic() < end:
        seeded(seed)(options(given(inputs(name))(each)))()
        seed += 1
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        peak = now if peak is None else peak
        if now - peak > GROWTH:
            print(f"{name}: grew by {now - peak} MiB", flush=True)
            return False
    print(f"{name:18} {count} inputs", flush=True)
    return True


if __name__ == "__main__":
    main()
