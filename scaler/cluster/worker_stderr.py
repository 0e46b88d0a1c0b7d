"""WorkerStderr: what workers write to stderr goes on to the supervisor's, and the last of it is remembered.

A worker that dies tells why in its last lines, if it tells at all: the interpreter's fatal errors, an assertion of C
code, a message of the allocator. So each worker's stderr is a pipe, and one thread reads them all.

If nobody reads the supervisor's stderr, that thread waits, and so does a task that writes more than a pipe holds, until
somebody reads or the task is cancelled: what a task prints is its user's, and waits as it does in any program whose
output goes into a pipe. (stdout is not even copied: workers have the supervisor's own.) Nothing else waits: neither the
supervisor's loop nor any worker that writes nothing.

Rule 1: what is remembered has at most LAST_BYTES and LAST_LINES, however much was written.
Rule 2: `last` takes what is still in the pipe, without waiting, and so knows all that a dead worker has written. Of
        what it takes so, MOST_UNSAID_BYTES wait to be copied: the dead wait for nobody, so what is more is dropped and
        counted.
Rule 3: whatever goes wrong with one turn of the thread, the next one is taken.
"""

import contextlib
import logging
import os
import select
import threading
import time

from scaler.program.descriptors import write_all
from scaler.program.threads import await_ends, new_thread

_log = logging.getLogger(__name__)
LAST_BYTES, LAST_LINES = 4096, 20
MOST_READ_BYTES = 65536
MOST_UNSAID_BYTES = 1 << 20
PAUSE_S, END_S = 0.1, 1.0


class Pipe:
    """One worker's stderr, and the last that came through."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_end, False)
        self._last = b""

    def started(self) -> None:
        """The worker has its copy of the write end."""
        os.close(self.write_end)

    def read(self) -> bytes | None:
        """What is there now; nothing if nobody can write any more; None if nobody has."""
        try:
            data = os.read(self.read_end, MOST_READ_BYTES)
        except BlockingIOError:
            return None
        self._last = (self._last + data)[-LAST_BYTES:]
        return data

    def text(self) -> str:
        """The last lines, printable."""
        text = self._last.decode("utf-8", "replace")
        text = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
        return "\n".join(text.splitlines()[-LAST_LINES:])


class WorkerStderr:
    """Copies what comes through pipes to the descriptor `target`."""

    def __init__(self, target: int = 2) -> None:
        self._target = target
        self._pipes: dict[int, Pipe] = {}
        self._lock = threading.Lock()
        self._poll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN)
        self._unsaid: list[bytes] = []  # taken by `last` and not copied yet
        self._unsaid_bytes = self._lost_bytes = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def open(self) -> Pipe:
        """A pipe for a worker that is about to start."""
        pipe = Pipe()
        with self._lock:
            self._pipes[pipe.read_end] = pipe
            self._poll.register(pipe.read_end, select.EPOLLIN)
        if self._thread is None:
            self._thread = new_thread("scaler-stderr", self._copy)
            self._thread.start()
        return pipe

    def last(self, pipe: Pipe) -> str:
        """The worker has ended: the last it wrote. What is left in the pipe is still copied; then it is closed."""
        with self._lock:
            if self._pipes.pop(pipe.read_end, None) is not None:
                for _ in range(16):  # a pipe holds 64 KiB; a process that has inherited it may be writing on
                    data = pipe.read()
                    if not data:
                        break
                    self._keep(data)
                with contextlib.suppress(FileNotFoundError):  # its end was seen
                    self._poll.unregister(pipe.read_end)
                os.close(pipe.read_end)
        os.eventfd_write(self._bell, 1)
        return pipe.text()

    def _keep(self, data: bytes) -> None:
        """To be copied by the thread, if that comes to it soon enough."""
        if self._unsaid_bytes + len(data) > MOST_UNSAID_BYTES:
            self._lost_bytes += len(data)
        else:
            self._unsaid.append(data)
            self._unsaid_bytes += len(data)

    def _copy(self) -> None:
        """In the thread: take what was written and pass it on."""
        while not self._stopping or self._unsaid:
            try:
                self._copy_once()
            except Exception:
                _log.exception("what workers have written could not be copied")
                time.sleep(PAUSE_S)

    def _copy_once(self) -> None:
        ready = self._poll.poll()
        with self._lock:
            said, self._unsaid, self._unsaid_bytes = self._unsaid, [], 0
            lost, self._lost_bytes = self._lost_bytes, 0
            for descriptor, _ in ready:
                data = self._take(descriptor)
                if data:
                    said.append(data)
        if lost:
            said.append(b"\n(%d bytes that workers wrote last are missing here: nobody read what came before)\n" % lost)
        for data in said:
            with contextlib.suppress(OSError):  # nobody is there to read it
                write_all(self._target, data)

    def _take(self, descriptor: int) -> bytes | None:
        if descriptor == self._bell:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._bell)
            return None
        pipe = self._pipes.get(descriptor)
        if pipe is None:
            return None
        data = pipe.read()
        if data == b"":
            self._poll.unregister(descriptor)  # else it would be ready for ever
        return data

    def close(self) -> None:
        """Every pipe was given back by `last`: end the thread, once it has copied what there was, or in a second."""
        self._stopping = True
        os.eventfd_write(self._bell, 1)
        if self._thread is not None and await_ends([self._thread], END_S):
            return  # nobody reads what it writes: the process ends without it
        self._poll.close()
        os.close(self._bell)
