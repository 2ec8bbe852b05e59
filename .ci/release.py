"""``python .ci/release.py TAG REPOSITORY``: fails unless a release may be made of this commit.

The tag has to be ``v`` and the version, the changelog has to tell of it, and the links of the
package have to lead to the repository that it is published from.
"""

from __future__ import annotations

import runpy
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def faults(tag: str, repository: str) -> list[str]:
    """What keeps this commit from being released."""
    version = str(runpy.run_path(str(ROOT / "src/bgpy/version.py"))["__version__"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = []
    if tag != f"v{version}":
        found.append(f"the tag is {tag}, and the version {version}")
    if f"\n## [{version}]" not in changes:
        found.append(f"CHANGELOG.md has no section [{version}]")
    found += [
        f"the link {name} leads to {link}, not into {repository}"
        for name, link in project["urls"].items()
        if link != repository and not link.startswith(f"{repository}/")
    ]
    return found


if __name__ == "__main__":
    found = faults(*sys.argv[1:])
    sys.exit("\n".join(found))
