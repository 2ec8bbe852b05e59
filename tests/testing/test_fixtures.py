"""Truths of the fixture for users' tests, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

CONFTEST = 'pytest_plugins = ["bgpy.testing.fixtures"]\n'

TESTS = """
import os
from pathlib import Path
from bgpy import Client, respond

PIDS = Path(__file__).with_name("pids")


def init_task():
    return 1


def exec_task(client_socket, state, args):
    respond(client_socket, state + args["add"])
    return state + args["add"]


def exit_task(client_socket, state, args):
    pass


def test_two(bgpy_server):
    client, handle = bgpy_server(init_task, exec_task, exit_task)
    other, second = bgpy_server(init_task, exec_task, exit_task, host="127.0.0.1", port=0)
    PIDS.write_text(f"{handle.pid} {second.pid}")
    assert (client.call({"add": 1}), other.call({"add": 2})) == (2, 3)
    assert handle.log_file.startswith(os.environ["BGPY_HOME"])
    assert "TOKEN" not in os.environ
    with Client(second.address, token=None) as third:
        assert third.call({"add": 1}) == 4


def test_that_fails(bgpy_server):
    client, handle = bgpy_server(init_task, exec_task, exit_task)
    PIDS.write_text(f"{PIDS.read_text()} {handle.pid}")
    assert client.call({"add": 1}) == 1
"""


def test_fixture_starts_servers_that_end_with_their_test(tmp_path: Path) -> None:
    """Those of a test that fails too; the test shows its own failure and no other."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_users.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "assert 2 == 1" in done.stdout
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    # They have ended; who inherits them may not have taken note yet.
    left = [each.info for each in psutil.process_iter(["pid", "status"]) if each.pid in pids]
    assert all(each["status"] == psutil.STATUS_ZOMBIE for each in left), left
