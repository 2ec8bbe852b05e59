"""Truths of ``bgpy doctor``: what it says of each trouble, and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from bgpy import (
    BgpyError,
    CallTimeout,
    Client,
    Handle,
    NotRunning,
    Server,
    StartupError,
    Unreachable,
    __version__,
    token_create,
)
from bgpy.address import Address, is_loopback_host, parse
from bgpy.api import doctor
from bgpy.cli.commands import program
from bgpy.state import claims, records
from bgpy.state.folders import folder
from bgpy.state.tokens import keep_token
from bgpy.wire.handshake import MAGIC, SERVER_HELLO_SIZE, Refusal
from tests.support.gate import Gate
from tests.support.namespaces import ADDRESSES, two_hosts
from tests.support.peers import insist, wait_until
from tests.support.proxy import Proxy
from tests.support.tasks.counting import TASKS
from tests.support.thief import answer, thief_that

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., tuple[Handle, Client]]

TOKEN = token_create()


@pytest.fixture
def started() -> Iterator[Callable[..., Handle]]:
    """Start a server; takes what `Server` takes."""
    handles: list[Handle] = []

    def start(*args: object, **options: object) -> Handle:
        handles.append(Server(*args, **options).run_background())  # type: ignore[arg-type]
        return handles[-1]

    yield start
    for handle in handles:
        handle.kill()


def _doctor(*args: object, typed: str | None = None) -> Result:
    """Run it here, with `typed` as what stands on its standard input."""
    words = ["doctor", *map(str, args)] + (["-t"] if typed is not None else [])
    return CliRunner().invoke(program, words, input=typed)


def test_doctor_finds_all_well(started: Callable[..., Handle]) -> None:
    """Over each transport, with who answers and what is spoken."""
    for handle, options, spoken in (
        (started(), (), "plain"),
        (started("127.0.0.1", 0), (), "plain"),
        (started("127.0.0.1:0", tls=True), ("--tls",), "TLS, certificate "),
    ):
        done = _doctor(handle.address, *options)
        assert done.exit_code == 0, done.output
        lines = dict(line.split(maxsplit=1) for line in done.output.splitlines())
        recorded = ["started", "log"]
        names = ["address", "token", "server", "client", "spoken", *recorded, "state", "result"]
        assert list(lines) == names
        assert f"in {os.getcwd()}, at 20" in lines["started"]
        assert lines["log"] == handle.log_file
        assert lines["state"] == "it has no tasks yet, runs none now; 0 calls wait, 0 other clients"
        assert lines["address"] == handle.address
        assert lines["token"] == "the one that the server at this address keeps for this account"
        assert f"process {handle.pid}" in lines["server"]
        assert __version__ in lines["server"]
        assert lines["spoken"].startswith(spoken)
        assert lines["result"].startswith("all is well")


@pytest.mark.parametrize("how", ["terminate", "signal"])
def test_doctor_and_a_start_tell_of_a_server_that_is_ending(start: Start, how: str) -> None:
    """It answers, and rejects all calls: 1, and nobody is sent to connect to it."""
    handle, client = start()
    client.initialize(*TASKS)
    with Gate() as gate:
        running = client.submit({"run": gate.passing("done")})
        gate.wait()
        if how == "terminate":
            with pytest.raises(CallTimeout):
                client.terminate(timeout=0.01)
        else:
            os.kill(handle.pid, signal.SIGTERM)
            wait_until(lambda: "SIGTERM received" in _log(handle), "the signal has come")
        done = _doctor(handle.address)
        assert done.exit_code == 1
        assert f"problem   the server at {handle.address} is ending: it rejects" in done.output
        assert f"then process {handle.pid} exits" in done.output
        assert "all is well" not in done.output
        with pytest.raises(StartupError, match="is ending, but has not ended") as caught:
            Server(handle.address).run_background()
        assert (caught.value.pid, caught.value.address) == (handle.pid, handle.address)
        assert caught.value.advice is not None
        assert "connect" not in caught.value.advice.api
        gate.open()
        assert running.result(30) == "done"
    assert handle.wait(30)


def _log(handle: Handle) -> str:
    assert handle.log_file is not None
    return Path(handle.log_file).read_text()


def test_doctor_and_token_show_find_the_own_server_by_another_name(
    started: Callable[..., Handle], free_port: int
) -> None:
    """By the machine's name no token is found; the address is told by which one is."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        pytest.skip("this machine doesn't know its own name")
    started("0.0.0.0", free_port)
    done = _doctor(f"{name}:{free_port}")
    assert done.exit_code == 5
    assert f"own server at 0.0.0.0:{free_port}: use 127.0.0.1:{free_port} here" in done.output
    done = CliRunner().invoke(program, ["token", "show", f"{name}:{free_port}"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"'bgpy token show 0.0.0.0:{free_port}' prints its token" in done.stderr
    shown = CliRunner().invoke(program, ["token", "show", f"0.0.0.0:{free_port}"]).stdout
    assert len(shown.strip()) == 64


def test_doctor_is_a_command_of_its_own(bgpy: Run, started: Callable[..., Handle]) -> None:
    """With the old pair as well; all it finds is on stdout."""
    handle = started("127.0.0.1", 0)
    done = bgpy("doctor", "127.0.0.1", handle.port)
    assert (done.returncode, done.stderr) == (0, "")
    assert "all is well" in done.stdout


def test_doctor_finds_that_nothing_runs_there(free_port: int) -> None:
    """3, and what starts a server there."""
    done = _doctor(f"127.0.0.1:{free_port}")
    assert done.exit_code == 3
    assert f"problem   nothing runs at 127.0.0.1:{free_port}" in done.output
    assert f"bgpy server 127.0.0.1:{free_port}" in done.output


def test_doctor_finds_that_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """4, when its time is over; with TLS as without."""
    monkeypatch.setattr(doctor, "TIME", 0.2)
    with thief_that(partial(answer, data=b"")) as port:
        for options in ((), ("--tls",)):
            done = _doctor(f"127.0.0.1:{port}", *options)
            assert done.exit_code == 4
            assert "did not answer in time" in done.output
            assert "may be stopped or hang" in done.output
            assert f"sport = :{port}" in done.output


@pytest.mark.parametrize("tls", [False, True])
def test_doctor_finds_another_program(tls: bool) -> None:
    """4, with what it looks like, and how to find who it is."""
    with thief_that(partial(answer, data=b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        done = _doctor(f"127.0.0.1:{port}", *(["--tls"] if tls else []))
    assert done.exit_code == 4
    assert "not a bgpy server" in done.output
    assert f"sport = :{port}" in done.output


def test_doctor_finds_a_server_that_speaks_tls_only(started: Callable[..., Handle]) -> None:
    """4, with the option that is missing; and the other way round."""
    done = _doctor(started("127.0.0.1:0", tls=True).address)
    assert done.exit_code == 4
    assert "use --tls here" in done.output
    assert "Another program" not in done.output
    done = _doctor(started("127.0.0.1:0").address, "--tls")
    assert done.exit_code == 4
    assert "leave --tls out here" in done.output
    assert "Another program" not in done.output


def test_doctor_tells_which_token_is_right(
    started: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """5, and what to leave out where the right one is known; the server's log names the peer."""
    handle = started("127.0.0.1:0")
    assert "leave --token out" in _doctor(handle.address, typed="some other\n").output
    monkeypatch.setenv("BGPY_TOKEN", "some other")
    done = _doctor(handle.address)
    assert (done.exit_code, "Unset BGPY_TOKEN" in done.output) == (5, True), done.output
    assert handle.log_file is not None
    log = Path(handle.log_file)
    said = "its token is wrong or missing"
    wait_until(lambda: log.read_text().count(said) == 2, "the server has said it")
    assert re.search(
        r"WARNING bgpy.server: 127.0.0.1:\d+ client -: .*" + said,
        log.read_text(),
    )
    assert "some other" not in log.read_text()


def test_doctor_tells_how_the_last_server_there_ended(
    started: Callable[..., Handle], free_port: int
) -> None:
    """3, with its log's last line: killed, or ended in order; on all interfaces as well."""
    for host, kill in (("127.0.0.1", True), ("127.0.0.1", False), ("0.0.0.0", True)):
        handle = started(host, free_port)
        if kill:
            psutil.Process(handle.pid).kill()
        else:
            handle.stop()
        assert handle.wait(30)
        done = _doctor(f"127.0.0.1:{free_port}")
        assert done.exit_code == 3
        facts = dict(line.split("  ", 1) for line in done.output.splitlines() if line[:1].strip())
        assert handle.log_file is not None
        assert facts["log"].strip() == handle.log_file
        assert f"at {host}:{free_port};" in facts["last"]
        assert (f"process {handle.pid} was killed or crashed" in facts["last"]) is kill
        assert ("the server has ended" in facts["log ends"]) is not kill


FAILING = """
def init_task(): pass
def exec_task(client_socket, state, args): pass
def exit_task(client_socket, state, args): raise LookupError("no\\ntable")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("foreground", [True, False])
def test_failed_exit_task_is_told_by_doctor_and_by_the_exit_code(
    free_port: int, foreground: bool, tmp_path: Path
) -> None:
    """Nobody who reads that it ended in order should think that all was saved."""
    place, init_file = f"127.0.0.1:{free_port}", tmp_path / "failing_tasks.py"
    init_file.write_text(FAILING)
    if foreground:
        command = [sys.executable, "-m", "bgpy", "server", place, "-i", str(init_file)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        *_, last = process.communicate()[1].splitlines()
        assert last == (
            "bgpy: exit_task raised LookupError: no table; the server has ended all the same"
        )
        assert process.returncode == 1
    else:
        handle = Server(place, init_file=init_file).run_background()
        os.kill(handle.pid, signal.SIGTERM)
        assert handle.wait(30)
    name = "SIGINT" if foreground else "SIGTERM"
    said = f"it ended with a failed exit_task at 20.*: it received {name}; exit_task raised .*"
    output = _doctor(place).output
    assert re.search(f"{said}LookupError: no table$", output, re.MULTILINE), output


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("foreground", [False, True])
@pytest.mark.parametrize("how", ["client", "signal", "second signal"])
def test_doctor_says_how_a_server_ended_as_it_was(
    free_port: int, foreground: bool, how: str, tmp_path: Path
) -> None:
    """In order, and who asked for it, or at once; that it isn't in the log doesn't matter."""
    place = f"127.0.0.1:{free_port}"
    with Gate() as gate:
        if foreground:
            command = [sys.executable, "-m", "bgpy", "server", place, "-l", "CRITICAL"]
            process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
            wait_until(lambda: records.find(parse(place)) is not None, "it is there")
            pid, ended = process.pid, lambda: process.wait(30) is not None
        else:
            handle = Server(place, log_level="CRITICAL").run_background()
            pid, ended = handle.pid, lambda: handle.wait(30)
        try:
            with Client(place) as client:
                client.initialize(*TASKS)
                if how == "client":
                    client.terminate()
                elif how == "signal":
                    os.kill(pid, signal.SIGTERM)
                else:
                    running = client.submit({"run": gate.passing("done")})
                    gate.wait()
                    os.kill(pid, signal.SIGINT)
                    wait_until(lambda: "is ending" in _doctor(place).output, "the first has come")
                    insist(pid, running.done)
                    assert isinstance(running.exception(30), BgpyError)
            assert ended()
        finally:
            psutil.pid_exists(pid) and psutil.Process(pid).kill()
    done = _doctor(place)
    said = {
        "client": r"it ended in order at 20\d\d-.*: a client asked it to",
        "signal": r"it ended in order at 20\d\d-.*: it received SIGTERM",
        "second signal": r"it ended at once at 20\d\d-.*: by a second signal, SIGTERM",
    }[how]
    assert done.exit_code == 3
    assert re.search(said + "$", done.output, re.MULTILINE), done.output
    assert re.search("^started   .*, at 20", done.output, re.MULTILINE), done.output
    assert "crashed" not in done.output
    assert records.find_dead(parse(place)) is None


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_doctor_quotes_the_line_that_names_the_crash(
    started: Callable[..., Handle], free_port: int
) -> None:
    """Not the last one of what faulthandler writes, which lists modules."""
    handle = started("127.0.0.1", free_port)
    os.kill(handle.pid, signal.SIGSEGV)
    assert handle.wait(30)
    with open(str(handle.log_file), "a") as log:
        log.write("Extension modules: numpy.core._multiarray_umath\n")
    done = _doctor(handle.address)
    assert "log ends  Fatal Python error: Segmentation fault\n" in done.output, done.output


def test_doctor_names_the_init_file_that_the_command_line_was_given(
    free_port: int, tmp_path: Path
) -> None:
    """And the log by its whole path: who asks is in another folder."""
    place = f"127.0.0.1:{free_port}"
    (tmp_path / "own_tasks.py").write_text(
        "def init_task(): pass\n"
        "def exec_task(client_socket, state, args): pass\n"
        "def exit_task(client_socket, state, args): pass\n"
    )
    options = ("-i", "own_tasks.py", "-f", "own.log")
    command = [sys.executable, "-m", "bgpy", "server", place, *options]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: records.find(parse(place)) is not None, "it is there")
        done = _doctor(place)
    finally:
        process.kill()
        process.wait(30)
    folder = os.path.realpath(tmp_path)
    assert f"started   {os.path.join(folder, 'own_tasks.py')}, in {folder}, at 20" in done.output
    assert f"log       {os.path.join(folder, 'own.log')}\n" in done.output
    assert "__main__" not in done.output


def test_doctor_advises_what_started_the_last_server(free_port: int, tmp_path: Path) -> None:
    """A server without its tasks would be of no use to the script."""
    init_file, script = tmp_path / "own tasks.py", tmp_path / "run.py"
    place = Address("127.0.0.1", free_port)
    record = records.Record.of_this_process(
        place, b"", "1", init_file=str(init_file), script=str(script)
    )
    claim = claims.claim(place)
    claim.write(record, None)
    claim.release("ended in order")
    done = _doctor(place)
    assert f"Run what started it again: {script} (it ran in {os.getcwd()})" in done.output
    assert f"bgpy server {place} -i '{init_file}'" in done.output
    assert f"'bgpy server {place}' starts a server there" not in done.output


def test_doctor_names_the_tunnel_where_the_token_is_of_a_server_elsewhere(free_port: int) -> None:
    """On loopback, with a token that 'bgpy add' kept: the tunnel is closed."""
    keep_token(("127.0.0.1", free_port), TOKEN)
    done = _doctor(f"127.0.0.1:{free_port}")
    assert done.exit_code == 3
    assert f"open it again, such as 'ssh -L {free_port}:127.0.0.1:{free_port} HOST'" in done.output
    with pytest.raises(NotRunning, match="a tunnel probably led to the server: open it again"):
        Client(f"127.0.0.1:{free_port}").ping()
    with pytest.raises(NotRunning) as caught:
        Client(f"127.0.0.1:{free_port}", token=TOKEN).ping()
    assert "tunnel" not in str(caught.value)


def test_doctor_tells_of_the_last_server_here_before_it_tells_of_a_tunnel(free_port: int) -> None:
    """A token that was kept for the address says little where a server of one's own has run."""
    place = Address("127.0.0.1", free_port)
    claim = claims.claim(place)
    claim.write(records.Record.of_this_process(place, b"", "1", script="/here/run.py"), None)
    claim.release("failed to start: no weights")
    keep_token(place, TOKEN)
    output = _doctor(place).output
    assert "the last server there is gone: it failed to start: no weights" in output
    again = output.index("Run what started it again: /here/run.py")
    assert again < output.index(f"such as 'ssh -L {free_port}:127.0.0.1:{free_port} HOST'")


def test_doctor_puts_away_what_dead_servers_left_and_tells_of_it(
    started: Callable[..., Handle], free_port: int
) -> None:
    """Those at other addresses too; once."""
    handle = started("127.0.0.1", 0)
    psutil.Process(handle.pid).kill()
    assert handle.wait(30)
    place = folder(handle.host, handle.port)
    assert Path(place.token).exists()
    done = _doctor(f"127.0.0.1:{free_port}")
    gone = f"at {handle.address}: its process {handle.pid} was killed or crashed"
    assert f"removed   record and token of the server {gone}" in done.output
    assert not Path(place.token).exists()
    assert not Path(place.record).exists()
    assert "removed" not in _doctor(f"127.0.0.1:{free_port}").output
    assert gone.split(": ")[1] in _doctor(handle.address).output


def test_server_that_starts_puts_away_what_dead_ones_left(
    started: Callable[..., Handle],
) -> None:
    """Wherever they were: with a record there runs a server, but for the moments between."""
    first = started("127.0.0.1", 0)
    psutil.Process(first.pid).kill()
    assert first.wait(30)
    started("127.0.0.1", 0)
    place = folder(first.host, first.port)
    assert not Path(place.token).exists()
    assert not Path(place.record).exists()


def test_doctor_blames_nobody_for_a_server_that_ended_with_its_machine(
    started: Callable[..., Handle], free_port: int
) -> None:
    """The record is of another boot; what it says of the process means nothing any more."""
    handle = started("127.0.0.1", free_port)
    psutil.Process(handle.pid).kill()
    assert handle.wait(30)
    path = Path(folder("127.0.0.1", free_port).record)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "boot_id": "5e" * 16}))
    done = _doctor(handle.address)
    assert done.exit_code == 3
    assert f"process {handle.pid}) ran before this machine was last started" in done.output
    assert "crashed" not in done.output


def test_doctor_tells_of_a_server_that_is_just_starting(free_port: int) -> None:
    """3: its process has the address, and listens there soon."""
    place = Address("127.0.0.1", free_port)
    claim = claims.claim(place)
    try:
        claim.write(records.Record.of_this_process(place, b"", "1"), None)
        done = _doctor(place)
    finally:
        claim.release()
    assert done.exit_code == 3
    assert f"process {os.getpid()} still runs" in done.output


def test_doctor_finds_a_wrong_token(
    started: Callable[..., Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """5, whether it was typed, kept, of the environment or not there, and where it is from."""
    handle = started("127.0.0.1:0", token=TOKEN)
    place = (handle.host, handle.port)
    assert "none is known" in _fails_with_5(_doctor(handle.address))
    assert "was given" in _fails_with_5(_doctor(handle.address, typed="mistaken\n"))
    keep_token(place, "mistaken")
    assert "kept" in _fails_with_5(_doctor(handle.address))
    monkeypatch.setenv("BGPY_TOKEN", "mistaken")
    assert "BGPY_TOKEN" in _fails_with_5(_doctor(handle.address))
    assert _doctor(handle.address, typed=f"{TOKEN}\n").exit_code == 0


def _fails_with_5(done: Result) -> str:
    """The line about the token."""
    assert done.exit_code == 5, done.output
    assert "bgpy add" in done.output
    assert "mistaken" not in done.output
    return done.output.splitlines()[1]


def test_doctor_finds_another_version() -> None:
    """1, with both versions and the way out."""
    refusal = MAGIC + bytes((0, 9, 9, Refusal.VERSION)) + bytes(SERVER_HELLO_SIZE - 12)
    with thief_that(partial(answer, data=refusal)) as port:
        done = _doctor(f"127.0.0.1:{port}", typed="some token\n")
    assert done.exit_code == 1
    assert "version 9 of the protocol" in done.output
    assert "pip install --upgrade bgpy" in done.output


def test_doctor_finds_a_name_that_nobody_has() -> None:
    """4."""
    done = _doctor("no-such-host.invalid:5")
    assert done.exit_code == 4
    assert "can't be resolved" in done.output
    assert "firewall" not in done.output.lower()
    assert "tunnel" not in done.output
    assert "hosts file" in done.output


def test_doctor_takes_each_notation_and_refuses_what_is_none() -> None:
    """2, as any wrong usage."""
    for args in (("127.0.0.1",), ("unix:x",), ("unix:/x", "5"), ("::1:5",), ("box", "65536")):
        assert _doctor(*args).exit_code == 2, args
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    assert _doctor(f"[::1]:{port}").exit_code == _doctor("::1", port).exit_code == 3


def test_doctor_refuses_tls_where_there_is_none(tmp_path: Path) -> None:
    """A Unix socket speaks none: that is a mistake in the command."""
    done = _doctor(f"unix:{tmp_path}/x", "--tls")
    assert done.exit_code == 2
    assert "leave --tls out" in done.output


def test_doctor_names_the_web_server_that_has_the_port() -> None:
    """Also one that answers with a bare page, as Python's own does; other text is told as text."""
    for first, said in (
        (b"<!DOCTYPE HTML>\n<html>", "this looks like HTTP"),
        (b"220 mail.example\r\n", "its first bytes are '220 mail'"),
        (b"\x00\x01\x02\x03\x04\x05\x06\x07", "its first bytes are 00 01 02"),
    ):
        with thief_that(partial(answer, data=first)) as port:
            done = _doctor(f"127.0.0.1:{port}")
        assert done.exit_code == 4
        assert said in done.output, done.output


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces of Linux")
def test_doctor_finds_a_port_that_drops_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """4, with the firewall; and where there is no way at all, none is blamed."""
    monkeypatch.setattr(doctor, "TIME", 0.5)
    with two_hosts("tun") as (near, _, cable):
        place = f"{ADDRESSES[1]}:4711"
        refused = near.inside(lambda: _doctor(place))
        assert refused.exit_code == 3, refused.output
        assert "A firewall that rejects says the same" in refused.output
        cable.set(1.0, 0.0)
        dropped = near.inside(lambda: _doctor(place))
        assert (dropped.exit_code, "no answer in time" in dropped.output) == (4, True)
        assert "sudo ufw allow 4711/tcp" in dropped.output
        nowhere = near.inside(lambda: _doctor("192.0.2.77:4711"))
        assert (nowhere.exit_code, "ufw" in nowhere.output) == (4, False)
        assert "no way to that network" in nowhere.output


def test_doctor_finds_a_forwarder_to_a_server_that_speaks_no_tls(
    started: Callable[..., Handle],
) -> None:
    """4: from other machines TLS is spoken, which a server on loopback doesn't take."""
    found = [each for some in psutil.net_if_addrs().values() for each in some]
    own = [each.address for each in found if each.family == socket.AF_INET]
    outer = next((each for each in own if not is_loopback_host(each)), None)
    if outer is None:
        pytest.skip("this machine has no address but loopback")
    handle = started("127.0.0.1:0")
    forwarder = Proxy(("127.0.0.1", handle.port), place=(outer, 0))
    try:
        done = _doctor(f"{outer}:{forwarder.port}")
    finally:
        forwarder.close()
    assert done.exit_code == 4
    assert "speaks only if it was started with --tls" in done.output, done.output


@pytest.mark.skipif(sys.platform != "linux", reason="signals, and a C library to sleep in")
@pytest.mark.parametrize("how", ["stopped", "holds the GIL"])
def test_doctor_names_the_process_of_the_own_server_that_does_not_answer(
    start: Start, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4, with pid, start and log from its record, and what helps: all that is left to do."""
    monkeypatch.setattr(doctor, "TIME", 0.3)
    handle, client = start()
    if how == "stopped":
        os.kill(handle.pid, signal.SIGSTOP)
        advice = f"'kill -CONT {handle.pid}' lets its process run on"
    else:
        client.initialize(*TASKS)
        sleep = "print('asleep', flush=True), __import__('ctypes').PyDLL(None).sleep(60)"
        client.execute({"run": partial(eval, sleep)})
        wait_until(lambda: "asleep" in _log(handle), "it holds the GIL")
        advice = f"'kill -9 {handle.pid}' ends it at once"
    done = _doctor(handle.address)
    assert done.exit_code == 4
    assert re.search(rf"^process   {handle.pid}\b", done.output, re.MULTILINE), done.output
    assert re.search(rf"^started   .*in {os.getcwd()}, at 20", done.output, re.MULTILINE)
    assert f"log       {handle.log_file}" in done.output
    assert advice in done.output
    assert "bgpy doctor" not in done.output
    with Client(handle.address, connect_timeout=0.3) as late, pytest.raises(Unreachable) as caught:
        late.ping()
    assert f"'kill -9 {handle.pid}' ends it at once, without exit_task" in str(caught.value)
    assert caught.value.pid == handle.pid
    handle.kill()


def test_doctor_tells_of_the_own_server_whose_token_is_nowhere(
    started: Callable[..., Handle],
) -> None:
    """5: it was given one; a shell without BGPY_TOKEN still learns which server that is."""
    handle = started("127.0.0.1:0", token=TOKEN)
    done = _doctor(handle.address)
    assert done.exit_code == 5
    assert f"process   {handle.pid}: bgpy" in done.output
    assert f"log       {handle.log_file}" in done.output
    assert "It was given its token" in done.output


def test_doctor_tells_of_the_last_server_where_another_program_has_its_port(
    started: Callable[..., Handle], free_port: int
) -> None:
    """4: a crash freed the port, and something else took it."""
    handle = started("127.0.0.1", free_port)
    psutil.Process(handle.pid).kill()
    assert handle.wait(30)
    with thief_that(partial(answer, data=b"HTTP/1.1 400 Bad Request\r\n\r\n"), free_port):
        done = _doctor(handle.address)
    assert done.exit_code == 4
    assert f"process {handle.pid} was killed or crashed" in done.output
    assert f"log       {handle.log_file}" in done.output


STARTS = """
import signal, sys
from bgpy import Server
signal.signal(signal.SIGINT, signal.default_int_handler)  # else a shell may ignore it
Server(sys.argv[1], init_file=sys.argv[2], log_file=sys.argv[3]).run_background()
"""

WAITS = """
import pathlib, time
def init_task():
    print("loading", flush=True)
    while not pathlib.Path(__file__).with_suffix(".go").exists(): time.sleep(0.01)
def exec_task(client_socket, state, args): pass
def exit_task(client_socket, state, args): pass
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number", ["SIGINT", "SIGKILL"])
def test_doctor_tells_of_a_start_that_was_interrupted(
    free_port: int, tmp_path: Path, number: str
) -> None:
    """3: by Ctrl-C, or by the end of the script that had started it."""
    place, init_file, log = f"127.0.0.1:{free_port}", tmp_path / "slow.py", tmp_path / "log"
    init_file.write_text(WAITS)
    script = tmp_path / "script.py"
    script.write_text(STARTS)
    command = [sys.executable, str(script), place, str(init_file), str(log)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as starter:
        wait_until(lambda: log.exists() and "loading" in log.read_text(), "init_task runs")
        starter.send_signal(signal.Signals[number])
    init_file.with_suffix(".go").touch()
    wait_until(lambda: "last      " in _doctor(place).output, "the server has ended")
    wait_until(lambda: "still runs" not in _doctor(place).output, "the server has ended")
    output = _doctor(place).output
    assert re.search("; it (was )?ended before it was ready at 20.*: the program that", output)
    assert f"started   {script}, in " in output
    assert f"Run what started it again: {script}" in output
    assert f"-i {init_file}' starts a server with its init file" in output


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_crash_of_a_foreground_server_is_read_in_its_log(free_port: int, tmp_path: Path) -> None:
    """As under nohup, whose file has standard error: where its errors and doctor send one."""
    place, log = f"127.0.0.1:{free_port}", tmp_path / "log"
    command = [sys.executable, "-m", "bgpy", "server", place, "-f", str(log)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "listening" in process.stderr.readline()
        process.send_signal(signal.SIGSEGV)
        assert "Fatal Python error" not in process.communicate()[1]
    assert "Fatal Python error: Segmentation fault" in log.read_text()
    said = "(its log says that it crashed: Segmentation fault (SIGSEGV))"
    assert said in _doctor(place).output
    first = log.read_text().splitlines()[0]
    assert re.fullmatch(r"20\S+ \S+,\d{3} INFO bgpy.server: a server begins, process \d+.*", first)
