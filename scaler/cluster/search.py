"""SchedulerSearch: how a supervisor finds the scheduler at its address, and whether that is on its own host.

It says hello, and tries to hand in rings of its own: if the scheduler takes them, it shares this host's memory, and the
workers go to it themselves. Otherwise they need a relay.

Rule 1: a scheduler of this host that does not answer the handshake is greeted again: it is stopped, or ends, and the
        one after it may be here, too.
Rule 2: what fails for want of a descriptor or a thread is tried again once the supervisor has worked for a scheduler.
Not here: what is done with the scheduler that was found (supervisor), how often greetings go out (session.dealer).
"""

import asyncio
import logging
import time
from collections.abc import Callable

from scaler.colocation.handshake import LocalConnection, NotCoLocated, Refused, Unanswered, handshake
from scaler.exceptions import DisconnectedError, LimitError, ScalerError
from scaler.program.blocking_call import BlockingCall, in_thread
from scaler.protocol.frames import Hello, Welcome
from scaler.session.dealer import Dealer, greet

_log = logging.getLogger(__name__)
SMALLEST_RING_BYTES = 1024
AGAIN_S = 1.0  # before what failed for want of an answer, a descriptor or a thread is tried again


class SchedulerSearch:
    """`stopping` ends it. `has_workers()`: workers of this host have outlived a scheduler and wait for the next one."""

    def __init__(
        self,
        address: str,
        timeout_s: float,
        stopping: asyncio.Event,
        has_workers: Callable[[], bool],
        keys: str | None = None,
        *,
        is_elastic: bool = False,
        cluster_name: str = "",
    ) -> None:
        self._is_elastic, self._cluster_name = is_elastic, cluster_name
        self._address, self._timeout_s, self._keys = address, timeout_s, keys
        self._stopping, self._has_workers = stopping, has_workers
        self.has_found = False  # a scheduler that was then worked for

    def may_try_again(self, error: BaseException, until_s: float) -> bool:
        """Whether what failed so may be tried again: not by a supervisor that has not worked for a scheduler yet."""
        return self.has_found and _is_for_want(error) and time.monotonic() <= until_s

    async def find(self, hello: Hello) -> tuple[Dealer, Welcome, LocalConnection | None] | None:
        """The scheduler that answers, and the connection to it if it is on this host. None if this is to stop."""
        absent, until_s = "", time.monotonic() + self._timeout_s
        while not self._stopping.is_set():
            dealer = None
            try:
                greeted = await self._greet(hello)
                if greeted is None:
                    return None
                dealer, welcome = greeted
                return dealer, welcome, await self._shake_hands(welcome)
            except (NotCoLocated, Refused, DisconnectedError) as reason:
                assert dealer is not None
                epoch = f"{welcome.epoch:016x}"
                # Where there is no such listener the scheduler is elsewhere, or was here and has died since.
                is_here = isinstance(reason, Unanswered) or (
                    isinstance(reason, DisconnectedError) and self._has_workers() and epoch != absent
                )
                if not is_here and not self._stopping.is_set():
                    _log.info("workers go over the wire to %s: %s", self._address, reason)
                    return dealer, welcome, None
                absent = epoch
                await take_leave(dealer)
                if not self._stopping.is_set():
                    _log.info("the scheduler at %s is greeted again: %s", self._address, reason)
            except BaseException as error:
                if dealer is not None:
                    dealer.close()
                if not self.may_try_again(error, until_s):
                    raise
                _log.warning("no scheduler can be looked for just now: %s", error)
            await first_of(self._stopping, timeout_s=AGAIN_S)
        return None

    async def _greet(self, hello: Hello) -> tuple[Dealer, Welcome] | None:
        """The scheduler's answer; None if this is to stop."""

        def say_hello(is_given_up: Callable[[], bool]) -> tuple[Dealer, Welcome]:
            return greet(self._address, lambda: hello, self._timeout_s, is_given_up, keys=self._keys)

        call = BlockingCall(say_hello, drop=lambda greeted: greeted[0].leave())
        over, is_wanted = asyncio.Event(), False
        greeting = asyncio.ensure_future(call.outcome())
        greeting.add_done_callback(lambda _: over.set())
        try:
            await first_of(over, self._stopping)
            is_wanted = not self._stopping.is_set()
            return greeting.result() if is_wanted else None
        finally:
            if not is_wanted:
                greeting.add_done_callback(lambda _: greeting.cancelled() or greeting.exception())  # nobody else looks
                call.give_up()

    async def _shake_hands(self, welcome: Welcome) -> LocalConnection:
        def do(is_given_up: Callable[[], bool]) -> LocalConnection:
            return handshake(
                welcome.local_address, f"{welcome.epoch:016x}", "cluster", SMALLEST_RING_BYTES,
                is_stopped=lambda: is_given_up() or self._stopping.is_set(), elastic=self._is_elastic,
                cluster=self._cluster_name,
            )  # fmt: skip

        return await BlockingCall(do, drop=LocalConnection.close).outcome()


async def take_leave(dealer: Dealer) -> None:
    """Say goodbye to a scheduler that has heard no more than hello."""
    await in_thread(dealer.leave)


async def first_of(*events: asyncio.Event, timeout_s: float | None = None) -> None:
    """Wait until one of these is set, or for so long."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _is_for_want(error: BaseException) -> bool:
    """Whether a descriptor or a thread was missing, and not a scheduler."""
    return isinstance(error, OSError | RuntimeError) and (
        not isinstance(error, ScalerError) or isinstance(error, LimitError)
    )
