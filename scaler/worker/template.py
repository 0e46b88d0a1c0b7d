"""Template: a process that has imported what a worker needs, runs nothing, and is forked for each worker.

A worker that starts by `exec` spends nearly all of its start on importing, and has all that in memory of its own. One
that is forked here begins where imports end, and shares the memory of what was imported until somebody writes there.

Forking is safe here and hardly anywhere else, since this process has one thread (so no lock is held by a thread that
the child does not have), no connection but the one to its supervisor, no client, and has run no code of a user's but
what the interpreter runs at its start. What makes one process differ from another is made anew in the child: the state
of `random` (by `random` itself), which program its `__main__` is of (values.mains).

The new process is the supervisor's own child (native/worker/sibling.h): that has its exit code, its end and its memory
as it has those of a worker that it started by `exec`, and the kernel ends both with it.

Rule 1: with more than one thread nothing is forked: what the interpreter runs at its start may have begun some.
Rule 2: whatever cannot be done is said, and the supervisor starts that worker by `exec`.
Rule 3: the child has no descriptor of this process's but the three standard ones: those that it is to have come with
        the request, and are closed here.
Not here: the supervisor's side (cluster.template).
"""

import gc
import os
import sys
import threading
from typing import Any

from scaler._native import die_with_parent, fork_sibling
from scaler.program.creator import Creator
from scaler.program.descriptors import close_all, receive_packet
from scaler.worker import main as worker

NAME = "scaler-template"  # as the kernel shows it; its workers are `python` again
MOST_REQUEST_BYTES, MOST_DESCRIPTORS = 64, 8
_COMM = "/proc/self/comm"


def main(creator: Creator) -> int:
    """Fork until the supervisor hangs up; in a child, be a worker."""
    settings = creator.settings()
    die_with_parent(settings["supervisor"])
    try:
        own_name = _rename(NAME)
    except OSError as error:
        creator.report(error=f"there is no {_COMM} ({error.strerror})", number=error.errno)
        return 1
    gc.collect()
    gc.freeze()  # else the first collection of each worker writes to all that it shares with the others
    creator.report(ready=True)
    while True:
        try:
            packet, descriptors = receive_packet(creator.link, MOST_REQUEST_BYTES, MOST_DESCRIPTORS)
        except KeyboardInterrupt:
            return 130
        if not packet:
            return 0
        pid = _fork(creator)
        if pid == 0:
            break
        close_all(descriptors)
    _rename(own_name)
    main_thread: Any = threading.main_thread()
    main_thread._set_native_id()  # some versions of Python leave it the parent's
    link, stderr, *inherited = descriptors
    creator.link.close()
    os.setsid()
    os.dup2(stderr, 2)
    os.close(stderr)
    sys.argv[:] = [worker.__name__, str(link)]
    return worker.main(creator.of_fork(link, inherited))


def _fork(creator: Creator) -> int:
    """0 in the child. Elsewhere it has been said what has become of it."""
    threads = len(os.listdir("/proc/self/task"))
    if threads > 1:
        creator.report(error=f"it has {threads} threads", number=0)
        return -1
    try:
        pid = fork_sibling()
    except OSError as error:
        creator.report(error=str(error.strerror), number=error.errno)
        return -1
    if pid:
        creator.report(pid=pid)
    return pid


def _rename(name: str) -> str:
    """What this process was called until now, by the kernel and in lists of processes."""
    with open(_COMM, "r+") as file:
        before = file.read().strip()
        file.seek(0)
        file.write(name)
    return before
