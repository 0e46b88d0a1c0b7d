"""StackReader: asks a worker what its code does just now, and makes of the answer what people read.

It has one file in memory, which all workers of a supervisor share: one of them is asked at a time. A worker's stack has
frames of our own around the task's; those are left out, and so are the threads that are ours alone.

Rule 1: the thread that reads waits for ANSWER_S at most, and hears in a sentence why there is no stack.
Rule 2: what a worker writes there is text to be shown, from a process that runs others' code: it is cut to
        MOST_STACK_BYTES and made printable.
Not here: how a worker answers (scaler.program.stack_dump), who wants to know (supervisor).
"""

import contextlib
import linecache
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

from scaler.program.blocking_call import BlockingCall
from scaler.program.stack_dump import KEY_AND_NUMBER, PAGE, STACK_SIGNAL, TEXT_OFFSET

ANSWER_S = 0.8
LOOK_S = 0.001
MOST_STACK_BYTES = 32_000  # of the text, so that it fits a packet to the listener
MOST_READ_BYTES = 1 << 20
_PACKAGE = str(Path(__file__).parents[1])
_MAIN = os.path.join(_PACKAGE, "worker", "main.py")
_THREADS = (threading.__file__, os.path.join(_PACKAGE, "program", "threads.py"))
_FRAME = re.compile(r'  File (?:"(.*)"|\?\?\?), line (\d+|\?\?\?) in (.*)')
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


class Asked(NamedTuple):
    """The worker that is asked."""

    pidfd: int
    pid: int
    key: str  # what its supervisor calls its process
    name: str


class _Frame(NamedTuple):
    file: str
    line: int  # 0: not known
    function: str

    @property
    def is_ours(self) -> bool:
        return self.file.startswith(_PACKAGE + os.sep)


