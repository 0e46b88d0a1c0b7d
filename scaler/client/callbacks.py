"""Callbacks: the thread in which the callbacks of a client's futures run (`add_done_callback`).

A callback is the user's code: it may compute for a second, wait for other tasks, or never come back. So it runs neither
in the thread that has taken the result nor in the client's background thread, which has to tell all who use the
standard library's `wait` or await a future. What asyncio adds by itself only tells an event loop, and is left to the
background thread, so that a callback may run an event loop that awaits futures of the same client.

Rule 1: no callback is lost. The thread goes on when the client has left, and a program does not end before it has, as
        with an executor's thread.
Rule 2: callbacks run one after the other: one that waits for what another one does waits for ever, as with
        ProcessPoolExecutor.
Rule 3: there is no thread before a callback is due. If none can be started any more, the background thread
        runs them.
Not here: which callbacks are due (native/client/notifier.pyx); those of a future that is done already or is
cancelled, which run in the thread that adds them or cancels it.
"""

import atexit
import logging
import threading

from scaler._native import Notifier
from scaler.program.threads import await_ends, new_thread

REST_S = 3600.0  # it is woken
_log = logging.getLogger(__name__)
_running: set[threading.Thread] = set()


class CallbackThread:
    """Of one client. Holds no reference to it, so that a forgotten client can go."""

    def __init__(self, notifier: Notifier) -> None:
        self._completion, self._is_ending = notifier, False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Callbacks are due for the first time."""
        thread = new_thread("scaler-callbacks", self._serve, runs_others=True)
        _running.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends
            _running.discard(thread)
            self._run()
        else:
            self._thread, self._completion.has_caller = thread, True

    def _serve(self) -> None:
        try:
            while True:
                is_ending = self._is_ending  # read before: what is queued until then is run below
                self._run()
                if is_ending:
                    return
                self._completion.call_event.wait(REST_S)
        finally:
            _running.discard(threading.current_thread())

    def _run(self) -> None:
        """Run what is due, all of it, whatever one of them raises."""
        while True:
            try:
                return self._completion.run_callbacks()
            except BaseException:  # SystemExit and such; what is an Exception has been logged
                _log.exception("a callback has tried to end its thread")

    def on_fork(self) -> None:
        """In a forked child: if it was this thread that forked, in a callback, the child ends with that."""
        self._is_ending = True
        _running.clear()

    def stop(self, patience_s: float) -> None:
        """No more callbacks will come: end the thread when all have run, and wait so long for that."""
        self._is_ending = True
        if self._thread is None:
            self._run()
        else:
            self._completion.call_event.set()
            await_ends([self._thread], patience_s)


def _finish() -> None:
    """At the interpreter's end: what has begun, or is due, is not cut off."""
    for thread in list(_running):
        thread.join()


atexit.register(_finish)
