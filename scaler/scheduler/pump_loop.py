"""PumpLoop: uvloop with the rings drained, for the scheduler. What PumpSelector is to asyncio's own loop.

uvloop waits in C and has no selector that could drain the rings before it waits. So the doorbell is a descriptor like
any other here, a pass over the rings follows whatever else the loop has read, and a timer stands in for the time limits
of PumpSelector.

Rule 1: after every reader's callback comes a pass, so that what it has changed goes out at once.
Not here: what is done with the records (the pump and the core).
"""

from collections.abc import Callable
from typing import Any, TypeVarTuple, Unpack

import uvloop

from scaler._native import Pump
from scaler.scheduler.selector import LONGEST_WAIT_S, TICK_S

_Arguments = TypeVarTuple("_Arguments")


class PumpLoop(uvloop.Loop):
    """`after_run()` does what the pump left to Python; true if there may be more to do now."""

    def __init__(self, pump: Pump, after_run: Callable[[], bool]) -> None:
        super().__init__()
        self._pump = pump
        self._after_run = after_run
        self._is_due = False  # a pass will come before the loop waits
        self._has_passed = True  # since the timer was set
        self._next_tick = 0.0
        self._timer_at = 0.0
        self._timer: Any = None
        super().add_reader(pump.eventfd, self._on_bell)
        self._pass_soon()

    def add_reader(self, fd: Any, callback: Callable[[Unpack[_Arguments]], Any], *args: *_Arguments) -> None:
        super().add_reader(fd, self._read, callback, *args)

    def _read(self, callback: Callable[[Unpack[_Arguments]], Any], *args: *_Arguments) -> None:
        self._pass_soon()
        callback(*args)

    def _on_bell(self) -> None:
        self._pump.hush()
        self._pass()

    def _pass_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            self.call_soon(self._pass)

    def _pass(self, look_everywhere: bool = False) -> None:
        self._is_due = False
        self._has_passed = True
        pump = self._pump
        busy = pump.run(look_everywhere)
        now = self.time()
        if pump.needs_ticks:
            if now >= self._next_tick:
                self._next_tick = now + TICK_S
                pump.tick()
            wait = TICK_S
        else:
            wait = LONGEST_WAIT_S
        wanted = self._after_run()
        if busy or wanted:
            self._pass_soon()
        if self._timer is None or self._timer_at > now + wait:
            self._set_timer(now + wait)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self.call_at(at, self._on_timer)
        self._has_passed = False

    def _on_timer(self) -> None:
        self._timer = None
        self._pass(look_everywhere=not self._has_passed)

    def close(self) -> None:
        if not self.is_closed():
            if self._timer is not None:
                self._timer.cancel()
            self.remove_reader(self._pump.eventfd)
        super().close()
