"""The scheduler as a program: a loop, signals, and the way out."""

import asyncio
import logging
import signal
from collections.abc import Callable

from scaler.address import Address
from scaler.scheduler.scheduler import Scheduler
from scaler.scheduler.selector import PumpSelector

_log = logging.getLogger(__name__)


def run(
    scheduler: Scheduler, address: Address, lifeline: int = -1, on_ready: Callable[[Address], None] | None = None
) -> int:
    """Serve until told to stop by a signal, a client, or the end of `lifeline` (a descriptor of the creator)."""
    loop = asyncio.SelectorEventLoop(PumpSelector(scheduler.pump, scheduler.after_run))
    try:
        asyncio.set_event_loop(loop)
        bound = scheduler.open(loop, address)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, scheduler.stop)
        if lifeline >= 0:
            loop.add_reader(lifeline, scheduler.stop)
        _log.info("scheduler listens at %s", bound)
        if on_ready is not None:
            on_ready(bound)
        loop.run_until_complete(scheduler.closed)
        _log.info("scheduler stops")
        return 0
    finally:
        scheduler.close()
        loop.close()
