"""The thread of a client's callbacks: none is lost at its end."""

import threading
from collections.abc import Callable
from typing import Any

from scaler.client.callbacks import CallbackThread


class Rings:
    """What the thread needs of a client's. The first callback that runs has the thread end, and queues another."""

    thread: Any = None

    def __init__(self) -> None:
        self.call_event, self.has_caller = threading.Event(), False
        self.due: list[Callable[[], None]] = [self.end_it]
        self.done: list[str] = []

    def run_callbacks(self):
        due, self.due = self.due, []
        for callback in due:
            callback()

    def end_it(self):
        self.thread._is_ending = True
        self.due = [lambda: self.done.append("queued last")]


def test_what_is_queued_while_the_thread_is_told_to_end_is_run():
    rings = Rings()
    rings.thread = CallbackThread(rings)  # type: ignore[arg-type]
    rings.call_event.set()
    rings.thread.start()
    rings.thread._thread.join(20)
    assert rings.done == ["queued last"]
