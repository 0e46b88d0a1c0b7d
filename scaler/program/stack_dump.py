"""What a worker's code does just now: how a worker is asked for that, and how it answers.

The supervisor writes into a file in memory who is asked, and sends STACK_SIGNAL; the handler of that, in C, writes the
answer into the same file (native/worker/stack_dump.h says how, and why faulthandler walks the frames). So tasks that
compute in C, sleep, or wait for a lock answer as well.

SIGWINCH, since by default it is ignored, so one that meets a process that is starting or ending does nothing; since a
worker has no terminal whose size could change; and since the signal that stops tasks is another one (SIGURG), so that
being looked at interrupts nothing. A task that takes SIGWINCH for itself cannot be looked at, nor can those that come
after it in the same worker.

Not here: asking (scaler.cluster.stacks).
"""

import faulthandler
import os
import signal
import struct

from scaler._native import answer_stacks

STACK_SIGNAL = signal.SIGWINCH
NOT_BEGUN = "has it, and has not begun it yet"  # of a worker that is asked about a task; who asks may ask again
TEXT_OFFSET = 4096
PAGE = struct.Struct("=QIIII")  # as in native/worker/stack_dump.h: key, number, answered, threads, silent
KEY_AND_NUMBER = struct.Struct("=QI")


def answer_when_asked(descriptor: int, key: str) -> None:
    """In a worker, once: answer from now on. The descriptor is that of the supervisor's file, which stays open."""
    os.set_inheritable(descriptor, False)  # it has come through an exec, and is to go no further
    faulthandler.register(STACK_SIGNAL, file=descriptor, all_threads=False, chain=False)
    answer_stacks(descriptor, STACK_SIGNAL, int(key, 16))
