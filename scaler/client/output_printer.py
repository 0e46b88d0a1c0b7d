"""OutputPrinter: what this client's tasks write is printed here, on stderr: `Client(..., stream_output=True)`.

A thread of its own reads the control ring and prints. So a terminal that is stopped holds up neither the client nor its
tasks: what has no room is dropped, in whole lines, and the next line says how many. Where a tqdm bar is on the screen,
the lines go above it.

Rule 1: each line is printed whole and once; lines of one task stay in order.
Rule 2: what tasks have written before they ended is printed before the client has left. If that takes longer than
        LAST_S, or a cluster does not answer, the last line says that something may be missing.
Not here: where it is written (scaler.worker.output_capture), how much of it comes (scaler.cluster.output_forwarder).
"""

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable

from scaler._native import KIND_OUTPUT, ClientRings
from scaler.program.threads import await_ends, new_thread

LOOK_S = 0.05
BUSY_S = 0.005  # the same while there is more than a ring holds
LAST_S = 4.0  # more than the scheduler waits for a cluster that does not answer
PRINTED_S = 2.0  # for the thread to end
MOST_WAITING_BYTES = 8 << 20


class OutputPrinter:
    """`flush(timeout_s)` has all that was written so far come here, and says why not if it has not; `write` is for
    tests.
    """

    def __init__(
        self, rings: ClientRings, flush: Callable[[float], str], write: Callable[[str], object] | None = None
    ) -> None:
        self._rings, self._flush, self._write = rings, flush, write or print_lines
        self._came: deque[bytes] = deque()
        self._came_bytes = 0
        self._dropped = 0  # lines
        self._rest = b""  # of a line that has not come whole
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # who prints
        rings.connection.heard[KIND_OUTPUT] = self._on_output
        self._thread = new_thread("scaler-output", self._serve)
        self._thread.start()

    def _on_output(self, payload: bytes) -> None:
        """In whichever thread reads the ring."""
        if self._came_bytes > MOST_WAITING_BYTES:
            self._dropped += payload.count(b"\n")
        else:
            self._came.append(payload)
            self._came_bytes += len(payload)

    def _serve(self) -> None:
        wait_s = LOOK_S
        while not self._stopping.wait(wait_s):
            self._rings.tend()
            wait_s = BUSY_S if self._print() else LOOK_S

    def _print(self) -> bool:
        """Print what has come. False if that is nothing."""
        with self._lock:
            parts = []
            while self._came:
                parts.append(self._came.popleft())
            self._came_bytes = 0
            whole, newline, self._rest = (self._rest + b"".join(parts)).rpartition(b"\n")
            text = (whole + newline).decode("utf-8", "replace")
            dropped, self._dropped = self._dropped, 0
            if dropped:
                text += f"(scaler: {dropped} lines are left out here: they could not be printed in time)\n"
            if text:
                self._print_text(text)
            return bool(parts)

    def _print_text(self, text: str) -> None:
        with contextlib.suppress(Exception):  # stderr is closed, or the user's own
            self._write(text)

    def stop(self, goes_on: bool = True) -> None:
        """Print what is left; idempotent. With `goes_on` there is still somebody to ask for that."""
        if self._stopping.is_set():
            return
        missing = ""
        if goes_on:
            try:
                missing = self._flush(LAST_S)
            except Exception as error:  # the scheduler has gone meanwhile
                missing = str(error)
        self._stopping.set()
        if not await_ends([self._thread], PRINTED_S):
            self._print()
            if missing:
                self._print_text(f"(scaler: what tasks have written last may be missing here: {missing})\n")

    def on_fork(self) -> None:
        """In a forked child: the thread is the parent's, and whatever it held just then is held for ever."""
        self._stopping = threading.Event()
        self._stopping.set()


def print_lines(text: str) -> None:
    """Print whole lines on stderr, above the bars of tqdm if there are any."""
    tqdm = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
    if tqdm is not None and getattr(tqdm, "_instances", None):
        tqdm.write(text, file=sys.stderr, end="")
    else:
        sys.stderr.write(text)
        sys.stderr.flush()
