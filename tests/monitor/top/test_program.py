"""scaler_top as a process: on terminals that answer nothing, into pipes, and with whatever it is given."""

import json
import os
import re
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest

from scaler.monitor.codec import encode
from scaler.monitor.recording import Recorder, Recording
from tests.entry_points.commands import run
from tests.monitor.pretended import PretendedCluster
from tests.monitor.top.pty_terminal import PtyTerminal
from tests.monitor.top.publisher import Publisher
from tests.monitor.top.tmux import TOP

COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;5;\d+)m")
ALTERNATE_ON, ALTERNATE_OFF = b"\x1b[?1049h", b"\x1b[?1049l"


@pytest.fixture
def address(tmp_path):
    """Of a pretended cluster that is there."""
    with Publisher(f"ipc://{tmp_path}/monitor", PretendedCluster(workers=30)) as publisher:
        yield publisher.address


def one_line(made: subprocess.CompletedProcess[str]) -> str:
    """What it says at its end, which is one line, with status 1."""
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr.startswith("scaler_top: ")
    assert made.stderr.count("\n") == 1
    return made.stderr


def test_a_terminal_that_answers_nothing_gets_its_screen_and_its_keys_work(address, tmp_path):
    """blessed would wait for ten seconds, which is longer than the patience of this test for what comes first."""
    with PtyTerminal(tmp_path, address) as terminal:
        begin = time.monotonic()
        terminal.await_text("alpha-0000")
        assert time.monotonic() - begin < 8
        terminal.write(b"\x1b[B\x1b[B2")
        terminal.await_text("nt_words")
        terminal.write(b"q")
        assert terminal.await_end() == 0
        assert terminal.output.count(ALTERNATE_ON) == terminal.output.count(ALTERNATE_OFF) == 1
        assert termios.tcgetattr(terminal.slave) == terminal.before
        assert COLOUR.search(terminal.output)
        assert terminal.errors() == b""


def test_with_no_color_the_cursor_is_moved_all_the_same_and_ascii_is_ascii(address, tmp_path):
    with PtyTerminal(tmp_path, "--ascii", address, NO_COLOR="1") as terminal:
        terminal.await_text("alpha-0000")
        terminal.write(b"2")
        terminal.await_text("nt_words")
        terminal.write(b"q")
        assert terminal.await_end() == 0
        assert not COLOUR.search(terminal.output)
        assert re.search(rb"\x1b\[\d+;1H", terminal.output)
        assert terminal.output.isascii()


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "de_DE.ISO-8859-1"}], ids=str)
def test_where_the_locale_has_nothing_but_ascii_nothing_else_is_written(address, tmp_path, locale):
    with PtyTerminal(tmp_path, address, **locale) as terminal:
        terminal.await_text("alpha-0000")
        terminal.write(b"q")
        assert terminal.await_end() == 0
        assert terminal.output.isascii()


def test_a_dumb_terminal_is_told_what_to_do(address, tmp_path):
    for kind in ("dumb", None):
        with PtyTerminal(tmp_path, address, TERM=kind) as terminal:
            assert terminal.await_end() == 1
            assert terminal.output == b""
            assert b"cannot place text on its screen: use --once or --json" in terminal.errors()


def test_a_small_terminal_shows_what_fits(address, tmp_path):
    with PtyTerminal(tmp_path, address, cells=20, lines=5) as terminal:
        terminal.await_text("alpha-0000")
        terminal.write(b"q")
        assert terminal.await_end() == 0


def test_a_terminal_that_goes_is_the_end_and_no_error(address, tmp_path):
    with PtyTerminal(tmp_path, address) as terminal:
        terminal.await_text("alpha-0000")
        os.close(terminal.slave)
        os.close(terminal.master)
        terminal.master = terminal.slave = -1
        assert terminal.process.wait(20) in (0, -signal.SIGHUP)
        assert terminal.errors() == b""


def test_a_terminal_that_takes_no_more_output_does_not_keep_it_from_ending(address, tmp_path):
    with PtyTerminal(tmp_path, address, cells=400, lines=100) as terminal:
        terminal.await_text("alpha-0000")
        for key in b"21" * 200:  # more than a pty keeps, and nobody reads it
            terminal.write(bytes([key]))
            time.sleep(0.002)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(20) in (0, -signal.SIGALRM)


@pytest.mark.parametrize("where", ["tcp", "ipc"])
def test_an_address_where_nothing_is_is_one_line(where, tmp_path, unused_address):
    given = unused_address if where == "tcp" else f"ipc://{tmp_path}/none"
    line = one_line(run("scaler_top", "--timeout", "0.2", given))
    assert "nothing listens at" in line or "there is no ipc://" in line
    assert "waited for 0.2 s" in line


