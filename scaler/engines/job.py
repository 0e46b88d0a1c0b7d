"""Job: what goes to the engine's side and what comes back, as bytes. Both are pickles of plain values only.

A job has a context (which scheduler, by which voucher the clients of its tasks are known), the functions that its tasks
name, with their digests, and the objects that tasks and functions name. An object that an earlier job has brought is
only named: a process that does not have it answers with what it misses, and the job is sent again with all of them.

Rule 1: a task's payload is the one that came over the wire (protocol/README.md), with the places of its objects.
Not here: how tasks are run (run), who builds jobs (session).
"""

import pickle
from typing import NamedTuple

VERSION = 1  # of what stands here; the two sides are upgraded together
LIBRARY = "scaler.engines.run"


class Context(NamedTuple):
    """What tasks need to know of where they come from."""

    address: str  # the scheduler's
    epoch: int
    voucher: bytes
    worker: str  # the slot's name
    limit_ms: int  # of tasks without a limit of their own; 0: none


class JobFunction(NamedTuple):
    digest: bytes
    flags: int
    payload: bytes


class JobTask(NamedTuple):
    task: int
    function: int
    flags: int
    items: int
    detail: int
    options: int
    limit_ms: int
    payload: bytes


class Job(NamedTuple):
    context: Context
    functions: dict[int, JobFunction]
    objects: dict[int, bytes | None]  # None: an earlier job has brought it
    tasks: list[JobTask]


class JobResult(NamedTuple):
    """`buffers` are those that the pickle left out; with any, or if it is large, the result becomes an object."""

    status: int
    flags: int
    failed: int  # calls of a chunk
    payload: bytes
    buffers: list[bytes]
    duration_ns: int = 0
    cpu_us: int = 0
    memory_peak_kib: int = 0


class Missing(NamedTuple):
    """The answer of a process that does not have all objects."""

    objects: list[int]


def pack_job(job: Job) -> bytes:
    tasks = [tuple(task) for task in job.tasks]
    functions = {number: tuple(function) for number, function in job.functions.items()}
    return pickle.dumps((VERSION, tuple(job.context), functions, job.objects, tasks), 5)


def unpack_job(data: bytes) -> Job:
    """ValueError if it was made by another version."""
    version, context, functions, objects, tasks = pickle.loads(data)
    if version != VERSION:
        raise ValueError(f"the job has version {version} and this process reads {VERSION}: install the same scaler")
    return Job(
        Context(*context),
        {number: JobFunction(*function) for number, function in functions.items()},
        objects,
        [JobTask(*task) for task in tasks],
    )


def pack_answer(answer: "list[JobResult] | Missing") -> bytes:
    rows = answer.objects if type(answer) is Missing else [tuple(result) for result in answer]
    return pickle.dumps((VERSION, type(answer) is Missing, rows), 5)


def unpack_answer(data: bytes) -> "list[JobResult] | Missing":
    """ValueError if it makes no sense."""
    try:
        version, is_missing, rows = pickle.loads(data)
        if version != VERSION:
            raise ValueError(f"the answer has version {version}, not {VERSION}")
        return Missing(rows) if is_missing else [JobResult(*row) for row in rows]
    except Exception as error:
        raise ValueError(f"what came back makes no sense: {type(error).__name__}: {error}") from error
