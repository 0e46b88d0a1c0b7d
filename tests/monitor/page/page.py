"""For tests of the page: a pretended scheduler that publishes, and scaler_ui as a process that shows it."""

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from tests.entry_points.commands import Command


@contextmanager
def publishing(workers: int = 4, rate: int = 100, interval_s: float = 0.2, **more: object) -> Iterator[str]:
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
                return Answer(response.status, response.read().decode(), dict(response.headers))
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
