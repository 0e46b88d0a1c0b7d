"""Logs: where a program of ours writes what it does, and how a line looks.

Rule 1: only processes that are scaler's own (the commands, and what is started from code) call `set_up`. `Client` logs
        through whatever the user's program has set up.

logging.config and logging.handlers are imported when needed: together they take a tenth of a scheduler's start.
"""

import logging
import sys
from collections.abc import Iterable

from scaler.exceptions import OptionError

FORMAT = "[%(levelname)s]%(asctime)s: %(message)s"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S%z"


def set_up(paths: Iterable[str], level: str, config_file: str | None = None) -> None:
    """Log to these paths from this level on, or as Python's `fileConfig` reads it in `config_file`.

    OptionError if a file cannot be opened or makes no sense.
    """
    if config_file is not None:
        _read(config_file)
        return
    handlers = [_handler(path) for path in dict.fromkeys(paths)]
    logging.basicConfig(level=level, handlers=handlers, format=FORMAT, datefmt=TIME_FORMAT, force=True)


def _handler(path: str) -> logging.Handler:
    if path == "/dev/stdout":
        return logging.StreamHandler(sys.stdout)
    if path == "/dev/stderr":
        return logging.StreamHandler(sys.stderr)
    from logging.handlers import WatchedFileHandler

    try:
        return WatchedFileHandler(path, encoding="utf-8")  # so that it may be rotated from outside
    except OSError as error:
        raise OptionError(f"cannot log to {path}: {error.strerror}") from None


def _read(path: str) -> None:
    from logging.config import fileConfig

    try:
        with open(path, encoding="utf-8") as file:
            fileConfig(file, disable_existing_loggers=False)
    except OSError as error:
        raise OptionError(f"the logging configuration {path} cannot be read: {error.strerror}") from None
    except Exception as error:  # it evaluates what the file says, so this may be anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise OptionError(f"the logging configuration {path} makes no sense: {reason}") from None
