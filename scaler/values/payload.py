"""Objects to bytes and back: functions, arguments, results, exceptions.

Plain pickle first, since it is ten times as fast; cloudpickle where that fails, or where the bytes name `__main__` or
another module that travels by value: an instance of a class of `__main__` pickles without a word and fails only in the
worker, whose `__main__` is another. The same where they name `getattr`, by which methods are pickled: some of these
travel by their names (scaler.values.by_name).

Large buffers (arrays, mostly) stay out of the pickle, so that they are copied once, into the object they travel as.

Not here: plain values in the hot path (native/records/plain.pyx), references (reference), a client's objects
(client.objects).
"""

import io
import pickle
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from scaler._native import (
    FLAG_CHUNK,
    FLAG_OBJECTS,
    FLAG_PLAIN,
    STATUS_MISSING,
    STATUS_NO_WORKER,
    STATUS_OK,
    STATUS_REFUSED,
    STATUS_STOPPED,
    STATUS_WORKER_DIED,
    read_chunk,
    read_packed,
)
from scaler.exceptions import (
    ClientCancelledException,
    DeserializeObjectError,
    MissingObjects,
    NoWorkerError,
    RemoteError,
    RemoteTraceback,
    TaskRefusedError,
    TaskTimeoutError,
)
from scaler.values import neutral, reference
from scaler.values.by_name import MethodPickler, has_no_home, modules_by_value
from scaler.values.died import died_error
from scaler.values.failures import Carried, carry

MOST_TRACEBACK = 16384  # characters
OBJECT_BYTES = 32 << 10  # a buffer from here on stays out of the pickle

_TEXT_ERRORS: dict[int, type[Exception]] = {
    STATUS_REFUSED: TaskRefusedError,
    STATUS_NO_WORKER: NoWorkerError,
    STATUS_MISSING: MissingObjects,
    STATUS_STOPPED: ClientCancelledException,
}


class Buffers(list[memoryview]):
    """Collects the buffers that a pickle leaves out: those of at least `least_bytes`."""

    def __init__(self, least_bytes: int = OBJECT_BYTES) -> None:
        super().__init__()
        self._least_bytes = least_bytes

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """The pickler's question: true has it put the buffer into the pickle."""
        try:
            raw = buffer.raw()
        except BufferError:  # not in one piece
            return True
        if raw.nbytes < self._least_bytes:
            return True
        self.append(raw)
        return False


def dumps(
    value: Any, buffers: Buffers | None = None, reduce_error: Callable[[BaseException], Any] | None = None
) -> bytes:
    """Pickle anything; what cannot be pickled is named in the error. `buffers` gets those left out.

    `reduce_error(exception)` may say how exceptions are pickled.
    """
    try:
        if reduce_error is None:
            data = pickle.dumps(value, 5, buffer_callback=buffers)
        else:
            data = _dumps_errors(value, reduce_error)
    except Exception:
        pass
    else:
        if b"getattr" in data and reduce_error is None and not has_no_home(value):  # the method of an object
            data = _dumps_methods(value, buffers)
        # `__mp_main__` is the script, too, in a process that multiprocessing has spawned.
        if b"_main__" not in data and not any(name in data for name in modules_by_value()):
            return data
    from scaler.values import by_value

    failure: Exception | None = None
    for with_annotated in (True, False):  # what only annotations name is not needed to run
        if buffers is not None:
            buffers.clear()
        try:
            return by_value.dumps(value, buffers, reduce_error, with_annotated)
        except Exception as error:
            failure = error
    from scaler.values.untravelling import explained

    assert failure is not None
    try:
        raise explained(failure, value) from None
    finally:
        del failure  # this frame is in its traceback


class _Errors(pickle.Pickler):
    reduce_error: Callable[[BaseException], Any]

    def reducer_override(self, thing: Any) -> Any:
        return self.reduce_error(thing) if isinstance(thing, BaseException) else NotImplemented


def _dumps_methods(value: Any, buffers: Buffers | None) -> bytes:
    """Some methods travel by name."""
    if buffers is not None:
        buffers.clear()
    file = io.BytesIO()
    MethodPickler(file, 5, buffer_callback=buffers).dump(value)
    return file.getvalue()


def _dumps_errors(value: Any, reduce_error: Callable[[BaseException], Any]) -> bytes:
    file = io.BytesIO()
    pickler = _Errors(file, 5)
    pickler.reduce_error = reduce_error
    pickler.dump(value)
    return file.getvalue()


def dumps_result(value: Any) -> bytes | tuple[bytes, list[memoryview]]:
    """The pickle of a result; with its large buffers, if there are any.

    TypeError for a future or a reference in it. Of futures these are told by themselves, so what has no references here
    needs no look.
    """
    buffers = Buffers()
    if not reference.any_references:
        data = dumps(value, buffers)
    else:
        before, reference.slots.packing = reference.slots.packing, reference.IN_RESULT
        try:
            data = dumps(value, buffers)
        finally:
            reference.slots.packing = before
    return (data, buffers) if buffers else data


