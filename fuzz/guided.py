"""``python -m fuzz.guided TARGET [libFuzzer's options]``: one target, guided by its coverage."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["bgpy"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