class StackReader:
    """`open` before the first worker is started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._descriptor = -1

    def open(self) -> list[int]:
        """The descriptor that a worker is to inherit; none if there is none to be had: then it cannot be asked."""
        if self._descriptor < 0:
            with contextlib.suppress(OSError):
                self._descriptor = os.memfd_create("scaler-stacks", os.MFD_CLOEXEC)
                os.ftruncate(self._descriptor, TEXT_OFFSET)  # never less: workers have its first page mapped
        return [self._descriptor] if self._descriptor >= 0 else []

    async def ask(self, worker: Asked) -> tuple[str, str]:
        """(text, why there is none), without holding the event loop up."""
        try:
            pidfd = os.dup(worker.pidfd)
            asked = worker._replace(pidfd=pidfd)
            call = BlockingCall(lambda _: self.read(asked), drop=lambda _: None, close=lambda: os.close(pidfd))
            return await call.outcome()
        except (OSError, RuntimeError) as error:
            return "", f"its worker cannot be asked just now: {error}"

    def read(self, worker: Asked) -> tuple[str, str]:
        """(text, why there is none). For a thread: it may take ANSWER_S."""
        if self._descriptor < 0:
            return "", "its cluster had no descriptor left for asking when it started"
        with self._lock:
            self._number = self._number % 0xFFFFFFFF + 1
            os.ftruncate(self._descriptor, TEXT_OFFSET)
            os.pwrite(self._descriptor, KEY_AND_NUMBER.pack(int(worker.key, 16), self._number), 0)
            try:
                signal.pidfd_send_signal(worker.pidfd, STACK_SIGNAL)
            except ProcessLookupError:
                return "", "its worker has just ended"
            silent = self._await_answer()
            if silent is None:
                return "", _why_silent(worker)
            size = min(os.fstat(self._descriptor).st_size, TEXT_OFFSET + MOST_READ_BYTES) - TEXT_OFFSET
            text = os.pread(self._descriptor, max(0, size), TEXT_OFFSET).decode("utf-8", "replace")
        return _cut(describe(worker, text, silent)), ""

    def _await_answer(self) -> int | None:
        """How many threads have not answered, once the worker has; None if it has not in time."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            _, _, answered, _, silent = PAGE.unpack(os.pread(self._descriptor, PAGE.size, 0))
            if answered == self._number:
                return int(silent)
            if time.monotonic() > deadline:
                return None
            time.sleep(LOOK_S)

    def close(self) -> None:
        """A thread may still be reading: it is waited for."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def describe(worker: Asked, dump: str, silent: int = 0) -> str:
    """What people read: the outermost call first, as in a traceback, with the lines of the source that are here."""
    lines = []
    for number, (thread, frames) in enumerate(_threads_in(dump) or [("", [])]):
        is_main = number == 0
        frames = _of_the_task(frames)
        if not is_main and all(frame.is_ours for frame in frames):
            continue  # one of ours
        lines.append(
            f"worker {worker.name} (process {worker.pid}), most recent call last:" if is_main else f"thread {thread}:"
        )
        if not frames:
            lines.append("  (no line of Python: the task's function is itself a builtin, or written in C)")
        lines += [line for frame in frames for line in _lines_of(frame)]
    if silent:
        lines.append(f"({silent} other threads did not answer)")
    text = "\n".join(lines) + "\n"
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


def _threads_in(dump: str) -> list[tuple[str, list[_Frame]]]:
    """Each thread with its frames, the outermost first, as faulthandler has written them."""
    threads: list[tuple[str, list[_Frame]]] = []
    for line in dump.splitlines():
        if line.startswith("thread "):
            threads.append((line.removeprefix("thread "), []))
        elif not threads:
            continue
        elif found := _FRAME.fullmatch(line):
            file, number, function = found.groups()
            number = int(number) if number.isdigit() else 0
            threads[-1][1].insert(0, _Frame(_unescaped(file or "???"), number, _unescaped(function)))
        elif line == "  ...":
            threads[-1][1].insert(0, _Frame("", 0, "..."))
    return threads


def _unescaped(text: str) -> str:
    """faulthandler writes ASCII: what is not is escaped, and a backslash is not, but who has both in a name?"""
    return _ESCAPE.sub(lambda found: chr(int(found[0][2:], 16)), text)


def _of_the_task(frames: list[_Frame]) -> list[_Frame]:
    """Without what runs the task, or starts the thread."""
    begins = [place for place, frame in enumerate(frames) if frame.file == _MAIN and frame.function == "main"]
    if begins:
        return frames[begins[-1] + 1 :]
    for place, frame in enumerate(frames):
        if frame.file not in _THREADS:
            return frames[place:]
    return []


def _lines_of(frame: _Frame) -> list[str]:
    if not frame.file:
        return ["  (calls further out are left out)"]
    lines = [f'  File "{frame.file}", line {frame.line or "?"}, in {frame.function}']
    try:
        linecache.checkcache(frame.file)
        source = linecache.getline(frame.file, frame.line).strip() if frame.line else ""
    except Exception:  # whatever is in that file
        source = ""
    return [*lines, f"    {source}"] if source else lines


def _cut(text: str) -> str:
    """At most MOST_STACK_BYTES, with what was called last."""
    data = text.encode("utf-8", "replace")
    if len(data) <= MOST_STACK_BYTES:
        return data.decode()
    left = data[-MOST_STACK_BYTES:].decode("utf-8", "ignore")
    return "(what comes first is left out)\n" + left.partition("\n")[2]


def _why_silent(worker: Asked) -> str:
    """Why a worker has not answered, as the kernel sees it."""
    state = ""
    caught = blocked = 1 << (STACK_SIGNAL - 1)
    try:
        for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "State":
                state = value.strip()[:1]
            elif name == "SigCgt":
                caught &= int(value, 16)
            elif name == "SigBlk":
                blocked &= int(value, 16)
    except (OSError, ValueError):
        return f"its worker {worker.name} (process {worker.pid}) has not answered within {ANSWER_S:g} s"
    who = f"its worker {worker.name} (process {worker.pid})"
    if state in "Tt":
        return f"{who} is stopped (by SIGSTOP or a debugger)"
    if state == "Z":
        return f"{who} has just ended"
    if not caught:
        return f"{who} does not answer: a task has taken {STACK_SIGNAL.name}, by which it is asked, for itself"
    if blocked:
        return f"{who} does not answer: a task has blocked {STACK_SIGNAL.name}, by which it is asked"
    if state == "D":
        return f"{who} waits in the kernel for a device, where no signal reaches it"
    return (
        f"{who} has not answered within {ANSWER_S:g} s: it is busy, or a task has taken {STACK_SIGNAL.name}, by which "
        "it is asked, for itself"
    )
