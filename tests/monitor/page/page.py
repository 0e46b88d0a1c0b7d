"""For tests of the page: a pretended scheduler that publishes, and scaler_ui as a process that shows it."""

import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

import zmq

from scaler.monitor.codec import encode
from scaler.monitor.report import Report, Stack, Tally, Task
from tests.entry_points.commands import Command
from tests.monitor.pretended import PretendedCluster


@contextmanager
def publishing(workers: int = 4, rate: int = 100, interval_s: float = 0.2, **more: int) -> Iterator[str]:
    """A scheduler that says what a pretended cluster does, in a process of its own; its monitor address."""
    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/m"
        words = [f"--workers={workers}", f"--rate={rate}", f"--interval={interval_s}", f"--address={address}"]
        words += [f"--{name}={value}" for name, value in more.items()]
        process = subprocess.Popen([sys.executable, "-m", "tests.monitor.pretended", *words])
        try:
            yield address
        finally:
            process.kill()
            process.wait()


class Scheduler(threading.Thread):
    """A pretended cluster that is published from a thread of this process, and that answers about tasks.

    So a test can give it strange names, have it lose events, stop it, and start another at the same address.
    """

    def __init__(self, cluster: PretendedCluster, address: str, interval_s: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._cluster, self._address, self._interval_s = cluster, address, interval_s
        self._ended = threading.Event()
        self.topics: set[str] = set()
        """What somebody has subscribed to."""

    def run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.XPUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(self._address)
        try:
            while not self._ended.wait(self._interval_s):
                while socket.poll(0):
                    said = socket.recv()
                    (self.topics.add if said[0] else self.topics.discard)(said[1:].decode())
                self._cluster.go_on(self._interval_s)
                for report in [*self._cluster.reports(), *self._answers()]:
                    socket.send_multipart([report.topic.encode(), encode(report)])
        finally:
            socket.close(0)
            context.term()

    def _answers(self) -> Iterator[Report]:
        for topic in self.topics:
            kind, _, number = topic.partition("/")
            body: Task | Stack | None = None
            if kind == "task":
                body = Task(
                    int(number, 16), "ready", "It is behind 41 others.", Tally.of({"ahead": 41}), 1, "model.fit"
                )
            elif kind == "stack":
                body = Stack(int(number, 16), 'File "model.py", line 7, in fit\n  while True:')
            if body is not None:
                yield Report(self._cluster.epoch, 1, self._cluster.wall_ns, self._cluster.clock_ns, body)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


class Answer(NamedTuple):
    status: int
    text: str
    headers: Mapping[str, str]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Page:
    """scaler_ui, on any free port. `is_ready` waits until a report has come; a recording is ready at once."""

    def __init__(self, source: str, *options: str) -> None:
        self.command = Command("scaler_ui", "--port", "0", *options, source)
        self._waits = "://" in source and not source.endswith("/none") and "--host" not in options

    def __enter__(self) -> Self:
        self.command.__enter__()
        try:
            port = self.command.await_line(r"is at http://\S+?:(\d+)/")
        except BaseException:
            self.command.__exit__(None, None, None)
            raise
        self.url = f"http://127.0.0.1:{port}/"
        try:
            if self._waits:
                self.await_text("metrics", "scaler_host_workers")
        except BaseException:
            self.command.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.command.__exit__(kind, error, traceback)

    def get(self, path: str, follow: bool = True, **headers: str) -> Answer:
        request = urllib.request.Request(self.url + path, headers=headers)
        opener = urllib.request.build_opener() if follow else urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=10) as response:
                return Answer(response.status, response.read().decode(errors="replace"), dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode(), dict(error.headers))

    def await_text(self, path: str, words: str, timeout_s: float = 10) -> str:
        """What is at this path, once these words are in it."""
        deadline = time.monotonic() + timeout_s
        while words not in (text := self.get(path).text):
            assert time.monotonic() < deadline, f"{path} still says {text[:500]!r}"
            time.sleep(0.1)
        return text
