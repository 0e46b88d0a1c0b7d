"""A worker: one process whose main thread runs tasks.

It imports little, so that it starts quickly: neither the network's libraries nor anything of the scheduler.

Rule 1: it never outlives its supervisor: the kernel kills it then. It may outlive its scheduler (handover).
Rule 2: SIGTERM does not end it as long as its supervisor is there: batch systems and service managers send it to every
        process of a job, and what runs may have time to end.
Rule 3: what a task has forked is not this worker: it lets go of the worker's connections, and ends where the task does.
Not here: the loop itself (native/worker/worker.pyx), restarting (cluster.supervisor).
"""

import contextlib
import faulthandler
import json
import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler._native import (
    Interrupts,
    Mappings,
    Retirement,
    Store,
    TaskRunner,
    Upkeep,
    WorkerLoop,
    die_with_parent,
    keep_freed_memory,
)
from scaler.cancellation import STOP_SIGNAL
from scaler.colocation.handover import Moving
from scaler.colocation.handshake import LocalConnection, NotCoLocated, Refused, handshake
from scaler.colocation.names import warn_of_files
from scaler.colocation.voucher import voucher_of
from scaler.exceptions import ScalerError, TaskCancelled
from scaler.program.creator import Creator
from scaler.program.stack_dump import answer_when_asked
from scaler.program.threads import new_thread
from scaler.values import at_once, mains, payload
from scaler.values.reference import load_given, loads
from scaler.values.sent_function import name_of
from scaler.worker import context
from scaler.worker.named import NamedCall
from scaler.worker.output_capture import OutputCapture
from scaler.worker.running import Coroutines, function_loader
from scaler.worker.spawned import teach_multiprocessing

_IMPORTER = "<frozen importlib._bootstrap>"


def is_importing(frame: Any) -> bool:
    """Whether a module is being imported: half of one must not be left to the tasks that come after."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTER:
            return True
        frame = frame.f_back
    return False


def overdue_describer(worker: str) -> Callable[[Any, int, BaseException | None], bytes]:
    """What says of a task that it ran longer than it may."""

    def describe_overdue(function: Any, limit_ns: int, error: BaseException | None) -> bytes:
        limit_s = limit_ns / 1e9
        return payload.describe_overdue(
            f"{name_of(function)} ran longer than its limit of {limit_s:g} s on worker {worker} and was stopped", error
        )

    return describe_overdue


def enter(folder: str, creator: Creator) -> None:
    """Work in this folder. If it is not there any more, its relative paths fail, as they would for its user."""
    try:
        if folder:
            os.chdir(folder)
    except OSError as error:
        creator.report(no_folder=f"{folder} ({error.strerror})")


def outlive_termination(creator: Creator) -> None:
    """Have SIGTERM end this process only if its supervisor wants that, who hangs up first.

    A handler, unlike SIG_IGN, is not handed on to the programs that a task starts, and a forked child does without it.
    """

    def on_termination(number: int, frame: Any) -> None:
        poll = select.poll()
        poll.register(creator.link, 0)
        if creator.fileno() < 0 or poll.poll(0):  # POLLHUP: both ways, so not only that it is to end after its task
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)

    def give_back() -> None:
        with contextlib.suppress(ValueError):  # not in the main thread
            if signal.getsignal(signal.SIGTERM) is on_termination:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, on_termination)
    os.register_at_fork(after_in_child=give_back)


def obey_signals(loop: WorkerLoop) -> None:
    """Let what runs be stopped."""
    tell = sys.unraisablehook

    def on_unraisable(unraisable: Any) -> None:
        if unraisable.exc_type is TaskCancelled:  # raised in a finalizer: nobody has heard of it
            loop.interrupts.stop_again()
        else:
            tell(unraisable)

    sys.unraisablehook = on_unraisable
    signal.signal(STOP_SIGNAL, loop.interrupts.on_signal)


def retire_when_told(creator: Creator, loop: WorkerLoop) -> None:
    """A spare is told that it is not needed any more by a hang-up."""
    poll = select.poll()
    poll.register(creator.link, select.POLLRDHUP)
    poll.poll()
    loop.retirement.ask("it is not needed any more")


def report_output(creator: Creator, descriptor: int, client: int, token: str) -> None:
    """Give the supervisor the end of the pipe into which this client's tasks write."""
    socket.send_fds(creator.link, [json.dumps({"output": client, "token": token}).encode()], [descriptor])


