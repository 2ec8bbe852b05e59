"""The order of the test files where several run at once: the longest begin first.

Each file is one worker's, so a long one that began last would run alone at the end.
"""

from __future__ import annotations

LONGEST = (
    "endurance/test_strikes.py",
    "serving/io/test_polling_role.py",
    "api/test_interrupted_threads.py",
    "api/test_transports.py",
    "api/test_program_ends.py",
    "chaos/test_faulty_network.py",
    "api/test_deadlines.py",
    "serving/sessions/test_outflow_strikes.py",
    "hostile/test_floods.py",
    "api/test_submit.py",
    "chaos/test_tasks_gone_wrong.py",
    "api/test_backpressure.py",
    "api/test_late_imports.py",
    "testing/test_running.py",
    "cli/test_commands.py",
)
"""Of all, within `tests`; the others follow as they are found."""

_PLACES = {f"tests/{file}": place for place, file in enumerate(LONGEST)}


def place(test: str) -> int:
    """Where the test of an id comes: the lower, the earlier."""
    return _PLACES.get(test.partition("::")[0], len(LONGEST))
