"""Attendant: the client's own thread.

While somebody waits in a way that runs no code of ours (a callback, an asyncio waiter, `wait` or `as_completed` of the
standard library), this thread drains the results; otherwise it looks every TICK_S while tasks are open, so that a ring
nobody reads is emptied, and rests when there are none. It is also where the client's objects and functions are tended
(`tend`). Callbacks have a thread of their own (client.callbacks).

Rule 1: it holds no reference to the client, so that a forgotten client can go: at once, or, if somebody still refers to
        futures that are not done, when it says so (`leave_when_unawaited`).
"""

import logging
import time
from collections.abc import Callable

from scaler._native import ClientRings, PendingFuture, WakeUp
from scaler.client.callbacks import CallbackThread
from scaler.program.threads import await_ends, new_thread

TICK_S = 0.05
END_S = 1.0
_log = logging.getLogger(__name__)


class Attendant:
    """Starts at once; `stop` ends it."""

    def __init__(self, rings: ClientRings, event: WakeUp, tend: Callable[[], None] = lambda: None) -> None:
        self._rings, self._event, self._tend = rings, event, tend
        self._stopping = False
        self._callbacks = CallbackThread(rings)
        self._leave: Callable[[], object] | None = None
        self._thread = new_thread("scaler-client", self._serve, runs_others=True)
        self._thread.start()

    def _serve(self) -> None:
        """Go on whatever happens: nobody else would tell those who wait."""
        while not self._stopping:
            try:
                self._attend()
            except BaseException:  # whatever others' code raises that comes in here, a finalizer or a callback
                _log.exception("the client's thread could not go on; it begins anew")
                time.sleep(TICK_S)
        while self._rings.has_untold:  # who holds a lock just now is to hear that all is over
            time.sleep(TICK_S)
            self._rings.call_back()

    def _attend(self) -> None:
        rings, event = self._rings, self._event
        while not self._stopping:
            if self._leave is not None and not rings.is_awaited():
                leave, self._leave = self._leave, None
                leave()
                return
            if rings.watched:
                if not rings.lead_for(TICK_S):
                    event.wait(TICK_S)
            elif rings.open_tasks:
                event.wait(TICK_S)
                if not rings.watched:
                    rings.look()
                    rings.check_scheduler()
            else:
                rings.rest(event)
            rings.call_back()
            if rings.needs_caller:
                self._callbacks.start()
            if self._stopping:
                return  # a callback has forked, and this is the copy
            self._serve_nest()
            if (stuck := rings.stuck()) is not None:
                _log.warning(stuck)
            rings.tend()
            self._tend()

    def _serve_nest(self) -> None:
        for future in self._rings.serve_nest():  # not in the loop above, whose names keep what they stand for
            self._run_aside(future)

    def _run_aside(self, future: PendingFuture) -> None:
        """Run a task on a thread of its own: it may wait, and then this thread is needed."""
        try:
            new_thread("scaler-task", lambda: self._rings.run_lent(future), runs_others=True).start()
        except RuntimeError:  # no more threads
            self._rings.run_lent(future)

    def leave_when_unawaited(self, leave: Callable[[], object]) -> None:
        """Have the client leave as soon as nobody refers to a future of it that is not done, or was not read."""
        self._leave = leave
        self._event.set()

    def on_fork(self) -> None:
        """In a forked child: if it was this thread that forked, the child ends with that."""
        self._stopping = True
        self._callbacks.on_fork()

    def stop(self) -> None:
        """End the thread, unless it is the one that calls. What callbacks are due still run."""
        self._stopping = True
        self._event.set()
        self._rings.interrupt()
        await_ends([self._thread], END_S)  # it may stay in code of the user's: the rings have bells of their own
        self._rings.call_back()
        self._callbacks.stop(END_S)
