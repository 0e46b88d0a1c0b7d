"""Threads: how each thread of ours begins and ends, and what happens when what it does raises.

An exception that leaves a thread is written to stderr and that is all: what waits for the thread's work waits for ever,
and its entry, where it has one, stands there as that of a thread that lives.

Rule 1: a thread of ours is made by `new_thread`. If its body raises, that is logged once, with the traceback, and its
        owner is told by `on_failed`: which takes the entry out and fails what waits for it.
Rule 2: a body that serves many (a port, a log, the workers' output) catches what one of them brings about, logs it, and
        goes on with the next.
Rule 3: a thread that was told to end is waited for with a limit, and whether it has ended is looked at (`await_ends`).
        What it uses is given up by whichever is last, this thread or that one (GivenUpLast), never under its feet.
Rule 4: nobody waits for a task in a thread of ours: it may be needed for that very task. Finalizers, which the
        collector runs in any thread, are told so. The exceptions say `runs_others`: they exist to run others' code.
Rule 5: where a library would end the process if it got no thread, as libzmq does, it is tried first whether there are
        as many as it needs (`check_threads`). Somebody else may still take them in between, but hardly ever does.
Not here: threads of the user's tasks, asyncio's.
"""

import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterable

from scaler._native import forbid_waiting
from scaler.exceptions import LimitError

_log = logging.getLogger(__name__)
MOST_LOOKS, LOOK_S = 50, 0.0002


class _Thread(threading.Thread):
    """One that says what limit keeps it from starting."""

    def start(self) -> None:
        try:
            super().start()
        except RuntimeError as error:
            if self.ident is not None:
                raise  # it has been started before
            raise no_more_threads() from error


def new_thread(
    name: str,
    body: Callable[[], object],
    on_failed: Callable[[BaseException], object] = lambda error: None,
    *,
    runs_others: bool = False,
) -> threading.Thread:
    """A thread that is still to be started. It is a daemon: none of ours keeps a program from ending."""

    def run() -> None:
        if not runs_others:
            forbid_waiting()
        try:
            body()
        except BaseException as error:
            _log.exception("the thread %s has failed", name)
            on_failed(error)

    return _Thread(target=run, name=name, daemon=True)


def no_more_threads() -> LimitError:
    """What to raise when a thread or a process could not be started."""
    most, memory = (resource.getrlimit(which)[0] for which in (resource.RLIMIT_NPROC, resource.RLIMIT_AS))
    return LimitError(
        f"no more processes or threads can be started here: this user may have {_shown(most)} of them (ulimit -u), a "
        f"process {_shown(memory)} of bytes of memory (ulimit -v), and a container may have a limit too (pids.max)"
    )


def _shown(limit: int) -> str:
    return "any number" if limit == resource.RLIM_INFINITY else str(limit)


def check_threads(count: int) -> None:
    """LimitError if so many threads cannot be started now."""
    before = _count_threads()
    gate = threading.Event()
    threads = [_Thread(target=gate.wait, name="scaler-check", daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
    finally:
        gate.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    for _ in range(MOST_LOOKS):  # one that has been joined may still be there for the kernel
        if _count_threads() <= before:
            return
        time.sleep(LOOK_S)


def _count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def await_ends(threads: Iterable[threading.Thread], timeout_s: float) -> list[threading.Thread]:
    """Wait for all of these together for so long: which have not ended. The caller is not waited for, if it is one."""
    deadline = time.monotonic() + timeout_s
    running = []
    for thread in threads:
        if thread is threading.current_thread() or thread.ident is None:
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            running.append(thread)
    if running:
        names = ", ".join(sorted(thread.name for thread in running))
        _log.warning("not ended within %g s: %s", timeout_s, names)
    return running


class GivenUpLast:
    """What a thread and its owner both use, and whichever is the last to need it gives up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_in_use = False
        self._give_up: Callable[[], object] | None = None

    def begin(self) -> None:
        """The thread is about to be started."""
        self._is_in_use = True

    def end(self) -> None:
        """The last that the thread does."""
        with self._lock:
            self._is_in_use = False
            give_up, self._give_up = self._give_up, None
        if give_up is not None:
            give_up()

    def leave(self, give_up: Callable[[], object]) -> None:
        """The owner needs it no more: `give_up` is called now, or by the thread if that has not ended."""
        with self._lock:
            if self._is_in_use:
                self._give_up = give_up
                return
        give_up()
