"""A worker: one process whose main thread runs tasks.

It imports little, so that it starts quickly: neither the network's libraries nor anything of the scheduler.

Rule 1: it never outlives its supervisor (the kernel kills it then) nor serves a scheduler that has gone.
Not here: the loop itself (native/worker.pyx), restarting (cluster.supervisor).
"""

import os
import pickle
import sys
from typing import Any

from scaler import payload
from scaler._native import FLAG_SEGMENT, Segment, Unreadable, WorkerLoop, die_with_parent
from scaler.cluster.creator import Creator
from scaler.exceptions import ScalerError
from scaler.link.knock import NotCoLocated, Refused, knock
from scaler.link.names import segment_name


def load_function(data: bytes, flags: int) -> Any:
    """The callable, or what says why there is none: it is raised by every task that names it."""
    try:
        if flags & FLAG_SEGMENT:
            return pickle.loads(Segment.open(data[8:].decode("ascii")))
        return pickle.loads(data)
    except BaseException as error:
        return Unreadable(error)


def main() -> int:
    creator = Creator.from_arguments()
    settings = creator.settings()
    die_with_parent(settings["supervisor"])
    cwd = settings.get("cwd") or os.getcwd()
    os.chdir(cwd)
    sys.path[:] = settings.get("sys_path") or [cwd, *(path for path in sys.path if path != cwd)]
    try:
        entry = knock(
            settings["door"], settings["life"], "worker", settings["ring_bytes"], settings["children_bytes"],
            name=settings["name"],
        )  # fmt: skip
    except (ScalerError, NotCoLocated, Refused) as error:
        creator.report(error=str(error))
        return 1
    loop = WorkerLoop(
        entry.memory, entry.eventfd, entry.bell, entry.slot, entry.bell_eventfd,
        [entry.connection.fileno(), creator.fileno()],
        loads=pickle.loads, dumps=payload.dumps, describe=payload.describe, load_function=load_function,
        segment_name=lambda: segment_name(entry.life),
    )  # fmt: skip
    creator.report(joined=True)
    try:
        loop.run()
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
