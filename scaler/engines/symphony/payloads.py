"""Payloads: a job to what a Symphony service is sent, and what that answers to a result.

The service is sent `cloudpickle.dumps((function, *arguments))` and answers `cloudpickle.dumps(result)`. A plain call is
just that. What more is needed (keyword arguments, a client, a coroutine, a time limit, the calls of a map) is sent as a
call of `service_call.invoke`, which has the same form.

Rule 1: what a user's code raises here, when its objects are unpickled, is the task's answer.
Not here: Symphony (child).
"""

import inspect
import io
import pickle
from typing import Any

import cloudpickle

from scaler._native import FLAG_CHUNK, FLAG_OBJECTS, STATUS_OK, STATUS_RAISED, STATUS_UNREADABLE
from scaler.engines.job import Job, JobResult, JobTask
from scaler.engines.run import Results, arguments_of, calls_of, parts_of_function
from scaler.engines.symphony import service_call
from scaler.exceptions import EngineError
from scaler.values import payload, sent_function

cloudpickle.register_pickle_by_value(service_call)


def pack_call(job: Job, objects: dict[int, bytes]) -> bytes:
    """What the service is sent for the one task of this job. Raises what unpickling or pickling it raises."""
    (task,) = job.tasks
    sent = job.functions[task.function]
    parts = parts_of_function(sent.payload, objects) if sent.flags & FLAG_OBJECTS else (sent.payload, (), ())
    function = sent_function.load_bare(parts)
    if task.flags & FLAG_CHUNK:
        calls = [tuple(read()) for read in calls_of(task, objects)]
        blob, items = cloudpickle.dumps((function, calls, {})), task.items
    else:
        arguments, keywords = arguments_of(task, objects)
        if not keywords and not _needs_more(function) and not _limit_ms(job, task):
            plain: bytes = cloudpickle.dumps((function, *arguments))
            if b"scaler" not in plain:
                return plain
        blob, items = cloudpickle.dumps((function, tuple(arguments), keywords)), None
    about = (*job.context, task.task, task.detail, task.options, task.flags, _limit_ms(job, task))
    packed: bytes = cloudpickle.dumps((service_call.invoke, blob, about, items))
    return packed


def _limit_ms(job: Job, task: JobTask) -> int:
    return (task.limit_ms or job.context.limit_ms) * max(1, task.items)


def _needs_more(function: Any) -> bool:
    """Whether it is to know that it is a task: it makes a coroutine, or its module knows our package."""
    while hasattr(function, "func"):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    known = getattr(inspect.unwrap(function), "__globals__", {}) if callable(function) else {}
    return any(_is_ours(value) for value in list(known.values()))


def _is_ours(value: Any) -> bool:
    try:
        name = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", "")
    except Exception:
        return False
    return isinstance(name, str) and (name == "scaler" or name.startswith("scaler."))


def read_output(task: JobTask, data: bytes) -> JobResult:
    """What the service has answered, as a result."""
    try:
        value = _loads(data)
    except BaseException as error:
        said = EngineError(f"what the service answered cannot be unpickled: {type(error).__name__}: {error}")
        return failed(said)
    if (pair := _pair_of(value)) is not None:
        return failed(*pair)
    try:
        if not task.flags & FLAG_CHUNK:
            return _result(STATUS_OK, 0, 0, payload.dumps_result(value))
        return _chunk(task, value)
    except BaseException as error:
        return failed(error)


class _Lenient(pickle.Unpickler):
    """Makes exceptions whose constructor does not take what they were pickled with, as most with one of their own."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if not isinstance(found, type) or not issubclass(found, BaseException):
            return found

        def make(*args: Any) -> BaseException:
            try:
                return found(*args)
            except TypeError:
                made: BaseException = found.__new__(found, *args)
                made.args = args
                return made

        return make


def _loads(data: bytes) -> Any:
    try:
        return pickle.loads(data)
    except TypeError:
        value = _Lenient(io.BytesIO(data)).load()
        if _pair_of(value) is None:
            raise
        return value


def _pair_of(value: Any) -> tuple[BaseException, str] | None:
    """(exception, traceback) if this is a tagged pair."""
    if type(value) is not tuple or len(value) not in (2, 3) or type(value[0]) is not str:
        return None
    if value[0] != service_call.RAISED or not isinstance(value[1], BaseException):
        return None
    return value[1], str(value[2]) if len(value) == 3 else ""


def _chunk(task: JobTask, value: Any) -> JobResult:
    if type(value) is not list or len(value) != task.items:
        raise EngineError(f"the service answered a chunk of {task.items} calls with {type(value).__name__}")
    results = Results()
    for is_ok, one in value:
        pair = None if is_ok else _pair_of(one)
        if pair is not None:
            results.add(STATUS_RAISED, payload.describe(*_with_text(*pair)), [])
        else:
            packed = payload.dumps_result(one)
            data, buffers = packed if isinstance(packed, tuple) else (packed, [])
            results.add(STATUS_OK, data, buffers)
    return _result(STATUS_OK, FLAG_CHUNK | results.plain_flag, results.failed, results.finish())


def _result(status: int, flags: int, n_failed: int, packed: Any) -> JobResult:
    stream, buffers = packed if type(packed) is tuple else (packed, [])
    return JobResult(status, flags, n_failed, stream, [bytes(one) for one in buffers])


def failed(error: BaseException, text: str = "") -> JobResult:
    """The result of a task that has raised this."""
    return JobResult(STATUS_RAISED, 0, 0, payload.describe(*_with_text(error, text)), [])


def unreadable(error: BaseException) -> JobResult:
    """The result of a task whose function or arguments could not be read."""
    return JobResult(STATUS_UNREADABLE, 0, 0, payload.describe(error, True), [])


def _with_text(error: BaseException, text: str) -> tuple[BaseException, bool, str]:
    return error, False, text
