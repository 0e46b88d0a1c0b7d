"""Logging: to several places at once, in one form, or as a file of the user's says; and nobody waits for a place."""

import fcntl
import logging
import os
import pty
import re
import subprocess
import sys
import threading
import warnings

import pytest

from scaler.exceptions import OptionError
from scaler.program import logs
from tests.processes import wait_until

LINE = re.compile(r"\[INFO\]\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}: hello\n")


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield
    logging.captureWarnings(False)
    assert logs.end(0) == 0
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level
    logging.root.manager._clear_cache()  # type: ignore[attr-defined]  # no part of its interface


def test_one_line_to_every_place_once(tmp_path, capfd):
    path = tmp_path / "scaler.log"
    path.write_text("before\n")
    logs.set_up(["/dev/stdout", "/dev/stderr", str(path), str(path)], "INFO")
    logging.getLogger("scaler.somewhere").info("hello")
    logging.getLogger("scaler.somewhere").debug("hidden")
    logs.end(0)
    shown = capfd.readouterr()
    assert LINE.fullmatch(shown.out)
    assert LINE.fullmatch(shown.err)
    assert LINE.fullmatch(path.read_text().removeprefix("before\n"))


def test_level(capfd):
    logs.set_up(["/dev/stderr"], "WARNING")
    logging.getLogger("scaler").info("hidden")
    logging.getLogger("scaler").warning("seen")
    logs.end(0)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(": seen\n")
    assert "hidden" not in shown.err


def test_a_rotated_file_is_opened_anew(tmp_path):
    path = tmp_path / "scaler.log"
    logs.set_up([str(path)], "INFO")
    logging.getLogger("scaler").info("one")
    wait_until(path.read_text)
    path.rename(tmp_path / "scaler.log.1")
    logging.getLogger("scaler").info("two")
    logs.end(0)
    assert "two" in path.read_text()


def test_configuration_file_goes_over_paths_and_level(tmp_path, capfd):
    path, log = tmp_path / "logging.conf", tmp_path / "own.log"
    path.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=file\n[formatters]\nkeys=own\n"
        "[logger_root]\nlevel=DEBUG\nhandlers=file\n"
        f"[handler_file]\nclass=FileHandler\nformatter=own\nargs=({str(log)!r},)\n"
        "[formatter_own]\nformat=own %(message)s\n"
    )
    logs.set_up(["/dev/stdout"], "ERROR", str(path))
    logging.getLogger("scaler").debug("hello")
    logs.end(0)
    assert log.read_text() == "own hello\n"
    assert capfd.readouterr().out == ""


def test_what_cannot_be_is_one_line_that_names_the_file(tmp_path):
    with pytest.raises(OptionError, match=r"cannot log to /nonexistent/a\.log: No such file"):
        logs.set_up(["/nonexistent/a.log"], "INFO")
    with pytest.raises(OptionError, match="configuration /nonexistent/conf cannot be read: No such file"):
        logs.set_up([], "INFO", "/nonexistent/conf")
    path = tmp_path / "logging.conf"
    for content in ("", "nonsense", "[loggers]\nkeys=root\n"):
        path.write_text(content)
        with pytest.raises(OptionError, match="makes no sense: ") as raised:
            logs.set_up([], "INFO", str(path))
        assert "\n" not in str(raised.value)


def test_what_a_line_was_made_of_may_change_and_what_it_raised_is_shown(tmp_path):
    path, about = tmp_path / "scaler.log", [1]
    logs.set_up([str(path)], "INFO")
    logging.getLogger("scaler").info("it is %s", about)
    about.append(2)
    try:
        raise KeyError("odd \ud800")
    except KeyError:
        logging.getLogger("scaler").exception("it failed")
    logging.getLogger("scaler").info("%d and %d", 1)
    logs.end(0)
    text = path.read_text()
    assert "it is [1]\n" in text
    assert "it failed\nTraceback (most recent call last):\n" in text
    assert r"KeyError: 'odd \ud800'" in text
    assert "test_logs.py" in text.splitlines()[-1]
    assert "cannot be made" in text.splitlines()[-1]


def test_what_python_would_write_to_stderr_is_logged(tmp_path, capfd):
    class Odd:
        def __del__(self):
            raise ValueError("from a finalizer")

    path = tmp_path / "scaler.log"
    logs.set_up([str(path)], "INFO")
    thread = threading.Thread(target=lambda: 1 / 0, name="odd")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
    Odd()
    thread.start()
    thread.join()
    logs.end(0)
    text = path.read_text()
    for said in ("careful", "ValueError: from a finalizer", "the thread odd has failed", "ZeroDivisionError"):
        assert said in text
    assert capfd.readouterr().err == ""


# Places that take nothing. A program of our own each, whose end shows that it does not wait.

SOME = 20_000
PROGRAM = f"""
import logging, os, sys
from scaler.program import logs
logs.set_up(sys.argv[2:], "INFO")
for number in range({SOME}):
    logging.getLogger("scaler").info("line %d %s", number, "x" * 80)
open(sys.argv[1], "w").close()
sys.exit(logs.end(3))
"""


def start(tmp_path, *places, program=PROGRAM, **options):
    return subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "done"), *places], **options)


def missing(text):
    """How many lines the log says are missing."""
    return sum(map(int, re.findall(r": (\d+) log lines are missing here", text)))


def lines(text):
    """The numbers of the lines that are there."""
    return list(map(int, re.findall(r": line (\d+) x{80}$", text, re.MULTILINE)))


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/stderr"])
def test_nobody_waits_for_a_pipe_that_nobody_reads(tmp_path, place):
    log = tmp_path / "scaler.log"
    reader, writer = os.pipe()
    process = start(tmp_path, place, str(log), **{place.removeprefix("/dev/"): writer})
    assert process.wait(60) == 3
    os.close(reader)
    os.close(writer)
    text = log.read_text()  # another place is held up by nothing
    assert len(lines(text)) + missing(text) == SOME


