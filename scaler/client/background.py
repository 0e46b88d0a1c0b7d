"""BackgroundThread: the thread that a client has of its own.

It does what no caller's thread can be relied on for:

* It takes results while somebody waits in a way that runs no code of ours (a callback, an asyncio waiter, `wait` or
  `as_completed` of the standard library), and tells them. Otherwise it looks every TICK_S while tasks are open, so that
  a ring nobody reads is emptied, and rests when there are none.
* It looks after the client's objects and functions (`tend`).
* In a worker it has tasks run that the scheduler has lent, each on a thread of its own.

Callbacks have a thread of their own (client.callbacks).

Rule 1: it holds no reference to the client, so that a forgotten client can go: at once, or, if somebody still refers to
        futures that are not done, when this thread says so (`leave_when_unawaited`).
"""

import logging
import time
from collections.abc import Callable

from scaler._native import ClientRings, PendingFuture, WakeUp, WorkerClientRings
from scaler.client.callbacks import CallbackThread
from scaler.program.threads import await_ends, new_thread

TICK_S = 0.05
END_S = 1.0
_log = logging.getLogger(__name__)


class BackgroundThread:
    """Starts at once; `stop` ends it."""

    def __init__(self, rings: ClientRings, event: WakeUp, tend: Callable[[], None] = lambda: None) -> None:
        self._rings, self._event, self._tend = rings, event, tend
        self._worker_rings = rings if isinstance(rings, WorkerClientRings) else None
        self._stopping = False
        self._callbacks = CallbackThread(rings.notifier)
        self._leave: Callable[[], object] | None = None
        self._thread = new_thread("scaler-client", self._serve, runs_others=True)
        self._thread.start()

    def _serve(self) -> None:
        """Go on whatever happens: no other thread would tell those who wait."""
        while not self._stopping:
            try:
                self._work()
            except BaseException:  # whatever others' code raises that comes in here, a finalizer or a callback
                _log.exception("the client's thread could not go on; it begins anew")
                time.sleep(TICK_S)
        while self._rings.notifier.has_untold:  # a waiter whose lock is held just now is to hear that all is over
            time.sleep(TICK_S)
            self._rings.call_back()

    def _work(self) -> None:
        rings, notifier, event = self._rings, self._rings.notifier, self._event
        while not self._stopping:
            if self._leave is not None and not rings.is_awaited():
                leave, self._leave = self._leave, None
                leave()
                return
            if notifier.watched:
                if not rings.lead_for(TICK_S):
                    event.wait(TICK_S)
            elif rings.open_tasks:
                event.wait(TICK_S)
                if not notifier.watched:
                    rings.look()
                    rings.check_scheduler()
            else:
                rings.rest(event)
            rings.call_back()
            if notifier.needs_caller:
                self._callbacks.start()
            if self._stopping:
                return  # a callback has forked, and this is the copy
            if self._worker_rings is not None:
                self._serve_lent(self._worker_rings)
            rings.tend()
            self._tend()

    def _serve_lent(self, rings: WorkerClientRings) -> None:
        """In a worker: have tasks run that the scheduler has lent, and say when none gets on."""
        for future in rings.serve():
            self._run_aside(rings, future)
        if (stuck := rings.stuck()) is not None:
            _log.warning(stuck)

    def _run_aside(self, rings: WorkerClientRings, future: PendingFuture) -> None:
        """Run a task on a thread of its own: it may wait, and then this thread is needed."""
        try:
            new_thread("scaler-task", lambda: rings.run_lent(future), runs_others=True).start()
        except RuntimeError:  # no more threads
            rings.run_lent(future)

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
