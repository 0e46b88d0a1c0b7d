"""Running: what it takes to run a task besides the call: its function made callable, its coroutine awaited.

Not here: claiming, publishing (native/worker/worker.pyx), running in place of waiting (native/worker/nested.pyx).
"""

import threading
import traceback
from collections.abc import Callable, Coroutine
from functools import partial
from types import CoroutineType
from typing import Any

from scaler._native import FLAG_NAMED, FLAG_OBJECTS, FunctionObjects, Mappings, Unreadable, end_forked, fork_count
from scaler.exceptions import TaskCancelled
from scaler.values import sent_function
from scaler.worker.named import NamedCall


def function_loader(mappings: Mappings) -> Callable[..., Any]:
    """What makes callables: or what says why there is none, which is raised by every task that names it.

    `copy(payload)` gives what the payload is made of, if that is not lent to this worker.
    """

    def load_function(data: bytes, flags: int, copy: Callable[[bytes], sent_function.Parts] | None = None) -> Any:
        again: Callable[[], sent_function.Parts] | None = None
        try:
            if flags & FLAG_NAMED:
                return NamedCall(data)
            if not flags & FLAG_OBJECTS:
                return sent_function.load((data, (), ()))
            again = FunctionObjects(mappings, data).parts if copy is None else partial(copy, data)
            return sent_function.load(again(), again)
        except BaseException as error:
            again = None
            traceback.clear_frames(error.__traceback__)  # which hold what was lent
            return Unreadable(error)

    return load_function


ENDED_WELL, HAS_RAISED, IS_UNREADABLE, WAS_STOPPED = range(4)  # as native/worker/runner.pyx has them
Outcome = tuple[int, Any]  # one of these, and the result or the exception


class Coroutines:
    """Awaits what `async def` functions return, in one event loop per thread that runs tasks.

    A coroutine that waits for a task which then runs in its place finds its loop running: that one gets a thread.

    Rule 1: when a task is over, nothing of it is left in the loop: what is stopped from outside is cancelled there, and
            its `finally` blocks run, before the next task begins.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What it comes to."""
        import asyncio  # workers that need it not start without it

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._run(coroutine)
        return _in_thread(lambda: asyncio.run(coroutine))

    def finish_all(
        self, first: Coroutine[Any, Any, Any], next_call: Callable[[], Outcome], count: int
    ) -> list[Outcome]:
        """What `count` calls come to, all of which may wait at the same time. The first has been made already."""
        import asyncio

        made = AllAtOnce(first, next_call, count)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return made.run(self._run)
        return _in_thread(lambda: made.run(asyncio.run))  # type: ignore[no-any-return]

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        import asyncio

        if not hasattr(self._of_thread, "runner"):
            self._of_thread.runner = asyncio.Runner()
        runner = self._of_thread.runner
        try:
            return runner.run(coroutine)
        except BaseException:  # it may have been raised in the loop's own code, which leaves the coroutine where it was
            _end_all(runner.get_loop())
            raise


def _end_all(loop: Any) -> None:
    """Have everything in a loop end that has not yet."""
    import asyncio

    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))


class AllAtOnce:
    """Calls of one chunk that run at the same time, and what each has come to.

    What stops the chunk is raised wherever its code is just then: in the loop, or in one of the calls. Then all that
    have not ended are cancelled.
    """

    def __init__(self, first: Coroutine[Any, Any, Any], next_call: Callable[[], Outcome], count: int) -> None:
        self._first, self._next_call = first, next_call
        self._outcomes: list[Outcome | None] = [None] * count
        self._stop: BaseException | None = None

    def run(self, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> list[Outcome]:
        """`run(coroutine)` runs one to its end, and lets nothing in its loop outlive it."""
        try:
            run(self._run_all())
        except TaskCancelled as error:
            self._stop = error
        stopped = WAS_STOPPED, self._stop
        return [stopped if outcome is None else outcome for outcome in self._outcomes]

    async def _run_all(self) -> None:
        import asyncio

        tasks = [asyncio.ensure_future(self._await(0, self._first))]
        for at in range(1, len(self._outcomes)):
            try:
                what, value = self._next_call()
            except TaskCancelled:
                raise
            except BaseException as error:
                what, value = HAS_RAISED, error
            if type(value) is CoroutineType:
                tasks.append(asyncio.ensure_future(self._await(at, value)))
            else:
                self._outcomes[at] = what, value
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            stop = None if task.cancelled() else task.exception()
            if stop is not None:
                raise stop

    async def _await(self, at: int, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Raises nothing but what stops all."""
        import asyncio

        try:
            self._outcomes[at] = ENDED_WELL, await coroutine
        except TaskCancelled:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # all are: it did not cancel itself
                raise
            self._outcomes[at] = HAS_RAISED, error
        except BaseException as error:
            self._outcomes[at] = HAS_RAISED, error


def _in_thread(call: Callable[[], Any]) -> Any:
    """What `call` returns or raises, from a thread of its own. A process that it forks ends with it."""
    outcome: list[Any] = []
    forks = fork_count()

    def run() -> None:
        value, failure = None, None
        try:
            value = call()
        except BaseException as error:
            failure = error
        if fork_count() != forks:
            end_forked(failure)
        outcome.append((value, failure))

    thread = threading.Thread(target=run, name="scaler-coroutine")
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
