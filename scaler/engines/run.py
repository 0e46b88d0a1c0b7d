"""Run: at the engine's side, runs the tasks of a job one after the other. The engine calls `run_job`.

Any thread of any process may be told to run a job, and the process is not ours: others' work may run in it too. What
a thread needs is made at its first job and kept (Guest). Functions are kept by their digests, objects by their ids, as
far as there is room.

What a task sees is what it sees in a worker: its function and arguments are read, called and answered in the same way,
and a client that comes along with it belongs to the task. So a task that waits for a task which nobody has begun runs
that itself, and no chain of tasks can fill all slots and wait (native/worker/nested.pyx).

Rule 1: whatever a task raises is its answer. Only the end of the process ends a job.
Rule 2: `__main__` is what it was when the job ends (GuestLoop).
Not here: what a job looks like (job), time limits (limits).
"""

import array
import itertools
import pickle
import resource
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from scaler._native import (
    FLAG_CHUNK,
    FLAG_INPUTS,
    FLAG_KEYWORDS,
    FLAG_NAMED,
    FLAG_OBJECTS,
    FLAG_PLAIN,
    PLACE_INPUT,
    PLACE_PACKED,
    PLACE_SHARED,
    PLACE_STREAM,
    STATUS_OK,
    STATUS_RAISED,
    STATUS_UNREADABLE,
    GuestLoop,
    Interrupts,
    OwnCopy,
    Segment,
    TaskRunner,
    Unreadable,
    read_packed,
    split_places,
)
from scaler.engines.job import Context, Job, JobFunction, JobResult, JobTask, Missing, pack_answer, unpack_job
from scaler.engines.limits import Limit
from scaler.exceptions import TaskCancelled, TaskTimeoutError
from scaler.values import mains, payload, reference, sent_function
from scaler.worker import context
from scaler.worker.named import NamedCall
from scaler.worker.running import Coroutines

PAGE_BYTES = 1 << 16  # more than a worker's page has
MOST_FUNCTIONS, MOST_OBJECT_BYTES = 1024, 1 << 28
PLAIN_ITEM = 0x80  # native/records/chunk.pyx
_SHORT = (int, float, bool, type(None))  # those whose pickle is opcodes of a plain value, and nothing else
_LEAST_INT, _MOST_INT = -(1 << 31), (1 << 31) - 1
_lock = threading.Lock()
_functions: "OrderedDict[bytes, Any]" = OrderedDict()
_objects: "OrderedDict[tuple[int, int], bytes]" = OrderedDict()
_object_bytes = 0
_thread = threading.local()
_is_ready = False


def run_job(data: bytes) -> bytes:
    """Run it. The answer, as bytes."""
    job = unpack_job(data)
    objects = all_objects(job)
    if isinstance(objects, Missing):
        return pack_answer(objects)
    guest: Guest | None = getattr(_thread, "guest", None)
    if guest is None:
        guest = _thread.guest = Guest()
    return pack_answer(guest.run(job, objects))


def run_call(about: tuple[Any, ...], call: Callable[[], Any]) -> Any:
    """Make this call as a task: `about` is a job's context and what its task's record says (symphony.payloads)."""
    guest: Guest | None = getattr(_thread, "guest", None)
    if guest is None:
        guest = _thread.guest = Guest()
    return guest.run_call(Context(*about[:5]), about[5:], call)


class _Input:
    """The result of another task, as it came: what a TaskInput is in a worker."""

    def __init__(self, flags: int, raw: Any) -> None:
        self.flags, self.raw = flags, raw


