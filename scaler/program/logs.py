"""Logs: where a program of ours writes what it does, how a line looks, and what waits for it to be written.

A pipe that nobody reads, a terminal stopped with Ctrl-S, a disk that hangs: each makes a write wait for as long as it
likes, and a scheduler that waits serves nobody. So a line is only put into a queue by the code that logs it, and each
place that lines go to has a thread of its own that writes them. What the queue has no room for is dropped and counted,
and the log says how many lines are missing as soon as it goes on. A place that is stuck holds up no other place.

Rule 1: only processes that are scaler's own (the commands, and what is started from code) call `set_up`. `Client` logs
        through whatever the user's program has set up.
Rule 2: such a process writes nothing to stdout or stderr by itself: what Python would say there (warnings, exceptions
        that nobody catches) is logged.
Rule 3: such a process ends through `end`, which waits FLUSH_S for what is still to be written, and no longer.
Rule 4: handlers that a configuration file of the user's makes are put behind queues just so. Their filters are asked
        where a line is logged, all else they do is done in the thread.
Not here: what workers write (scaler.cluster.worker_stderr).

logging.config and logging.handlers are imported when needed: together they take a tenth of a scheduler's start.
"""

import contextlib
import copy
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from scaler.exceptions import OptionError
from scaler.program.descriptors import write_all
from scaler.program.threads import new_thread

FORMAT = "[%(levelname)s]%(asctime)s: %(message)s"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S%z"
MOST_LINES = 4096  # that wait to be written to one place
MOST_CHARACTERS = 4 << 20  # of these together, from which on no more are taken
FLUSH_S = 2.0
_CONSOLES = {"/dev/stdout": 1, "/dev/stderr": 2}
_log = logging.getLogger(__name__)
_queued: "list[Queued]" = []
_said: list[threading.Thread] = []


def set_up(paths: Iterable[str], level: str, config_file: str | None = None) -> None:
    """Log to these paths from this level on, or as Python's `fileConfig` reads it in `config_file`.

    OptionError if a file cannot be opened or makes no sense.
    """
    if config_file is not None:
        _read(config_file)
        _put_behind_queues()
    else:
        targets = [_handler(path) for path in dict.fromkeys(paths)]
        logging.basicConfig(level=level, handlers=[Queued(target) for target in targets], force=True)
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_uncaught


def end(status: int) -> int:
    """Write what is still to be written, for FLUSH_S at most. The status to end with.

    If a place is stuck, the process ends here: Python's own end would wait for it.
    """
    deadline = time.monotonic() + FLUSH_S
    for place in _queued:
        place.finish()
    threads = [*(place.thread for place in _queued), *_said]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        os._exit(status)
    _queued.clear()
    _said.clear()
    return status


def say(line: str) -> None:
    """Write a line to stderr, why the program ends; `end` waits for it."""
    thread = new_thread("scaler-say", lambda: _write_line(2, line))
    _said.append(thread)
    thread.start()


def _write_line(descriptor: int, line: str) -> None:
    with contextlib.suppress(OSError):  # nobody is there to hear it
        write_all(descriptor, (line + "\n").encode(errors="backslashreplace"))


class Queued(logging.Handler):
    """Hands lines over to `target`, which writes them in a thread of this one's own.

    As logging.handlers.QueueHandler and QueueListener, but those wait for ever at the end, end with whatever their
    target raises, and say nothing of what a full queue has lost.
    """

    def __init__(self, target: logging.Handler) -> None:
        super().__init__(target.level)
        self.target = target
        self.filters = target.filters
        self.lost = 0  # lines that had no room, of which the log has not been told
        # Filling it takes no lock that a finalizer or a signal's handler, which may log too, could wait for in vain.
        self._lines: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._characters = 0
        self._is_full = False
        self._failures, self._failure = 0, ""  # of the target since it has last written one
        self.thread = new_thread(f"scaler-log-{len(_queued)}", self._write)
        self.thread.start()
        _queued.append(self)

    # where lines are logged

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock, as all of logging's are."""
        try:
            line = _frozen(record)
        except Exception as error:
            line = _line(f"a log line of {record.pathname}:{record.lineno} cannot be made: {error!r}")
        count = self._lines.qsize()
        if self._is_full:  # until half of it is written, lest every other line be one about a missing one
            self._is_full = count > MOST_LINES // 2 or self._characters > MOST_CHARACTERS // 2
        else:
            self._is_full = count >= MOST_LINES or self._characters >= MOST_CHARACTERS
        if self._is_full:
            self.lost += 1
            return
        if self.lost:
            self._put(self._take_loss())
        self._put(line)

    def _put(self, line: logging.LogRecord) -> None:
        self._characters += _characters_of(line)
        self._lines.put(line)

    def _take_loss(self) -> logging.LogRecord:
        count, self.lost = self.lost, 0
        return _line(f"{count} log lines are missing here: they were logged faster than they could be written")

    def finish(self) -> None:
        """Let the thread end when all there is has been written, and close the target."""
        self._lines.put(None)

    # the thread

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with _locked(self):
                self._characters -= _characters_of(line)
            self._write_one(line)
            if self._lines.empty():
                self._tell_loss()
        self._tell_loss()
        with contextlib.suppress(Exception):  # a disk that is full now
            self.target.close()

    def _tell_loss(self) -> None:
        if self.lost:
            with _locked(self):
                line = self._take_loss()
            self._write_one(line)

    def _write_one(self, line: logging.LogRecord) -> None:
        """Whatever the target makes of it, the next line is tried too."""
        try:
            self._hand_over(line)
        except Exception as error:
            self._failures += 1
            self._failure = str(error)
            return
        if self._failures:
            text = f"{self._failures} log lines are missing here, which could not be written: {self._failure}"
            with contextlib.suppress(Exception):  # it was full again: the count goes on
                self._hand_over(_line(text))
                self._failures = 0

    def _hand_over(self, line: logging.LogRecord) -> None:
        with _locked(self.target):
            self.target.emit(line)


