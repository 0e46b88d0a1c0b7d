"""Limit: a task's time limit in a process that is not ours.

A worker is told by its supervisor, which may kill it. Here a thread of the process looks, and raises TaskCancelled in
the thread that runs the task: by a signal if that is the main thread, which ends a sleep or a wait too; elsewhere
Python raises it at the next step of Python code, so code that sleeps in the C library goes on until it comes back.

Rule 1: nothing is raised but between `__enter__` and `__exit__`, in the code of the task.
Rule 2: each call of a chunk has the whole limit.
Not here: what the program does about a job that does not come back at all (session).
"""

import ctypes
import signal
import threading
import time
from types import TracebackType
from typing import Any

from scaler.cancellation import STOP_SIGNAL
from scaler.exceptions import TaskCancelled
from scaler.program.threads import new_thread
from scaler.values import payload
from scaler.values.sent_function import name_of

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
_lock = threading.Condition()
_pending: "set[Limit]" = set()
_watch: threading.Thread | None = None


class Limit:
    """A context for the code of one task, or of one call of it after the other. Without a limit it costs nothing."""

    def __init__(self, limit_ms: int, worker: str) -> None:
        self._limit_s, self._worker = limit_ms / 1000, worker
        self.function: Any = None
        self.has_fired = self._is_armed = False
        self._due_s = 0.0
        self._thread = 0

    def begin_anew(self) -> None:
        """The next call has a limit of its own."""
        self.has_fired = False

    def __enter__(self) -> None:
        if not self._limit_s:
            return
        self._thread, self._due_s = threading.get_ident(), time.monotonic() + self._limit_s
        if self._thread == threading.main_thread().ident and signal.getsignal(STOP_SIGNAL) is not _on_signal:
            signal.signal(STOP_SIGNAL, _on_signal)
        with _lock:
            self._is_armed = True
            _pending.add(self)
            _begin_to_watch()
            _lock.notify()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._limit_s:
            return
        self._is_armed = False  # first of all: the handler of the signal asks this
        with _lock:
            _pending.discard(self)
            if self.has_fired:
                _raise_in(ctypes.c_ulong(self._thread), None)  # what has not been raised yet never will be

    def description(self, error: BaseException | None) -> bytes | None:
        """What a task has to say that ran longer than it may; None if it did not."""
        if not self.has_fired:
            return None
        text = (
            f"{name_of(self.function)} ran longer than its limit of {self._limit_s:g} s on worker {self._worker} "
            "and was stopped"
        )
        return payload.describe_overdue(text, error)

    def look(self, now_s: float) -> float:
        """In the thread that looks, with the lock: raise if it is time. When to look again."""
        if not self._is_armed:
            return now_s + 60.0
        if now_s < self._due_s:
            return self._due_s
        self.has_fired = True
        if self._thread == threading.main_thread().ident:
            signal.pthread_kill(self._thread, STOP_SIGNAL)
            return now_s + 0.1  # it may have come in the midst of something that caught it
        _raise_in(ctypes.c_ulong(self._thread), ctypes.py_object(TaskCancelled))
        return now_s + 1.0


def _on_signal(number: int, frame: Any) -> None:
    thread = threading.get_ident()
    for one in list(_pending):
        if one._thread == thread and one._is_armed and one.has_fired:
            raise TaskCancelled()


def _begin_to_watch() -> None:
    global _watch
    if _watch is None or not _watch.is_alive():  # a process that was forked has no such thread
        _watch = new_thread("scaler-limits", _look)
        _watch.start()


def _look() -> None:
    with _lock:
        while True:
            now_s = time.monotonic()
            due_s = min([one.look(now_s) for one in _pending], default=now_s + 60.0)
            _lock.wait(max(0.001, due_s - now_s))