class Guest:
    """What one thread runs tasks with."""

    def __init__(self) -> None:
        _be_ready()
        self._finish = Coroutines().finish
        runner = TaskRunner(
            loads=pickle.loads, loads_parcel=reference.loads, load_input=reference.load_given,
            dumps=payload.dumps_result, describe=payload.describe, finish=self._finish,
            named_call=NamedCall,
        )  # fmt: skip
        self._loop = GuestLoop(runner, Interrupts(Segment.private(PAGE_BYTES), stop_with=TaskCancelled))
        self._here: context.Here | None = None

    def run(self, job: Job, objects: dict[int, bytes]) -> list[JobResult]:
        with self._being(job.context):
            return [self._run_one(job, task, objects) for task in job.tasks]

    def run_call(self, about: Context, record: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        task, detail, options, flags, limit_ms = record
        limit = Limit(limit_ms, about.worker)
        with self._being(about):
            self._loop.begin(task, detail, options, flags)
            try:
                with limit:
                    return call()
            except TaskCancelled:
                text = f"it ran longer than its limit of {limit_ms / 1000:g} s and was stopped"
                raise TaskTimeoutError(text) from None
            finally:
                self._loop.end(limit.has_fired)

    def _being(self, about: Context) -> AbstractContextManager[None]:
        """This thread runs tasks of this context."""
        here = self._here
        if here is None or (here.name, here.address, here.voucher) != (about.worker, about.address, about.voucher):
            here = self._here = context.Here(
                about.worker, about.address, "", "", 0, about.voucher, False, self._loop, lambda **said: None
            )
        self._loop.epoch = about.epoch
        return context.being(here)

    def _run_one(self, job: Job, task: JobTask, objects: dict[int, bytes]) -> JobResult:
        loop = self._loop
        loop.begin(task.task, task.detail, task.options, task.flags)
        status, flags, failed, value = STATUS_OK, 0, 0, None
        limit = Limit(task.limit_ms or job.context.limit_ms, job.context.worker)
        began_ns, began_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        try:
            function = loop.callable(_function_of(job.functions[task.function], objects))
            limit.function = function
            if task.flags & FLAG_CHUNK:
                flags, failed, value = self._run_chunk(function, task, objects, limit)
            else:
                status, value = self._call(function, task, objects, limit)
        except BaseException as error:
            status, value = STATUS_UNREADABLE, payload.describe(error, True)
        duration_ns = time.perf_counter_ns() - began_ns
        cpu_us = (time.thread_time_ns() - began_cpu_ns) // 1000
        loop.end(limit.has_fired)
        stream, buffers = value if type(value) is tuple else (value, [])
        return JobResult(
            status, flags, failed, stream, [bytes(one) for one in buffers], duration_ns, min(cpu_us, 0xFFFFFFFF),
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if duration_ns > 1_000_000 else 0,
        )  # fmt: skip

    def _call(self, function: Any, task: JobTask, objects: dict[int, bytes], limit: Limit) -> tuple[int, Any]:
        """The status, and the result or the description of what was raised. Raises if the arguments cannot be read."""
        if type(function) is NamedCall:
            return self._call_named(function, task, objects, limit)
        args, kwargs = arguments_of(task, objects)
        try:
            with limit:
                value = function(*args, **kwargs)
                del args, kwargs
                if hasattr(value, "cr_frame"):
                    value = self._finish(value)
                packed = payload.dumps_result(value)
        except BaseException as error:
            return STATUS_RAISED, limit.description(error) or payload.describe(error, False)
        late = limit.description(None)
        return (STATUS_OK, packed) if late is None else (STATUS_RAISED, late)

    def _call_named(
        self, function: NamedCall, task: JobTask, objects: dict[int, bytes], limit: Limit
    ) -> tuple[int, Any]:
        if task.flags & (FLAG_INPUTS | FLAG_KEYWORDS):
            raise ValueError("a named function takes one call with one text for its arguments")
        arguments = _read(task, objects)[0]
        try:
            with limit:
                is_good, said = function.call(arguments, self._finish)
        except BaseException as error:
            return STATUS_RAISED, limit.description(error) or payload.describe(error, False)
        late = limit.description(None)
        return (STATUS_OK if is_good else STATUS_RAISED, said) if late is None else (STATUS_RAISED, late)

    def _run_chunk(self, function: Any, task: JobTask, objects: dict[int, bytes], limit: Limit) -> tuple[int, int, Any]:
        """(flags, how many calls have failed, the results of all). Raises if the chunk cannot be read at all."""
        results = Results()
        for read in calls_of(task, objects):
            try:
                args = read()
            except BaseException as error:
                results.add(STATUS_UNREADABLE, payload.describe(error, True), [])
                continue
            try:
                with limit:
                    value = function(*args)
                    if hasattr(value, "cr_frame"):
                        value = self._finish(value)
                    packed = None if type(value) in _SHORT else payload.dumps_result(value)
            except BaseException as error:
                results.add(STATUS_RAISED, limit.description(error) or payload.describe(error, False), [])
            else:
                late = limit.description(None)
                if late is not None:
                    results.add(STATUS_RAISED, late, [])
                elif packed is None:
                    results.add_short(value)
                else:
                    data, buffers = packed if isinstance(packed, tuple) else (packed, [])
                    results.add(STATUS_OK, data, buffers)
            limit.begin_anew()
            self._loop.end_call()
        return (FLAG_CHUNK | results.plain_flag, results.failed, results.finish())


class Results:
    """The results of a chunk, as native/records/chunk.pyx reads them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._codes = bytearray()
        self._kept: list[memoryview] = []
        self.failed = 0
        self.plain_flag = FLAG_PLAIN

    def add(self, status: int, data: bytes, buffers: list[memoryview]) -> None:
        self.plain_flag = 0
        self.failed += status != STATUS_OK
        self._parts.append(data)
        self._codes.append(status)
        self._kept += buffers

    def add_short(self, value: Any) -> None:
        if type(value) is int and not _LEAST_INT <= value <= _MOST_INT:
            self.add(STATUS_OK, pickle.dumps(value, 5), [])
            return
        self._parts.append(pickle.dumps(value, 2)[2:-1])  # later protocols put a frame around it
        self._codes.append(PLAIN_ITEM | STATUS_OK)

    def finish(self) -> "bytes | tuple[bytes, list[memoryview]]":
        body = b"".join(self._parts)
        if self.plain_flag:
            return b"\x80\x05](" + body + b"e."
        ends = array.array("I", itertools.accumulate(map(len, self._parts)))
        whole = b"".join((ends.tobytes(), bytes(self._codes), body))
        return (whole, self._kept) if self._kept else whole


def _be_ready() -> None:
    """In this process tasks run: what comes from a program's `__main__` has a module of its own here."""
    global _is_ready
    with _lock:
        if not _is_ready:
            own = sys.modules["__main__"]
            mains.serve()
            sys.modules["__main__"] = own
            _is_ready = True


# functions and objects


def _function_of(function: JobFunction, objects: dict[int, bytes]) -> Any:
    """The callable, or what kept it from being read (Unreadable)."""
    with _lock:
        found = _functions.get(function.digest)
        if found is not None:
            _functions.move_to_end(function.digest)
            return found
    try:
        if function.flags & FLAG_NAMED:
            found = NamedCall(function.payload)
        elif not function.flags & FLAG_OBJECTS:
            found = sent_function.load((function.payload, (), ()))
        else:
            named = {place[0]: objects[place[0]] for place in split_places(function.payload)[0]}
            again = partial(parts_of_function, function.payload, named)
            found = sent_function.load(again(), again)
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        found = Unreadable(error)
    with _lock:
        _functions[function.digest] = found
        while len(_functions) > MOST_FUNCTIONS:
            _functions.popitem(last=False)
    return found


def parts_of_function(data: bytes, objects: dict[int, bytes]) -> sent_function.Parts:
    stream, buffers, references, _ = _parts(data, objects)
    return stream, buffers, references


def all_objects(job: Job) -> dict[int, bytes] | Missing:
    """All objects of the job: those that it brings, and those that are here."""
    global _object_bytes
    if not job.objects:
        return {}
    epoch, found, missing = job.context.epoch, {}, []
    with _lock:
        for name, data in job.objects.items():
            key = epoch, name
            here = _objects.get(key) if data is None else data
            if here is None:
                missing.append(name)
                continue
            found[name] = here
            if key not in _objects:
                _object_bytes += len(here)
                _objects[key] = here
            _objects.move_to_end(key)
        while _object_bytes > MOST_OBJECT_BYTES and len(_objects) > 1:
            _object_bytes -= len(_objects.popitem(last=False)[1])
    return Missing(missing) if missing else found


# arguments


def _parts(data: bytes, objects: dict[int, bytes]) -> tuple[Any, list[Any], list[Any], list[tuple[int, bytes]]]:
    """(pickle, the buffers it left out, the objects of its references, (flags, bytes) of inputs that are objects).

    What a task may write to is its own copy.
    """
    places, stream = split_places(data)
    whole: Any = stream
    buffers: list[Any] = []
    references: list[Any] = []
    inputs: list[tuple[int, bytes]] = []
    for name, _, _, _, flags in places:
        raw = objects[name]
        if flags & PLACE_INPUT:
            inputs.append((flags, raw))
        elif flags & PLACE_SHARED:
            references.append(OwnCopy(raw))
        elif flags & PLACE_PACKED:
            whole, buffers = read_packed(bytearray(raw))
        elif flags & PLACE_STREAM:
            whole = raw
        else:
            buffers.append(bytearray(raw))
    return whole, buffers, references, inputs


def _split_inputs(stream: bytes, given: list[tuple[int, bytes]]) -> tuple[list[_Input], bytes]:
    """The results of other tasks that stand before the pickle, and the pickle. ValueError if they make no sense."""
    if len(stream) < 8:
        raise ValueError("a task's inputs do not fit its payload")
    count, size = (int.from_bytes(stream[at : at + 4], "little") for at in (0, 4))
    section, rest = stream[8 : 8 + size], stream[8 + size :]
    for flags, raw in given:
        if flags & PLACE_STREAM:
            section = raw
    large = [raw for flags, raw in reversed(given) if not flags & PLACE_STREAM]
    inputs, at = [], 0
    for _ in range(count):
        length, flags = (int.from_bytes(section[at + k : at + k + 4], "little") for k in (0, 4))
        at += 8
        if flags & FLAG_OBJECTS:
            if not large:
                raise ValueError("a task's inputs are objects that it does not name")
            inputs.append(_Input(flags, OwnCopy(bytearray(large.pop()))))
        else:
            if at + length > len(section):
                raise ValueError("a task's inputs are cut off")
            inputs.append(_Input(flags, section[at : at + length]))
            at += (length + 7) & ~7
    return inputs, rest


class _Template(pickle.Unpickler):
    """Reads arguments that name inputs by number alone."""

    inputs: list[_Input]

    def persistent_load(self, number: Any) -> Any:
        given: Any = self.inputs[number]
        return reference.load_given(given)


def _loads(stream: Any, buffers: Any, references: list[Any], inputs: list[_Input]) -> Any:
    if not inputs:
        return reference.loads(stream, buffers, references)
    import io

    before = reference.slots.given, reference.slots.inputs
    given: Any = inputs
    reference.slots.given, reference.slots.inputs = references, given
    try:
        reader = _Template(io.BytesIO(stream), buffers=buffers)
        reader.inputs = inputs
        return reader.load()
    finally:
        reference.slots.given, reference.slots.inputs = before


def _read(task: JobTask, objects: dict[int, bytes]) -> tuple[Any, list[Any], list[Any], list[_Input]]:
    stream: Any = task.payload
    buffers: list[Any] = []
    references: list[Any] = []
    given: list[tuple[int, bytes]] = []
    inputs: list[_Input] = []
    rest = b""
    if task.flags & FLAG_OBJECTS:
        rest = split_places(task.payload)[1]
        stream, buffers, references, given = _parts(task.payload, objects)
    if task.flags & FLAG_INPUTS:
        inputs, behind = _split_inputs(rest if task.flags & FLAG_OBJECTS else task.payload, given)
        if stream is task.payload or stream == rest:  # else it is an object of its own
            stream = behind
    return stream, buffers, references, inputs


def arguments_of(task: JobTask, objects: dict[int, bytes]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if not task.flags & (FLAG_OBJECTS | FLAG_INPUTS):
        read = pickle.loads(task.payload)
    else:
        read = _loads(*_read(task, objects))
    return read if task.flags & FLAG_KEYWORDS else (read, {})


def _taken(calls: list[Any], at: int) -> Any:
    """The arguments of this call, which go with it."""
    call, calls[at] = calls[at], None
    return call


def calls_of(task: JobTask, objects: dict[int, bytes]) -> Iterator[Callable[[], Iterable[Any]]]:
    """What reads the arguments of each call of a chunk. ValueError if the chunk makes no sense."""
    stream, buffers, references, inputs = _read(task, objects)
    if task.flags & FLAG_PLAIN:
        values = pickle.loads(stream)
        width = values.pop(0)
        if len(values) != width * task.items:
            raise ValueError(f"a chunk of {task.items} calls has {len(values)} arguments")
        for at in range(0, len(values), width):
            yield partial(values.__getitem__, slice(at, at + width))
        return
    data = bytes(stream)
    start = 4 * task.items
    ends = array.array("I", data[:start]).tolist()
    left = iter(buffers)
    if task.items > 1 and ends[0] == 0:  # they were pickled together
        calls = _loads(data[start:], left, references, inputs)
        if type(calls) is not list or len(calls) != task.items:
            raise ValueError("calls that were pickled together make no sense")
        for at in range(task.items):
            yield partial(_taken, calls, at)
        return
    for first, end in itertools.pairwise([0, *ends]):
        yield partial(_loads, data[start + first : start + end], left, references, inputs)
