"""ControlQueue: control records to clients of this host, in order, for which their rings may have no room yet.

Answers to questions, and what tasks have written. A client reads its control ring when it comes to it, and what it has
not read is bounded: of output, what is more is dropped, in whole texts, and the client is told how many lines it had.

Rule 1: what is put in for one client goes out in that order, each once, however often it is the same.
Not here: what is said again and again and needs no order (scheduler: `_say`).
"""

from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from scaler._native import KIND_OUTPUT, Peer
from scaler.protocol.questions import dropped_output, parts_of_output

MOST_OUTPUT_BYTES = 4 << 20  # for one client


@dataclass(eq=False)
class _Line:
    records: deque[tuple[int, bytes]] = field(default_factory=deque)
    n_bytes: int = 0
    dropped: int = 0  # lines of output, not said yet


class ControlQueue:
    """`write(client, kind, payload)` is false if its ring has no room."""

    def __init__(self, write: Callable[[Peer, int, bytes], bool]) -> None:
        self._write = write
        self._lines: dict[Peer, _Line] = {}

    def add(self, client: Peer, kind: int, payload: bytes) -> None:
        line = self._lines.setdefault(client, _Line())
        line.records.append((kind, payload))
        line.n_bytes += len(payload)

    def add_output(self, client: Peer, text: bytes) -> None:
        """Whole lines that its tasks have written."""
        line = self._lines.setdefault(client, _Line())
        if line.n_bytes > MOST_OUTPUT_BYTES:
            line.dropped += text.count(b"\n")
            return
        if line.dropped:
            text, line.dropped = dropped_output(line.dropped) + text, 0
        for part in parts_of_output(text):
            self.add(client, KIND_OUTPUT, part)

    def go_on(self, here: Container[Peer]) -> None:
        """Say what there is room for; who has left hears no more."""
        for client, line in list(self._lines.items()):
            while line.records and client in here and self._write(client, *line.records[0]):
                line.n_bytes -= len(line.records.popleft()[1])
            if client not in here or not (line.records or line.dropped):
                del self._lines[client]
            elif not line.records:
                self.add(client, KIND_OUTPUT, dropped_output(line.dropped))
                line.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._lines)