@contextlib.contextmanager
def _locked(handler: logging.Handler) -> Iterator[None]:
    handler.acquire()
    try:
        yield
    finally:
        handler.release()


def _frozen(record: logging.LogRecord) -> logging.LogRecord:
    """The record with its text made, since what it was to be made of may change. It holds no frames."""
    line = copy.copy(record)
    line.msg, line.args = record.getMessage(), None
    if record.exc_info and not record.exc_text:
        line.exc_text = logging.Formatter().formatException(record.exc_info)
    line.exc_info = None
    return line


def _line(text: str) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)


def _characters_of(line: logging.LogRecord) -> int:
    return len(line.msg) + len(line.exc_text or "") + len(line.stack_info or "")


class _Stream:
    """A descriptor as a text stream that keeps nothing back: what was not written is the caller's to know."""

    def __init__(self, descriptor: int, encoding: str = "utf-8") -> None:
        self._descriptor, self._encoding = descriptor, encoding

    def write(self, text: str) -> None:
        write_all(self._descriptor, text.encode(self._encoding, "backslashreplace"))

    def fileno(self) -> int:
        return self._descriptor

    def flush(self) -> None:
        pass

    def close(self) -> None:
        os.close(self._descriptor)


class _Raising(logging.Handler):
    """What fails is raised, for Queued to count; logging would write a traceback to stderr for each line."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise


class _Console(_Raising, logging.StreamHandler[_Stream]):
    """stdout or stderr."""


def _handler(path: str) -> logging.Handler:
    handler = _console(path) if path in _CONSOLES else _file(path)
    handler.setFormatter(logging.Formatter(FORMAT, TIME_FORMAT))
    return handler


def _console(path: str) -> logging.Handler:
    # Not the objects in sys: while a thread is stuck in one of these, Python cannot end.
    stream = sys.stdout if path == "/dev/stdout" else sys.stderr
    if stream is None:
        return logging.NullHandler()  # it was closed before this program began, and its number may be another file's

    return _Console(_Stream(_CONSOLES[path], stream.encoding or "utf-8"))


def _file(path: str) -> logging.Handler:
    from logging.handlers import WatchedFileHandler

    class File(_Raising, WatchedFileHandler):  # watched, so that it may be rotated from outside
        def _open(self) -> Any:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            return _Stream(os.open(self.baseFilename, flags, 0o666))

    try:
        return File(path)
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


def _put_behind_queues() -> None:
    """Every handler that any logger has: its lines go through a queue from now on."""
    queued: dict[logging.Handler, Queued] = {}
    root = logging.getLogger()
    for logger in (root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))):
        for at, handler in enumerate(logger.handlers):
            if not isinstance(handler, Queued):
                if handler not in queued:
                    queued[handler] = Queued(handler)
                logger.handlers[at] = queued[handler]


def _log_unraisable(unraisable: Any) -> None:
    about = (unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)
    _log.error("%s: %r", unraisable.err_msg or "exception ignored in", unraisable.object, exc_info=about)


def _log_uncaught(uncaught: threading.ExceptHookArgs) -> None:
    if uncaught.exc_type is SystemExit:
        return
    name = uncaught.thread.name if uncaught.thread is not None else "that has ended"
    value = uncaught.exc_value or uncaught.exc_type()
    _log.error("the thread %s has failed", name, exc_info=(uncaught.exc_type, value, uncaught.exc_traceback))
