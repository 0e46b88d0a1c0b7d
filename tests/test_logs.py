"""Logging: to several places at once, in one form, or as a file of the user's says."""

import logging
import re

import pytest

from scaler import logs
from scaler.exceptions import OptionError

LINE = re.compile(r"\[INFO\]\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}: hello\n")


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:], root.level = handlers, level
    logging.root.manager._clear_cache()


def test_one_line_to_every_place_once(tmp_path, capsys):
    path = tmp_path / "scaler.log"
    path.write_text("before\n")
    logs.set_up(["/dev/stdout", "/dev/stderr", str(path), str(path)], "INFO")
    logging.getLogger("scaler.somewhere").info("hello")
    logging.getLogger("scaler.somewhere").debug("hidden")
    shown = capsys.readouterr()
    assert LINE.fullmatch(shown.out)
    assert LINE.fullmatch(shown.err)
    assert LINE.fullmatch(path.read_text().removeprefix("before\n"))


def test_level(capsys):
    logs.set_up(["/dev/stderr"], "WARNING")
    logging.getLogger("scaler").info("hidden")
    logging.getLogger("scaler").warning("seen")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(": seen\n")
    assert "hidden" not in shown.err


def test_a_rotated_file_is_opened_anew(tmp_path):
    path = tmp_path / "scaler.log"
    logs.set_up([str(path)], "INFO")
    logging.getLogger("scaler").info("one")
    path.rename(tmp_path / "scaler.log.1")
    logging.getLogger("scaler").info("two")
    assert "two" in path.read_text()


def test_configuration_file_goes_over_paths_and_level(tmp_path, capsys):
    path, log = tmp_path / "logging.conf", tmp_path / "own.log"
    path.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=file\n[formatters]\nkeys=own\n"
        "[logger_root]\nlevel=DEBUG\nhandlers=file\n"
        f"[handler_file]\nclass=FileHandler\nformatter=own\nargs=({str(log)!r},)\n"
        "[formatter_own]\nformat=own %(message)s\n"
    )
    logs.set_up(["/dev/stdout"], "ERROR", str(path))
    logging.getLogger("scaler").debug("hello")
    assert log.read_text() == "own hello\n"
    assert capsys.readouterr().out == ""


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
