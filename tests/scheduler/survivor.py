"""A worker that has come over from another scheduler, and still runs what that gave it."""

import struct

from scaler._native import HEADERS_OFFSET, KIND_RESULT, KIND_TASK, PAGE, Pump
from tests.sim.wire import Rings

TASK, ATTEMPT = 5 << 40 | 1, 77 << 32 | 1


class Survivor:
    """Its ends of its rings; nobody sends its task again."""

    def __init__(self, pump: Pump) -> None:
        self.rings = Rings(8192)
        assert self.rings.tasks.write(KIND_TASK, TASK, attempt=ATTEMPT) == 0
        memoryview(self.rings.memory)[PAGE + 8] |= 1  # it has claimed that
        self.peer = pump.add(self.rings.memory, True, -1, tag=9)

    def end(self) -> None:
        """It has done its task. The result had gone to the scheduler before, as far as anybody sees."""
        head, _ = self.rings.tasks.positions
        struct.pack_into("<Q", memoryview(self.rings.memory), HEADERS_OFFSET + 64, head)

    def answer(self) -> None:
        """The result is there."""
        assert self.rings.results.write(KIND_RESULT, TASK, attempt=ATTEMPT) is not None
        self.end()