def test_a_pipe_that_is_read_again_gets_the_lines_and_how_many_are_missing(tmp_path):
    program = PROGRAM.replace("sys.exit", "sys.stdin.read()\nlogging.getLogger('scaler').info('the end')\nsys.exit")
    process = start(tmp_path, "/dev/stdout", program=program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    wait_until((tmp_path / "done").exists, 60)
    text = ""
    while "missing" not in text:
        text += process.stdout.readline()
    rest, _ = process.communicate("")
    text += rest
    assert process.returncode == 3
    assert text.endswith("the end\n")
    found = lines(text)
    assert found == sorted(found)
    assert missing(text) > 0
    assert len(found) + missing(text) == SOME


def test_a_terminal_that_was_stopped_holds_nobody_up_and_goes_on_when_it_is_let(tmp_path):
    ours, theirs = pty.openpty()
    os.write(ours, b"\x13")  # Ctrl-S
    program = PROGRAM.replace("sys.exit", "sys.stdin.read()\nsys.exit")
    process = start(tmp_path, "/dev/stdout", program=program, stdin=subprocess.PIPE, stdout=theirs)
    wait_until((tmp_path / "done").exists, 60)
    os.write(ours, b"\x11")  # Ctrl-Q
    shown = b""
    while b"missing" not in shown:
        shown += os.read(ours, 65536)
    process.communicate(b"")
    assert process.returncode == 3
    os.close(theirs)
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    text = shown.decode().replace("\r\n", "\n")
    assert len(lines(text)) + missing(text) == SOME


def test_a_terminal_that_stays_stopped_does_not_keep_a_program_from_ending(tmp_path):
    ours, theirs = pty.openpty()
    os.write(ours, b"\x13")
    process = start(tmp_path, "/dev/stdout", "/dev/stderr", stdout=theirs, stderr=theirs)
    assert process.wait(60) == 3
    os.close(ours)
    os.close(theirs)


def test_a_reader_that_has_gone_ends_nobody_and_costs_no_line_elsewhere(tmp_path):
    log = tmp_path / "scaler.log"
    process = start(tmp_path, "/dev/stdout", str(log), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()  # as `head -1` does
    assert process.stderr.read() == b""
    assert process.wait(60) == 3
    text = log.read_text()
    assert len(lines(text)) + missing(text) == SOME
    process.stderr.close()


def test_a_full_disk_ends_nobody_and_costs_no_line_elsewhere(tmp_path):
    log = tmp_path / "scaler.log"
    process = start(tmp_path, "/dev/full", str(log), stderr=subprocess.PIPE)
    assert process.stderr.read() == b""
    assert process.wait(60) == 3
    text = log.read_text()
    assert len(lines(text)) + missing(text) == SOME
    process.stderr.close()


def test_a_disk_that_has_room_again_gets_the_lines_and_how_many_are_missing(tmp_path):
    program = """
import logging, resource, sys, time
from scaler.program import logs
log = logging.getLogger("scaler")
logs.set_up(sys.argv[2:], "INFO")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))  # as full as it gets
for number in range(100):
    log.info("line %d %s", number, "x" * 80)
while logs._queued[0]._failures < 80:
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
log.info("line %d %s", 100, "x" * 80)
sys.exit(logs.end(3))
"""
    log = tmp_path / "scaler.log"
    process = start(tmp_path, str(log), program=program)
    assert process.wait(60) == 3
    text = log.read_text()
    assert "which could not be written: [Errno 27] File too large\n" in text
    assert 100 in lines(text)
    assert len(lines(text)) + missing(text) == 101


def test_a_pipe_that_others_have_made_nonblocking_loses_nothing(tmp_path):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    program = PROGRAM.replace(str(SOME), "3000")
    process = start(tmp_path, "/dev/stdout", program=program, stdout=writer)
    os.close(writer)
    with open(reader) as file:
        assert lines(file.read()) == list(range(3000))
    assert process.wait(60) == 3


def test_what_a_users_configuration_makes_waits_for_nobody_either(tmp_path):
    config, log = tmp_path / "logging.conf", tmp_path / "own.log"
    config.write_text(
        "[loggers]\nkeys=root,own\n[handlers]\nkeys=out,file\n[formatters]\nkeys=own\n"
        "[logger_root]\nlevel=INFO\nhandlers=out,file\n"
        "[logger_own]\nqualname=scaler\nlevel=INFO\nhandlers=file\n"
        "[handler_out]\nclass=StreamHandler\nformatter=own\nargs=(sys.stdout,)\n"
        f"[handler_file]\nclass=FileHandler\nformatter=own\nargs=({str(log)!r},)\n"
        "[formatter_own]\nformat=: %(message)s\n"
    )
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    program = PROGRAM.replace('sys.argv[2:], "INFO"', '(), "INFO", sys.argv[2]')
    process = start(tmp_path, str(config), program=program, stdout=writer)
    assert process.wait(60) == 3
    text = log.read_text()
    assert len(lines(text)) + missing(text) == 2 * SOME  # of two loggers, one above the other
    os.close(reader)
    os.close(writer)


def test_a_program_without_stdout_logs_elsewhere(tmp_path):
    log = tmp_path / "scaler.log"
    process = start(
        tmp_path, "/dev/stdout", str(log), program=PROGRAM.replace(str(SOME), "10"), preexec_fn=lambda: os.close(1)
    )
    assert process.wait(60) == 3
    assert lines(log.read_text()) == list(range(10))