def describe(error: BaseException, unreadable: bool, text: str = "") -> bytes:
    """The payload that carries an exception: (exception or what carries it, traceback text), pickled.

    `text` is the traceback if the exception comes from elsewhere. Raises nothing, whatever the exception's code does.
    """
    text = shortened(text or "".join(traceback.format_exception(error)))
    kind = type(error)
    try:
        message = str(error)
    except BaseException:
        message = "<str() of it failed>"
    if unreadable:
        wrapped = DeserializeObjectError(
            f"the function or its arguments could not be unpickled in the worker: {kind.__name__}: {message}"
        )
        wrapped.libraries = _libraries_of(error)
        return dumps((wrapped, text))
    return dumps((carry(error, message, dumps), text))


def _libraries_of(error: BaseException) -> dict[str, str]:
    from scaler.values import versions  # of a worker that needs it

    try:
        return versions.libraries_of(error)
    except BaseException:  # of the error itself, or of whatever stands where libraries are installed
        return {}


def describe_overdue(text: str, error: BaseException | None) -> bytes:
    """The payload that says that a task ran longer than it may, and where it was when it was stopped."""
    where = shortened("".join(traceback.format_exception(error))) if error is not None else ""
    return dumps((TaskTimeoutError(text), f"{where}{TaskTimeoutError.__name__}: {text}\n"))


def shortened(text: str) -> str:
    """A traceback of reasonable length: an exception that passes through many tasks gets longer with each."""
    left_out = len(text) - MOST_TRACEBACK
    if left_out <= 0:
        return text
    return f"{text[: MOST_TRACEBACK // 4]}\n... {left_out} characters left out ...\n{text[-MOST_TRACEBACK * 3 // 4 :]}"


def load_result(
    status: int, flags: int, raw: Any, task: int, items: int = 0, function: str = "", load_item: Any = None
) -> Any:
    """A result as the caller sees it, or the exception to raise; for a chunk, the list of its results.

    `raw` is the payload, or the Loan of the object it is; `function` the name of what was called. Raises what a call of
    a chunk raised, the first in order, unless `load_item` does otherwise.
    """
    if status == STATUS_WORKER_DIED:
        return died_error(task, bytes(raw), function)
    if status in _TEXT_ERRORS:
        return _TEXT_ERRORS[status](f"task {task:#x}: {bytes(raw).decode('utf-8', 'replace')}")
    buffers: Iterable[Any] = ()
    if flags & FLAG_OBJECTS:
        try:
            raw, buffers = read_packed(raw.open(True))
        except (OSError, ValueError) as error:
            raise DeserializeObjectError(f"the result of task {task:#x} is gone: {error}") from error
    load = _loader(task, iter(buffers))
    load_item = load_item or _load_item
    if flags & FLAG_CHUNK and status == STATUS_OK:
        return read_chunk(raw, bool(flags & FLAG_PLAIN), items, lambda code, data: load_item(code, data, load))
    return load(status, raw)


class Failed:
    """In the place of a call's result: what it has raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Outcomes(list[Any]):
    """What a chunk's calls have come to, of which some may be Failed. Where all are plain values it is a mere list."""


def load_outcomes(status: int, flags: int, raw: Any, task: int, items: int = 0, function: str = "") -> list[Any]:
    """The same for a chunk, where no call that failed keeps the others' results from the client that reads them."""
    if status != STATUS_OK:
        return Outcomes([Failed(load_result(status, flags, raw, task, items, function))] * items)
    values: list[Any] = load_result(status, flags, raw, task, items, function, _load_outcome)
    return values if flags & FLAG_PLAIN else Outcomes(values)


def _load_outcome(status: int, raw: bytes, load: Callable[[int, Any], Any]) -> Any:
    try:
        value = load(status, raw)
    except DeserializeObjectError as error:
        return Failed(error)
    return value if status == STATUS_OK else Failed(value)


def _load_item(status: int, raw: bytes, load: Callable[[int, Any], Any]) -> Any:
    if status != STATUS_OK:
        raise load(status, raw)  # a name for it here would be a cycle: the frame is in its traceback
    return load(status, raw)


def _loader(task: int, buffers: Iterable[Any]) -> Callable[[int, Any], Any]:
    """Unpickles one result after the other; each takes its own of the buffers."""

    def load(status: int, raw: Any) -> Any:
        try:
            if neutral.is_neutral(raw):
                return neutral.loads(raw) if status == STATUS_OK else _neutral_error(raw)
            value = pickle.loads(raw, buffers=buffers)
        except Exception as error:
            what = "result" if status == STATUS_OK else "exception"
            raise DeserializeObjectError(
                f"the {what} of task {task:#x} could not be unpickled here: {type(error).__name__}: {error}"
            ) from error
        if status == STATUS_OK:
            return value
        return _opened(*value)

    return load


def _opened(exception: Any, text: str) -> BaseException:
    """The exception as it is raised here."""
    error: BaseException = exception.open() if type(exception) is Carried else exception
    if type(error) is DeserializeObjectError and error.libraries:
        from scaler.values import versions  # to say something that seldom has to be said

        error.args = (f"{error}{versions.describe_differences(error.libraries)}",)
    error.__cause__ = RemoteTraceback(text)
    return error


def _neutral_error(raw: Any) -> BaseException:
    """What a named function has raised: as itself if it was raised in Python, else in words."""
    failure = neutral.loads_failure(raw)
    if failure.pickled:
        return _opened(*pickle.loads(failure.pickled))
    return _opened(RemoteError(f"{failure.kind}: {failure.message}"), failure.traceback)
