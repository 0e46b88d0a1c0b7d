"""OutputForwarder: what tasks have written goes to those of their clients that want to see it, in whole lines.

Each worker has a pipe for each such client (scaler.worker.output_capture). One thread reads them all, so no task waits
for a client to read, and what a worker wrote last is there though it has died. Before each line stands whose it is:
`(function task worker) line`.

A client gets MOST_BYTES_S from each host, and what is more is dropped, in whole lines, and counted: the next thing that
it reads is how many lines are missing. So the lines that a client reads and the counts add up to what was written.

Rule 1: a line is never torn, and two equal ones are two. One that is longer than LONG_LINE_BYTES goes in pieces; the
        last one, if it has no end, is ended by the next task of that client, by the pipe's end or by `flush`.
Rule 2: lines of one worker stay in order. Those of several come as they are read.
Rule 3: `on_news` is called in the thread; whoever is told takes all there is by `take`. What nobody takes is bounded.
Not here: who passes it on (supervisor), who prints it (scaler.client.output_printer).
"""

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from scaler.program.threads import await_ends, new_thread

_log = logging.getLogger(__name__)
MARK = b"\0scaler-task "  # as scaler.worker.output_capture writes it
MOST_READ_BYTES = 65536
READS_AT_ONCE = 16  # of one pipe, where it is emptied
LONG_LINE_BYTES = 16384
BATCH_BYTES = 20_000
LAST_BYTES = 4096
BATCH_S = 0.05
MOST_BYTES_S = 1 << 20  # of one client, prefixes included
BURST_BYTES = 1 << 20
MOST_WAITING_BYTES = 4 << 20  # that nobody has taken
PAUSE_S, END_S = 0.1, 1.0


class Lines:
    """The text of one pipe, taken apart. No pipe, no clock: bytes in, prefixed lines out."""

    def __init__(self, worker: str, token: str) -> None:
        self._worker = worker.encode("utf-8", "replace")
        self._mark = MARK + token.encode() + b" "
        self._prefix = b"(" + self._worker + b") "
        self._rest = b""  # of a line that has no end yet
        self.number = 0  # of the last mark: the higher, the later
        self.last = b""  # of the lines behind that

    def feed(self, data: bytes) -> bytes:
        """Whole lines with their prefixes."""
        parts = (self._rest + data).split(self._mark)
        out = [self._lines(parts[0], is_last=len(parts) == 1)]
        for number, part in enumerate(parts[1:], 2):
            about, newline, text = part.partition(b"\n")
            is_last = number == len(parts)
            if not newline and is_last:
                self._rest = self._mark + part
                break
            count, task, name = (about.split(b" ", 2) + [b"", b""])[:3]
            self.number, self.last = int(count) if count.isdigit() else 0, b""
            self._prefix = b"(%b 0x%b %b) " % (name, task, self._worker)
            out.append(self._lines(text, is_last))
        return b"".join(out)

    def end(self) -> bytes:
        """The last line, though it has no end."""
        rest, self._rest = self._rest, b""
        return b"" if not rest or rest.startswith(self._mark) else self._prefix + rest + b"\n"

    def _lines(self, text: bytes, is_last: bool) -> bytes:
        self.last = (self.last + text)[-LAST_BYTES:]
        whole, newline, rest = text.rpartition(b"\n")
        if is_last:
            self._rest = rest
            if len(rest) > LONG_LINE_BYTES and self._mark[0] not in rest:
                whole, newline, self._rest = whole + newline + rest, b"\n", b""
        elif rest:
            whole, newline = text, b"\n"
        return self._prefix + whole.replace(b"\n", b"\n" + self._prefix) + b"\n" if newline else b""


class Share:
    """What one client gets: as much as its share lets through, in whole lines, and how many lines it does not get."""

    def __init__(self, host: str, now_s: float) -> None:
        self._host, self._left, self._since_s = host, float(BURST_BYTES), now_s
        self._batch: list[bytes] = []
        self.batch_bytes = 0
        self.due_s = 0.0  # when the batch is to go, if there is one
        self.dropped = 0  # lines, not said yet

    def add(self, text: bytes, now_s: float) -> None:
        self._left = min(BURST_BYTES, self._left + (now_s - self._since_s) * MOST_BYTES_S)
        self._since_s = now_s
        if len(text) > self._left or (self.dropped and self._left < BURST_BYTES / 2):
            cut = text.rfind(b"\n", 0, int(self._left)) + 1 if not self.dropped else 0
            self.dropped += text.count(b"\n", cut)
            text = text[:cut]
        elif self.dropped:
            self._say_dropped()
        if text:
            self._left -= len(text)
            self._put(text)
        if not self.due_s:
            self.due_s = now_s + BATCH_S

    def take(self, now_s: float, is_last: bool = False) -> bytes:
        """The batch; with `is_last` also how many lines are missing now."""
        if self.dropped and is_last:
            self._say_dropped()
        batch, self._batch, self.batch_bytes = b"".join(self._batch), [], 0
        self.due_s = now_s + 1.0 if self.dropped else 0.0
        return batch

    def _put(self, text: bytes) -> None:
        self._batch.append(text)
        self.batch_bytes += len(text)

    def _say_dropped(self) -> None:
        self._put(
            b"(scaler: %d lines are left out here: tasks on %b wrote more than %d bytes in a second)\n"
            % (self.dropped, self._host.encode("utf-8", "replace"), MOST_BYTES_S)
        )
        self.dropped = 0


class _Pipe:
    def __init__(self, descriptor: int, client: int, worker: str, lines: Lines) -> None:
        self.descriptor, self.client, self.worker, self.lines = descriptor, client, worker, lines


