"""OutputCapture: what the tasks of a client that wants to see it write to stdout and stderr goes to that client.

While such a task runs, descriptors 1 and 2 are the end of a pipe whose other end the supervisor reads. So what C code
and the task's own processes write is there as well, in the order in which it was written, and it is there when the task
kills its process. Before a task's output stands a mark, by which the supervisor knows whose it is.

There is a pipe for each client: a process that a task has left behind goes on writing to its own client, whichever
tasks come after it.

Rule 1: nothing here is done for tasks whose client does not want it.
Rule 2: all that a task has written is in the pipe before its result is published.
Rule 3: whatever goes wrong here, the task runs, and what it writes goes where it went before.
Not here: what the supervisor makes of it (scaler.cluster.output_forwarder), how it is shown at the client
(scaler.client.output_printer).
"""

import contextlib
import fcntl
import io
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any

MOST_PIPES = 4  # of clients; the one that was used the longest ago is closed
MOST_NAME = 100
MARK = b"\0scaler-task "  # then the pipe's token, how many marks there were, the task and its function, and a newline


class OutputCapture:
    """`report(descriptor, client, token)` gives the supervisor the end that it is to read."""

    def __init__(self, report: Callable[[int, int, str], object], name_of: Callable[[Any], str]) -> None:
        self._report, self._name_of = report, name_of
        self._pipes: dict[int, tuple[int, bytes]] = {}  # by client: our end, and how its marks begin
        self._client = -1  # whose tasks write just now
        self._own: tuple[int, int] | None = None  # where stdout and stderr go at other times
        self._buffered_lines = False  # at those
        self._mark = b""
        self._marks = 0
        self._c_library: Any = None

    def begin(self, client: int, task: int, function: Any) -> bool:
        """This task begins. False if what it writes goes where it went before."""
        try:
            if client != self._client:
                self._turn_to(client)
            self._marks += 1
            os.write(1, self._mark + b"%d %x %s\n" % (self._marks, task, self._name(function)))
        except OSError:
            self.give_back()
            return False
        return True

    def end(self) -> None:
        """The task is over: what it has written and is still in a buffer goes out."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # it may be the user's own
                stream.flush()
        if self._c_library is None:
            import ctypes  # workers that need it not start without it

            self._c_library = ctypes.CDLL(None)
        self._c_library.fflush(None)

    def give_back(self) -> None:
        """What is written from now on goes where it went at first."""
        self.end()
        self._client = -1
        if self._own is not None:
            with contextlib.suppress(OSError):
                for descriptor, own in enumerate(self._own, 1):
                    os.dup2(own, descriptor)
        _buffer_lines(self._buffered_lines)

    def _turn_to(self, client: int) -> None:
        if self._own is None:
            self._own, self._buffered_lines = (_copy(1), _copy(2)), getattr(sys.__stdout__, "line_buffering", False)
        pipe, self._mark = self._pipe_of(client)
        self.end()
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        self._client = client
        _buffer_lines(True)

    def _pipe_of(self, client: int) -> tuple[int, bytes]:
        known = self._pipes.pop(client, None)
        if known is None:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            token = secrets.token_hex(8)
            try:
                self._report(reader, client, token)
            finally:
                os.close(reader)
            known = writer, MARK + token.encode() + b" "
        self._pipes[client] = known
        if len(self._pipes) > MOST_PIPES:
            oldest = next(iter(self._pipes))
            os.close(self._pipes.pop(oldest)[0])
        return known

    def _name(self, function: Any) -> bytes:
        try:
            name = self._name_of(function)
        except Exception:  # it could not be unpickled
            name = "?"
        return "".join(letter if letter.isprintable() else "?" for letter in name[:MOST_NAME]).encode(
            "utf-8", "replace"
        )


def _copy(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def _buffer_lines(wanted: bool) -> None:
    """Whether each line goes out at once, which Python does by itself only where stdout is a terminal."""
    stream = sys.__stdout__
    if isinstance(stream, io.TextIOWrapper):
        with contextlib.suppress(Exception):
            stream.reconfigure(line_buffering=wanted)
