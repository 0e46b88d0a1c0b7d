"""BlockingCall: what a thread does for an event loop that does not wait, with what it uses and what it brings back.

`asyncio.to_thread` alone leaves three things open. The task that awaits it may be cancelled while the thread goes on,
and would then close what the thread uses. What the thread brings back may come when nobody wants it any more, a
connection, say, that is then never closed. And where no thread can be started it raises, though another thread of the
pool may still make the call later.

Rule 1: what the call uses is closed once: by the thread as soon as that is done with it, or by `give_up` if no thread
        has begun, and then none will.
Rule 2: what it brings back is its owner's, until the owner gives the call up: then it is dropped, whether it was there
        already or comes later.
Not here: threads that serve for long (threads).
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


async def in_thread(do: Callable[..., object], *arguments: object) -> None:
    """Have a thread do what must be done now, and may be done twice; where none can be started it is done here."""
    try:
        await asyncio.to_thread(do, *arguments)
    except RuntimeError:
        do(*arguments)


class GivenUp(Exception):
    """Raised in the thread, where nobody hears it: what it was to bring is not wanted any more."""


class BlockingCall(Generic[T]):
    """`do(is_given_up)` is called in a thread; `drop(outcome)` where nobody wants that; `close()` what it uses."""

    def __init__(
        self,
        do: Callable[[Callable[[], bool]], T],
        *,
        drop: Callable[[T], object],
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self._do, self._drop, self._close = do, drop, close
        self._lock = threading.Lock()
        self._has_begun = self._is_given_up = False
        self._brought: list[T] = []

    async def outcome(self) -> T:
        """Have it done. If that fails or is cancelled the call is given up."""
        try:
            return await asyncio.to_thread(self._run)
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Nobody wants the outcome any more; idempotent. It returns at once, while the thread may still be busy."""
        with self._lock:
            is_first, self._is_given_up = not self._is_given_up, True
            unwanted, self._brought = self._brought, []
            is_unused = is_first and not self._has_begun
        if is_unused:
            self._close()
        for outcome in unwanted:
            self._drop(outcome)

    def _run(self) -> T:
        with self._lock:
            if self._is_given_up:
                raise GivenUp
            self._has_begun = True
        try:
            outcome = self._do(lambda: self._is_given_up)
        finally:
            self._close()
        with self._lock:
            if not self._is_given_up:
                self._brought.append(outcome)
                return outcome
        self._drop(outcome)
        raise GivenUp
