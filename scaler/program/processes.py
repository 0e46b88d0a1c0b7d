"""Processes: a process is known by a descriptor of it (a pidfd), never by a number that came from somewhere else.

A number means a process within one PID namespace only. Containers that share /dev/shm and a network may each have a
namespace of their own, and there the number of a worker is nobody's here, or a stranger's. A descriptor stands for the
same process wherever it is passed to, and for no other one after its end. The holder of it hears of the end of the
process. It takes signals from processes of the same namespace and of those around it; a process elsewhere has to ask
the parent of the process.

Rule 1: numbers are for people to read, in logs and errors.
"""

import errno
import os
import signal
import stat


def open_own() -> list[int]:
    """A descriptor of this process, to be passed on and closed; none where a sandbox does not allow it."""
    try:
        return [os.pidfd_open(os.getpid())]
    except OSError:
        return []


def is_process(descriptor: int) -> bool:
    """Whether this is a descriptor of a process, be it one that takes no signals from here or that has ended."""
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return False  # one of /proc, which cannot be waited for
        signal.pidfd_send_signal(descriptor, 0)
    except OSError as error:
        return error.errno != errno.EBADF
    return True


class Process:
    """A process that somebody else has started: a copy of `descriptor` (-1: there is none).

    `number` is for people to read. `key` is what the supervisor that has started it calls it, in every namespace.
    """

    def __init__(self, descriptor: int, number: int, key: str) -> None:
        self.number, self.key = number, key
        self._descriptor = -1
        if descriptor >= 0:
            self._descriptor = os.dup(descriptor)

    def signal(self, number: int) -> bool:
        """False if it takes no signals from here."""
        if self._descriptor < 0:
            return False
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            pass  # it has just ended
        except OSError:
            return False  # it is in a namespace that is not below this one, or another user's
        return True

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()