def test_on_a_terminal_an_address_where_nothing_is_is_one_line_too(tmp_path):
    with PtyTerminal(tmp_path, "--timeout", "0.2", f"ipc://{tmp_path}/none") as terminal:
        assert terminal.await_end() == 1
        assert terminal.output.count(ALTERNATE_ON) == terminal.output.count(ALTERNATE_OFF) == 1
        assert b"there is no ipc://" in terminal.errors()
        assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_scheduler_of_another_version_and_a_stranger_are_one_line(tmp_path):
    first = PretendedCluster().summary()
    assert first is not None

    def of_another_version(data: bytes) -> bytes:
        at = data.index(b"MACS") + 4  # the magic as it stands there, and the version behind it
        return data[:at] + b"\7\0\0\0" + data[at + 4 :]

    for change, words in ((of_another_version, "have version 7"), (lambda data: b"nonsense" * 9, "cannot be read")):
        with Publisher(f"ipc://{tmp_path}/other", PretendedCluster(), change=change) as publisher:
            assert words in one_line(run("scaler_top", publisher.address))


def test_wrong_words_are_one_line_and_status_2(tmp_path):
    for arguments, why in (
        ([], "no address was given"),
        (["tcp://127.0.0.1"], "has no port"),
        (["tcp://*:5"], "is for listening"),
        (["--timeout", "never", "tcp://127.0.0.1:5"], "--timeout must be a number"),
        (["--record", "x", str(tmp_path / "file")], "a recording is there already"),
    ):
        made = run("scaler_top", *arguments)
        assert (made.returncode, made.stdout) == (2, "")
        assert why in made.stderr
        assert made.stderr.count("\n") == 1


def test_files_that_are_no_recordings_or_are_there_already_are_one_line(tmp_path, address):
    (tmp_path / "text").write_text("not this")
    assert "is no recording" in one_line(run("scaler_top", str(tmp_path / "text")))
    assert "No such file" in one_line(run("scaler_top", str(tmp_path / "none")))
    assert "is there already" in one_line(run("scaler_top", "--record", str(tmp_path / "text"), address))
    assert (tmp_path / "text").read_text() == "not this"


def test_a_trace_that_cannot_be_made_is_one_line(address, tmp_path, unused_address):
    trace = str(tmp_path / "trace.pftrace")
    assert "there is no" in one_line(run("scaler_top", "--trace", trace, f"ipc://{tmp_path}/nothing"))
    assert "cannot be read" in one_line(run("scaler_top", "--trace", trace, str(tmp_path / "nothing")))
    assert "nothing listens at" in one_line(run("scaler_top", "--timeout", "0.3", "--trace", trace, unused_address))
    assert not os.path.exists(trace)
    assert f"{tmp_path} cannot be written" in one_line(run("scaler_top", "--trace", str(tmp_path), address))


def test_a_pipe_gets_all_tables_once(address):
    made = run("scaler_top", address)
    assert (made.returncode, made.stderr) == (0, "")
    assert len(re.findall(r"^(?:alpha|beta)-\d{4} ", made.stdout, re.MULTILINE)) == 30
    assert "\x1b" not in made.stdout


def test_json_is_one_document_for_each_report_and_ends_when_told(address):
    process = subprocess.Popen([TOP, "--json", address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    documents = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert [each["number"] for each in documents] == list(range(documents[0]["number"], documents[0]["number"] + 3))
    for made in documents:
        ended = sum(row["succeeded"] + row["failed"] for row in made["functions"])
        assert made["summary"]["counts"]["succeeded"] + made["summary"]["counts"]["failed"] == ended


def test_a_reader_that_has_seen_enough_is_no_error(address):
    made = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {TOP} --json {address} | head -n 1 | wc -l"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (made.returncode, made.stdout.strip(), made.stderr) == (0, "1", "")


def test_what_was_recorded_can_be_read_again_with_every_table_in_it(address, tmp_path):
    made = run("scaler_top", "--once", "--json", "--record", str(tmp_path / "it"), address)
    assert made.returncode == 0
    recorded = {report.topic for report in Recording(tmp_path / "it")}
    assert recorded == {"summary", "workers", "functions", "clients", "hosts", "failures", "events"}
    again = run("scaler_top", "--once", "--json", str(tmp_path / "it"))
    assert json.loads(again.stdout) == json.loads(made.stdout)
    assert run("scaler_top", "--json", str(tmp_path / "it")).stdout.splitlines()[-1] == again.stdout.strip()


def test_hostile_names_do_nothing_to_a_terminal(tmp_path):
    cluster = PretendedCluster(workers=3)
    cluster.go_on()
    workers = cluster.workers()
    workers.name[0] = "\x1b]0;owned\x07\x1b[2J<script>"
    with Recorder(tmp_path / "it") as recorder:
        for report in cluster.reports():
            report.body = workers if report.topic == "workers" else report.body
            recorder.add(encode(report))
    with PtyTerminal(tmp_path, str(tmp_path / "it"), cells=200) as terminal:
        terminal.await_text("<script>")
        terminal.write(b"q")
        assert terminal.await_end() == 0
        assert b"\x1b]0;" not in terminal.output
        assert terminal.errors() == b""


@pytest.fixture
def unused_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_help_says_how_it_is_called(tmp_path: Path) -> None:
    made = run("scaler_top", "-h")
    assert made.returncode == 0
    assert made.stdout.startswith("usage: scaler_top [options] [monitor_address]\n")
    for name in ("--timeout", "--once", "--json", "--record", "--ascii"):
        assert name in made.stdout
