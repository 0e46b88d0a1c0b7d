"""A TCP proxy on loopback whose connections a test can cut or hold up, for links that break.

Rule 1: what is held up is not lost: as on a real network, where TCP sends it again once the way is free.
"""

import select
import socket
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit

CHUNK_BYTES = 65536


class Proxy:
    """Everything sent to `address` goes to `target` and back, until `cut`; nothing does from `hold` to `release`.

    `pause_s` after each 64 KiB makes a slow link. A connection through which nothing has come either way for `idle_s`
    is forgotten, as a firewall forgets it: it is cut, and counted in `forgotten`.
    """

    def __init__(self, target: str, pause_s: float = 0.0, idle_s: float | None = None) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        self._target = parts.hostname, parts.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._is_free = threading.Event()
        self._is_free.set()
        self._stopping = False
        self._pause_s = pause_s
        self.passed_bytes = 0  # both ways
        self._idle_s = idle_s
        self._heard_s: dict[tuple[socket.socket, socket.socket], float] = {}
        self.forgotten = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return  # it is closed
            self._is_free.wait()
            try:
                there = socket.create_connection(self._target)
            except OSError:
                here.close()
                continue
            pair = here, there
            with self._lock:
                self._pairs.add(pair)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for one, other in (pair, pair[::-1]):
                self._threads.append(threading.Thread(target=self._forward, args=(one, other, pair), daemon=True))
                self._threads[-1].start()

    def _forward(self, one: socket.socket, other: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        try:
            while data := self._receive(one, pair):
                self.on_data(data)
                self._is_free.wait()
                other.sendall(data)
                time.sleep(self._pause_s * len(data) / CHUNK_BYTES)
                with self._lock:
                    self.passed_bytes += len(data)
        except OSError:
            pass
        self._cut(pair)

    def _receive(self, one: socket.socket, pair: tuple[socket.socket, socket.socket]) -> bytes:
        """What comes next; nothing if that is the end, or if the connection is forgotten."""
        self._heard_s[pair] = time.monotonic()
        while self._idle_s is not None:
            poll = select.poll()
            poll.register(one, select.POLLIN)
            if poll.poll(self._idle_s * 1000 / 10):
                break
            if time.monotonic() - self._heard_s[pair] > self._idle_s:
                with self._lock:
                    self.forgotten += pair in self._pairs
                return b""
        data = one.recv(CHUNK_BYTES)
        self._heard_s[pair] = time.monotonic()
        return data

    def on_data(self, data: bytes) -> None:
        """What comes by, for those who listen."""

    def _cut(self, pair: tuple[socket.socket, socket.socket]) -> bool:
        """Close both ends; whatever is under way is lost. False if they were closed already."""
        with self._lock:
            if pair not in self._pairs:
                return False
            self._pairs.discard(pair)
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)  # a thread may be waiting in it
            except OSError:
                pass
            end.close()
        return True

    def cut(self) -> int:
        """Close all connections, whatever is under way. How many there were."""
        with self._lock:
            pairs = list(self._pairs)
        return sum(self._cut(pair) for pair in pairs)

    def hold(self) -> None:
        """From here on nothing gets through, and nobody is told; newcomers are accepted all the same."""
        self._is_free.clear()

    def release(self) -> None:
        """The end of that."""
        self._is_free.set()

    def close(self) -> None:
        self._stopping = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self.release()
        for thread in self._threads:
            thread.join()
        self.cut()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
