"""Objects to bytes and back: functions, arguments, results, exceptions.

Plain pickle first, since it is ten times as fast; cloudpickle where that fails, or where the bytes name `__main__`: an
instance of a class of `__main__` pickles without a word and fails only in the worker, whose `__main__` is another.

Not here: plain values in the hot path (native/plain.pyx).
"""

import pickle
import traceback
from typing import Any

from scaler._native import (
    FLAG_CHUNK,
    FLAG_PLAIN,
    STATUS_NO_WORKER,
    STATUS_OK,
    STATUS_REFUSED,
    STATUS_WORKER_DIED,
    read_chunk,
)
from scaler.exceptions import (
    DeserializeObjectError,
    NoWorkerError,
    RemoteError,
    RemoteTraceback,
    TaskRefusedError,
    WorkerDiedError,
)

_TEXT_ERRORS: dict[int, type[Exception]] = {
    STATUS_WORKER_DIED: WorkerDiedError,
    STATUS_REFUSED: TaskRefusedError,
    STATUS_NO_WORKER: NoWorkerError,
}


def dumps(value: Any) -> bytes:
    """Pickle anything; the error of the second try is the one that is raised."""
    try:
        data = pickle.dumps(value, 5)
    except Exception:
        pass
    else:
        if b"__main__" not in data:
            return data
    import cloudpickle

    return bytes(cloudpickle.dumps(value, protocol=5))


def describe(error: BaseException, unreadable: bool) -> bytes:
    """The payload that carries an exception: (exception, traceback text), pickled, tried out before it is sent.

    Raises nothing, whatever the exception's own code does.
    """
    text = "".join(traceback.format_exception(error))
    kind = type(error)
    try:
        message = str(error)
    except BaseException:
        message = "<str() of it failed>"
    if unreadable:
        wrapped = DeserializeObjectError(
            f"the function or its arguments could not be unpickled in the worker: {kind.__name__}: {message}"
        )
        return dumps((wrapped, text))
    try:
        payload = dumps((error, text))
        pickle.loads(payload)
    except BaseException:
        payload = dumps((RemoteError(f"{kind.__module__}.{kind.__qualname__}: {message}"), text))
    return payload


def load_result(status: int, flags: int, raw: Any, task: int, items: int = 0) -> Any:
    """A result as the caller sees it, or the exception to raise; for a chunk, the list of its results.

    Raises what a call of a chunk raised, the first in their order.
    """
    if isinstance(raw, OSError):
        raise DeserializeObjectError(f"the result of task {task:#x} is gone: {raw}")
    if status in _TEXT_ERRORS:
        return _TEXT_ERRORS[status](f"task {task:#x}: {bytes(raw).decode('utf-8', 'replace')}")
    if flags & FLAG_CHUNK and status == STATUS_OK:
        return read_chunk(raw, bool(flags & FLAG_PLAIN), items, lambda code, data: _load_item(code, data, task))
    return _load(status, raw, task)


def _load_item(status: int, raw: bytes, task: int) -> Any:
    value = _load(status, raw, task)
    if status != STATUS_OK:
        raise value
    return value


def _load(status: int, raw: Any, task: int) -> Any:
    try:
        value = pickle.loads(raw)
    except Exception as error:
        what = "result" if status == STATUS_OK else "exception"
        raise DeserializeObjectError(
            f"the {what} of task {task:#x} could not be unpickled here: {type(error).__name__}: {error}"
        ) from error
    if status == STATUS_OK:
        return value
    exception, text = value
    exception.__cause__ = RemoteTraceback(text)
    return exception
