"""A worker is asked to stop what it runs: by a signal that may come at any time, from a task itself here."""

import pickle
import signal
import sys
import time
from functools import partial

import pytest

from scaler._native import (
    FLAG_CHUNK,
    FLAG_OBJECTS,
    KIND_RESULT,
    KIND_TASK,
    PLACE_NEW,
    STATUS_OK,
    STATUS_RAISED,
    STATUS_STOPPED,
    RunningTask,
    join_places,
    read_chunk,
)
from scaler.exceptions import ScalerError, TaskCancelled, TaskTimeoutError
from scaler.values import payload
from scaler.worker.main import is_importing, obey_signals, overdue_describer
from tests.native.test_worker import Worker, announce

ATTEMPT = 1 << 32 | 1
SECOND_NS = 1_000_000_000


class StoppedWorker(Worker):
    """What it runs is asked to stop; `said`: what was raised where nobody can catch it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.running = RunningTask(self.memory, self.tasks)
        self.said = []


_worker: StoppedWorker  # the test's, while it runs


@pytest.fixture
def worker(monkeypatch):
    """A worker whose loop is in this thread, and what the functions below act on."""
    made = StoppedWorker(
        describe_overdue=overdue_describer("worker-3"), stop_with=TaskCancelled, is_importing=is_importing,
        limit_ns=SECOND_NS,
    )  # fmt: skip
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: made.said.append(unraisable.exc_type))
    before = signal.getsignal(signal.SIGURG)
    obey_signals(made.loop)
    monkeypatch.setattr(sys.modules[__name__], "_worker", made, raising=False)
    yield made
    signal.signal(signal.SIGURG, before)
    made.close()


def run(worker, function, *calls, flags=0, attempt=ATTEMPT):
    """What the worker answers to each call, in order: (status, payload)."""
    announce(worker, 1, pickle.dumps(function))
    for number, arguments in enumerate(calls, 1):
        worker.tasks.write(KIND_TASK, number, pickle.dumps(arguments), function=1, attempt=attempt, flags=flags)
    worker.loop.run()
    return answers(worker)


def answers(worker):
    found = []
    while (record := worker.results.read()) is not None:
        if record[0] == KIND_RESULT:
            found.append((record[5], record[2]))
    return found


def stop(task, attempt=ATTEMPT, since_ns=0):
    _worker.running.ask_to_stop(task, attempt, since_ns)  # noqa: F821
    signal.raise_signal(signal.SIGURG)


def stop_since_now(task):
    """As who finds that it is overdue."""
    overdue = _worker.running.find_overdue(1 << 62)  # noqa: F821
    assert overdue is not None
    _, _, since_ns, limit_ns = overdue
    assert limit_ns == SECOND_NS
    stop(task, since_ns=since_ns)


def stop_if(which, task):
    if task == which:
        stop(task)
    return task


def test_what_is_to_stop_stops_and_the_next_task_does_not(worker):
    assert [status for status, _ in run(worker, partial(stop_if, 2), (1,), (2,), (3,))] == [
        STATUS_OK,
        STATUS_STOPPED,
        STATUS_OK,
    ]


@pytest.mark.parametrize(("task", "attempt"), [(2, ATTEMPT), (1, ATTEMPT + 1), (1, ATTEMPT + (1 << 32)), (1, 0)])
def test_a_signal_that_is_not_for_this_attempt_does_nothing(worker, task, attempt):
    assert run(worker, stop, (task, attempt)) == [(STATUS_OK, pickle.dumps(None, 5))]


def note(path):
    with open(path, "a") as file:
        file.write("ran\n")


def test_what_is_to_stop_before_it_begins_does_not_begin(worker, tmp_path):
    worker.running.ask_to_stop(1, ATTEMPT)
    assert run(worker, note, (str(tmp_path / "ran"),)) == [(STATUS_STOPPED, b"")]
    assert not (tmp_path / "ran").exists()


def catch_and_return(task):
    try:
        stop(task)
    except BaseException:
        return "something"


def catch_and_raise(task):
    try:
        stop(task)
    finally:
        raise ValueError("something")


@pytest.mark.parametrize("function", [catch_and_return, catch_and_raise])
def test_what_it_makes_of_that_does_not_count(worker, function):
    assert run(worker, function, (1,)) == [(STATUS_STOPPED, b"")]


def stop_again_and_again(task):
    raised = 0
    for _ in range(5):
        try:
            stop(task)
        except TaskCancelled:
            raised += 1
    raise ValueError(raised)


def test_it_is_raised_once(worker, monkeypatch):
    seen = []
    monkeypatch.setattr(
        sys.modules[__name__], "ValueError", lambda raised: seen.append(raised) or OSError(), raising=False
    )
    assert run(worker, stop_again_and_again, (1,)) == [(STATUS_STOPPED, b"")]
    assert seen == [1]


def run_too_long(task):
    stop_since_now(task)


def test_what_ran_too_long_says_so_and_where_it_was(worker):
    [(status, data)] = run(worker, run_too_long, (1,))
    assert status == STATUS_RAISED
    error, text = pickle.loads(data)
    assert type(error) is TaskTimeoutError
    assert isinstance(error, TimeoutError)
    assert isinstance(error, ScalerError)
    assert str(error) == "run_too_long ran longer than its limit of 1 s on worker worker-3 and was stopped"
    assert "in stop_since_now" in text


def mostly_quick(task, item):
    if item in (1, 3):
        stop_since_now(task)
    return [item]


def in_chunk(calls):
    pickles = [pickle.dumps(arguments) for arguments in calls]
    ends = [sum(map(len, pickles[: i + 1])) for i in range(len(pickles))]
    return b"".join(end.to_bytes(4, "little") for end in ends) + b"".join(pickles)


def test_a_call_of_a_chunk_that_takes_too_long_does_not_stop_the_others(worker):
    announce(worker, 1, pickle.dumps(mostly_quick))
    worker.tasks.write(
        KIND_TASK, 1, in_chunk([(1, i) for i in range(5)]), function=1, attempt=ATTEMPT, flags=FLAG_CHUNK, items=5
    )
    worker.loop.run()
    [(status, data)] = answers(worker)
    assert status == STATUS_OK
    values = read_chunk(data, False, 5, lambda code, item: (code, pickle.loads(item)))
    assert [code for code, _ in values] == [STATUS_OK, STATUS_RAISED, STATUS_OK, STATUS_RAISED, STATUS_OK]
    assert [value for code, value in values if code == STATUS_OK] == [[0], [2], [4]]
    assert {str(value[0]) for code, value in values if code == STATUS_RAISED} == {
        "mostly_quick ran longer than its limit of 1 s on worker worker-3 and was stopped"
    }


def stop_at_second(task, item, path):
    note(path)
    if item == 1:
        stop(task)


def test_nothing_more_of_a_chunk_is_run_once_nobody_wants_it(worker, tmp_path):
    path = tmp_path / "ran"
    announce(worker, 1, pickle.dumps(stop_at_second))
    calls = in_chunk([(1, i, str(path)) for i in range(5)])
    worker.tasks.write(KIND_TASK, 1, calls, function=1, attempt=ATTEMPT, flags=FLAG_CHUNK, items=5)
    worker.loop.run()
    assert answers(worker) == [(STATUS_STOPPED, b"")]
    assert path.read_text() == "ran\n" * 2


def import_then_go_on(task, folder):
    sys.path.insert(0, folder)
    try:
        import stops_while_it_is_imported  # type: ignore[import-not-found]  # the test writes it

        assert stops_while_it_is_imported.is_whole
    finally:
        sys.path.remove(folder)
    signal.raise_signal(signal.SIGURG)  # whoever stops it asks again
    raise AssertionError("it was not stopped")


def test_an_import_is_not_interrupted(worker, tmp_path):
    (tmp_path / "stops_while_it_is_imported.py").write_text(f"from {__name__} import stop\nstop(1)\nis_whole = True\n")
    assert run(worker, import_then_go_on, (1, str(tmp_path))) == [(STATUS_STOPPED, b"")]
    assert sys.modules.pop("stops_while_it_is_imported").is_whole


class Finalizer:
    def __del__(self):
        stop(1)


def die_in_a_finalizer(task):
    Finalizer()
    signal.raise_signal(signal.SIGURG)
    raise AssertionError("it was not stopped")


def test_what_is_raised_in_a_finalizer_is_raised_again_where_it_counts(worker):
    assert run(worker, die_in_a_finalizer, (1,)) == [(STATUS_STOPPED, b"")]
    assert worker.said == []  # and nobody is told of it


class StopsAsItIsPickled:
    def __reduce__(self):
        stop(1)
        return int, ()


class StopsAsItIsRead:
    def __reduce__(self):
        return stop, (1,)


def test_reading_arguments_and_packing_results_can_be_stopped(worker):
    assert run(worker, StopsAsItIsPickled, ()) == [(STATUS_STOPPED, b"")]
    assert run(worker, id, (StopsAsItIsRead(),)) == [(STATUS_STOPPED, b"")]


class StopsAsAFunction:
    def __reduce__(self):
        return stop_and_give, ()


def stop_and_give():
    stop(1)
    return int


def test_reading_a_function_is_not_interrupted_since_others_need_it(worker):
    assert run(worker, StopsAsAFunction(), ()) == [(STATUS_STOPPED, b"")]
    worker.tasks.write(KIND_TASK, 2, pickle.dumps(()), function=1, attempt=ATTEMPT)
    worker.loop.run()
    assert answers(worker) == [(STATUS_OK, pickle.dumps(0, 5))]


def hold(array, task):
    if task:
        stop(task)
    return memoryview(array).nbytes


@pytest.mark.parametrize("n_bytes", [40_000, 3_000_000])
@pytest.mark.parametrize("is_stopped", [True, False])
def test_what_a_stopped_task_was_lent_is_looked_at_no_more(worker, n_bytes, is_stopped):
    announce(worker, 1, pickle.dumps(hold))
    buffers = payload.Buffers()
    data = payload.dumps((pickle.PickleBuffer(bytearray(n_bytes)), int(is_stopped)), buffers)
    place = worker.store.put(bytes(n_bytes), PLACE_NEW)
    worker.tasks.write(KIND_TASK, 1, join_places([place], data), function=1, attempt=ATTEMPT, flags=FLAG_OBJECTS)
    worker.loop.run()
    record = worker.results.read()
    assert record[5] == (STATUS_STOPPED if is_stopped else STATUS_OK)
    assert record[8] == 0  # by nobody, so it goes with the task
    assert worker.results.read() is None


def test_signals_for_tasks_that_have_ended_are_nothing(worker):
    announce(worker, 1, pickle.dumps(time.sleep))
    for number in range(1, 100):
        worker.tasks.write(KIND_TASK, number, pickle.dumps((0.0001,)), function=1, attempt=ATTEMPT)
        stop(number - 1)
        worker.loop.run()
        stop(number)
        assert answers(worker) == [(STATUS_OK, pickle.dumps(None, 5))]
