"""Running: what it takes to run a task besides the call: its function made callable, its coroutine awaited.

Not here: claiming, publishing (native/worker/worker.pyx), running in place of waiting (native/worker/nested.pyx).
"""

import threading
import traceback
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from scaler._native import FLAG_NAMED, FLAG_OBJECTS, FunctionObjects, Mappings, Unreadable, end_forked, fork_count
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


class Coroutines:
    """Awaits what `async def` functions return, in one event loop per thread that runs tasks.

    A coroutine that waits for a task which then runs in its place finds its loop running: that one gets a thread.
    """

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def finish(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        import asyncio  # workers that need it not start without it

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            if not hasattr(self._of_thread, "runner"):
                self._of_thread.runner = asyncio.Runner()
            return self._of_thread.runner.run(coroutine)
        return _in_thread(lambda: asyncio.run(coroutine))


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