class OutputForwarder:
    """`on_news()` says that there is something for `take`."""

    def __init__(self, host: str, on_news: Callable[[], object]) -> None:
        self._host, self._on_news = host, on_news
        self._lock = threading.Lock()
        self._pipes: dict[int, _Pipe] = {}
        self._shares: dict[int, Share] = {}
        self._last: dict[str, tuple[int, bytes]] = {}  # that a worker wrote into pipes which have ended
        self._ready: deque[tuple[int, bytes]] = deque()  # (client, text)
        self._ready_bytes = 0
        self._poll: select.epoll | None = None  # none until there is a pipe
        self._bell = -1
        self._stopping = False
        self._thread: threading.Thread | None = None

    def add(self, descriptor: int, client: int, worker: str, token: str) -> None:
        """A worker has made a pipe for what this client's tasks write. The descriptor is ours from now on."""
        os.set_blocking(descriptor, False)
        with self._lock:
            if self._poll is None:
                self._poll, self._bell = select.epoll(), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
                self._poll.register(self._bell, select.EPOLLIN)
            self._pipes[descriptor] = _Pipe(descriptor, client, worker, Lines(worker, token))
            self._poll.register(descriptor, select.EPOLLIN)
        if self._thread is None:
            self._thread = new_thread("scaler-task-output", self._serve)
            self._thread.start()

    def take(self) -> list[tuple[int, bytes]]:
        """(client, text) that is to be passed on, in order."""
        with self._lock:
            taken, self._ready, self._ready_bytes = list(self._ready), deque(), 0
        return taken

    def drop(self, client: int, text: bytes) -> None:
        """This could not be passed on: its client is told how many lines it had."""
        with self._lock:
            share = self._shares.get(client)
            if share is not None:
                share.dropped += text.count(b"\n")
                share.due_s = share.due_s or time.monotonic() + 1.0
                os.eventfd_write(self._bell, 1)

    def flush(self, client: int) -> None:
        """All that this client's tasks have written so far is ready to be taken. For a thread: it may take a moment."""
        with self._lock:
            for pipe in list(self._pipes.values()):
                if pipe.client == client:
                    for _ in range(READS_AT_ONCE):
                        if not self._read(pipe):
                            break
                    self._share_of(client).add(pipe.lines.end(), time.monotonic())
            if client in self._shares:
                self._make_ready(client, is_last=True)

    def last_of(self, worker: str) -> str:
        """What the last task of this worker has written last, of a worker that has ended; printable."""
        with self._lock:
            for pipe in list(self._pipes.values()):
                if pipe.worker == worker:
                    self._read(pipe)
                    self._note_last(pipe)
            _, last = self._last.pop(worker, (0, b""))
        text = last.decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)

    def _note_last(self, pipe: _Pipe) -> None:
        if pipe.lines.number > self._last.get(pipe.worker, (0, b""))[0]:
            self._last[pipe.worker] = pipe.lines.number, pipe.lines.last

    def close(self) -> None:
        """End the thread; what nobody has taken is lost."""
        self._stopping = True
        if self._thread is None or self._poll is None:
            return
        os.eventfd_write(self._bell, 1)
        if await_ends([self._thread], END_S):
            return
        for descriptor in (*self._pipes, self._bell):
            os.close(descriptor)
        self._pipes.clear()
        self._poll.close()

    def _serve(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception:
                _log.exception("what tasks have written could not be passed on")
                time.sleep(PAUSE_S)

    def _turn(self) -> None:
        assert self._poll is not None
        ready = self._poll.poll(self._wait_s())
        with self._lock:
            for descriptor, _ in ready:
                if descriptor == self._bell:
                    os.eventfd_read(self._bell)
                pipe = self._pipes.get(descriptor)
                if pipe is not None and self._read(pipe) == b"":
                    self._share_of(pipe.client).add(pipe.lines.end(), time.monotonic())
                    self._note_last(pipe)
                    del self._pipes[descriptor]
                    self._poll.unregister(descriptor)
                    os.close(descriptor)
            now_s = time.monotonic()
            for client, share in list(self._shares.items()):
                if share.batch_bytes >= BATCH_BYTES or 0 < share.due_s <= now_s:
                    self._make_ready(client, is_last=share.batch_bytes == 0)
            has_news = bool(self._ready)
        if has_news:
            self._on_news()

    def _wait_s(self) -> float | None:
        due = [share.due_s for share in list(self._shares.values()) if share.due_s]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _read(self, pipe: _Pipe) -> bytes | None:
        """Read once. None if there is nothing, no bytes if nobody can write any more."""
        try:
            data = os.read(pipe.descriptor, MOST_READ_BYTES)
        except BlockingIOError:
            return None
        if data:
            text = pipe.lines.feed(data)
            if text:
                self._share_of(pipe.client).add(text, time.monotonic())
        return data

    def _share_of(self, client: int) -> Share:
        share = self._shares.get(client)
        if share is None:
            share = self._shares[client] = Share(self._host, time.monotonic())
        return share

    def _make_ready(self, client: int, is_last: bool) -> None:
        share = self._shares[client]
        text = share.take(time.monotonic(), is_last)
        while text:
            end = len(text) if len(text) <= BATCH_BYTES else text.rfind(b"\n", 0, BATCH_BYTES) + 1 or len(text)
            part, text = text[:end], text[end:]
            if self._ready_bytes > MOST_WAITING_BYTES:
                share.dropped += part.count(b"\n")
            else:
                self._ready.append((client, part))
                self._ready_bytes += len(part)
        if not share.dropped and not share.due_s and not any(pipe.client == client for pipe in self._pipes.values()):
            del self._shares[client]
