"""The other end of a client's rings, played by the test."""

import os
import pickle
import threading
from typing import Any

from scaler._native import (
    HEADERS_OFFSET,
    PAGE,
    RECORD_HEADER_BYTES,
    RING_HEADER_BYTES,
    Children,
    ClientRings,
    Mappings,
    Segment,
    Store,
    TaskSender,
    WakeUp,
    WorkerClientRings,
    WorkerTaskSender,
)
from scaler.client.future import ScalerFuture
from scaler.colocation.doorbell import new_doorbell
from scaler.exceptions import DisconnectedError
from scaler.values import payload
from tests.sim.wire import CONTROL_BYTES, Rings

LIFE = "0123456789abcdef"
CANCEL = 4
RESULT = 2


class Scheduler:
    """The other end of a client's rings."""

    children: Children  # of a client in a worker

    def __init__(self, ring_bytes=65536, nested_tasks=None):
        self.rings = Rings(ring_bytes)
        self.lifeline, self.line = os.pipe()
        self.bells = [new_doorbell(), os.eventfd(0, os.EFD_NONBLOCK)]
        self.event, self.store = WakeUp(), Store(LIFE, 5, "/tmp")
        ends = self.rings.memory, self.bells[0], Segment.private(PAGE), 0, self.bells[1], self.lifeline
        policy: dict[str, Any] = {
            "load": payload.load_result,
            "callback_error": lambda future: None,
            "background": self.event,
            "scheduler_gone": lambda: DisconnectedError("gone"),
        }
        if nested_tasks is None:
            self.client = ClientRings(*ends, 5, self.store, Mappings(LIFE, "/tmp"), **policy)
            self.sender = TaskSender(self.client, ScalerFuture)
        else:
            self.client = WorkerClientRings(
                *ends, 5, self.store, Mappings(LIFE, "/tmp"), nested_tasks=nested_tasks, **policy
            )
            self.sender = WorkerTaskSender(self.client, ScalerFuture)

    def submit(self):
        """A task, whose record is taken at once."""
        future = self.sender.submit(1, (), None, lambda value, most_bytes: pickle.dumps(value))
        while self.rings.tasks.read() is not None:
            pass
        return future

    def answer(self, future, value, flags=0):
        data = value if isinstance(value, bytes) else pickle.dumps(value)
        assert self.rings.results.write(RESULT, future.task_id, data, flags=flags) is not None

    def is_waited_for(self, ring):
        """Whether the client waits for room in this ring: 0 of tasks, 2 of what it says besides."""
        return memoryview(self.rings.memory)[HEADERS_OFFSET + 72 + ring * RING_HEADER_BYTES] == 1

    def die(self):
        os.close(self.line)
        self.line = -1

    def close(self):
        self.client.leave(DisconnectedError("the test is over"))
        self.store.close()
        for descriptor in (self.lifeline, self.line, *self.bells):
            if descriptor >= 0:
                os.close(descriptor)


def fill_up_ring(scheduler):
    for _ in range(CONTROL_BYTES // RECORD_HEADER_BYTES):
        scheduler.client.control(CANCEL)


class Waiter:
    """What the standard library waits with."""

    def __init__(self, error=None):
        self.event, self.heard, self._error = threading.Event(), [], error
        self.lock = threading.Lock()

    def add_result(self, future):
        if self._error is not None:
            raise self._error
        with self.lock:
            self.heard.append(future)


def watch(future, *waiters):
    with future._condition:
        future._waiters.extend(waiters)