def let_go(creator: Creator, entry: LocalConnection) -> None:
    """In a child that a task has forked: what hangs up when the worker ends is the worker's alone."""
    context.leave()
    entry.abandon()
    creator.link.close()


def main(creator: Creator) -> int:
    settings = creator.settings()
    os.environ.update(settings["variables"])  # one that was forked has its template's
    die_with_parent(settings["supervisor"])
    folder, options = str(settings["folder"]), settings["options"]
    enter(folder, creator)
    keep_freed_memory(options["trim_memory_threshold_bytes"], os.environ)
    sys.path[:] = settings["sys_path"] or creator.import_path(folder)
    try:
        entry = handshake(
            settings["local_address"], settings["epoch"], "worker", options["ring_bytes"],
            keeps_memory=settings["goes_over"], process=settings["process"], name=settings["name"],
            grace_s=options["stop_grace_seconds"], resources=settings["resources"],
        )  # fmt: skip
    except (ScalerError, NotCoLocated, Refused) as error:
        creator.report(error=str(error))
        return 1
    mappings = Mappings(entry.epoch, entry.folder)
    store = Store(entry.epoch, entry.tag, entry.folder, warn_of_files, entry.most_bytes)
    coroutines = Coroutines()
    loop = WorkerLoop(
        entry.memory, entry.doorbell, entry.bell, entry.slot, entry.bell_eventfd,
        [entry.connection.fileno(), creator.fileno()], store, mappings,
        TaskRunner(
            loads=pickle.loads, loads_parcel=loads, load_input=load_given, dumps=payload.dumps_result,
            describe=payload.describe, finish=coroutines.finish, named_call=NamedCall,
            finish_all=coroutines.finish_all, at_once_code=at_once.CODE,
        ),
        Interrupts(
            entry.memory, stop_with=TaskCancelled, is_importing=is_importing, name_of=name_of,
            describe_overdue=overdue_describer(settings["name"]), limit_ns=round(options["task_timeout_seconds"] * 1e9),
        ),
        load_function=function_loader(mappings),
        upkeep=Upkeep(options["garbage_collect_interval_seconds"], options["trim_memory_threshold_bytes"]),
        retirement=Retirement(options["worker_max_tasks"], options["worker_max_bytes"]),
    )  # fmt: skip
    if settings["is_spare"]:
        new_thread("scaler-spare", lambda: retire_when_told(creator, loop)).start()
    if "scaler.client.import_environment" in sys.modules:  # else nothing has been counted in this process
        sys.modules["scaler.client.import_environment"].begin_worker()
    mains.serve(teach_multiprocessing)
    loop.output = OutputCapture(partial(report_output, creator), name_of)
    obey_signals(loop)
    outlive_termination(creator)
    faulthandler.enable()  # what was running is the last that one writes which ends by a fault
    for descriptor in settings["stacks"]:
        answer_when_asked(descriptor, settings["process"])
    here = context.here = context.Here(
        settings["name"], settings["address"], settings["local_address"], settings["epoch"],
        entry.tag, voucher_of(entry.memory), settings["is_colocated"], loop, creator.report,
        settings["resources"], settings["has"],
    )  # fmt: skip
    os.register_at_fork(before=mappings.on_fork, after_in_child=partial(let_go, creator, entry))
    if settings["goes_over"]:
        moving = Moving(creator, loop, entry, here.go_over)
        os.register_at_fork(after_in_child=moving.abandon)
        loop.on_word = moving.on_word
        moving.report()
    else:
        creator.report(joined=True)
    try:
        loop.run()
        if loop.retirement.reason:
            creator.report(retires=loop.retirement.reason)
            with contextlib.suppress(OSError):  # it has hung up
                entry.close()  # threads of a task may keep the process from ending, and nobody is to wait for it
    except KeyboardInterrupt:
        return 130
    return 0
