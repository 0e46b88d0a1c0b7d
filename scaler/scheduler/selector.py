"""PumpSelector: the event loop's selector, which drains the rings before it waits.

An asyncio wake-up costs about 9 us, a task's whole way through the core less than one. So the rings are drained where
the loop would sleep, and a wake-up that was only the doorbell's never gets as far as asyncio: drain, poll, drain again.

Not here: what is done with the records (the pump and the core), what a loop without a selector does (uvloop: program).
"""

import selectors
import time
from collections.abc import Callable
from typing import Any

from scaler._native import Pump

LONGEST_WAIT_S = 0.1
TICK_S = 0.01


class PumpSelector(selectors.EpollSelector):
    """`after_run()` does what the pump left to Python; true if asyncio has something to do now."""

    def __init__(self, pump: Pump, after_run: Callable[[], bool]) -> None:
        super().__init__()
        self._pump = pump
        self._after_run = after_run
        self._bell = self.register(pump.eventfd, selectors.EVENT_READ)
        self._next_tick = 0.0
        self._watched: dict[int, Callable[[], bool]] = {}

    def watch(self, descriptor: int, callback: Callable[[], bool]) -> None:
        """Call this when there is something to read. Asyncio hears of it only if that returns true."""
        self.register(descriptor, selectors.EVENT_READ, (None, None))  # as asyncio notes what has no handler of its own
        self._watched[descriptor] = callback

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        pump = self._pump
        deadline = None if timeout is None else time.monotonic() + timeout
        look_everywhere = False
        while True:
            busy = pump.run(look_everywhere)
            now = time.monotonic()
            if pump.needs_ticks:
                if now >= self._next_tick:
                    self._next_tick = now + TICK_S
                    pump.tick()
                wait = min(LONGEST_WAIT_S, max(0.0, self._next_tick - now))
            else:
                wait = LONGEST_WAIT_S
            if deadline is not None:
                wait = min(wait, max(0.0, deadline - now))
            wanted = self._after_run()
            events = super().select(0.0 if wanted or busy else wait)
            look_everywhere = not events and not busy
            for event in list(events):
                if event[0] is self._bell:
                    pump.hush()
                    events.remove(event)
                elif event[0].fd in self._watched:
                    wanted = self._watched[event[0].fd]() or wanted
                    events.remove(event)
            if wanted or events or (deadline is not None and time.monotonic() >= deadline):
                return events
