"""What comes back of a job, without an engine."""

import pickle
import threading
import time

import pytest

from scaler._native import FLAG_CHUNK, FLAG_PLAIN, STATUS_OK, STATUS_RAISED, STATUS_UNREADABLE, read_chunk
from scaler.engines.job import Context, Job, JobFunction, JobTask, Missing, pack_job, unpack_answer
from scaler.engines.limits import Limit
from scaler.engines.run import Results, run_job
from scaler.exceptions import TaskCancelled

CONTEXT = Context("tcp://127.0.0.1:1", 7, b"v" * 16, "seat-1", 0)


def run(function, *payloads, flags=0, items=0, objects=None, limit_ms=0):
    sent = JobFunction(pickle.dumps(function), 0, pickle.dumps(function))
    tasks = [JobTask(1 << 40 | i, 1, flags, items, 0, 0, limit_ms, data) for i, data in enumerate(payloads)]
    return unpack_answer(run_job(pack_job(Job(CONTEXT, {1: sent}, objects or {}, tasks))))


def whole(results: Results) -> bytes:
    made = results.finish()
    assert isinstance(made, bytes)
    return made


def test_each_task_of_a_job_has_an_answer_of_its_own():
    answers = run(divmod, *(pickle.dumps(arguments) for arguments in ((7, 2), (7, 0), (9,), (9, 4))))
    assert [answer.status for answer in answers] == [STATUS_OK, STATUS_RAISED, STATUS_RAISED, STATUS_OK]
    assert [pickle.loads(answers[i].payload) for i in (0, 3)] == [(3, 1), (2, 1)]
    assert all(answer.duration_ns > 0 for answer in answers)


def test_arguments_that_cannot_be_read_are_that_task_s_answer():
    answers = run(abs, b"nonsense", pickle.dumps((-3,)))
    assert [answer.status for answer in answers] == [STATUS_UNREADABLE, STATUS_OK]


def test_a_process_that_misses_objects_says_which():
    assert run(abs, pickle.dumps((-3,)), objects={11: None, 12: b"here", 13: None}) == Missing([11, 13])
    assert run(abs, pickle.dumps((-3,)), objects={12: None})[0].status == STATUS_OK


def test_a_job_of_another_version_is_refused_with_what_to_do():
    data = pickle.dumps((99, *pickle.loads(pack_job(Job(CONTEXT, {}, {}, [])))[1:]))
    with pytest.raises(ValueError, match="install the same scaler"):
        run_job(data)


def test_an_answer_that_makes_no_sense_is_an_error():
    for data in (b"", b"nonsense", pickle.dumps(5), pickle.dumps((1, False, [(1, 2)]))):
        with pytest.raises(ValueError, match="makes no sense"):
            unpack_answer(data)


def test_results_of_a_chunk_are_read_as_a_worker_s():
    short = [5, -300, 70_000, -(1 << 31), 1.5, None, True, False]
    results = Results()
    for value in short:
        results.add_short(value)
    assert results.plain_flag == FLAG_PLAIN
    assert read_chunk(whole(results), True, len(short), lambda code, data: None) == short
    results.add_short(1 << 40)
    results.add(STATUS_RAISED, b"error", [])
    assert (results.plain_flag, results.failed) == (0, 1)
    read = read_chunk(whole(results), False, len(short) + 2, lambda code, data: (code, data))
    assert read == [*short, (STATUS_OK, pickle.dumps(1 << 40, 5)), (STATUS_RAISED, b"error")]


def test_a_chunk_whose_size_is_not_what_it_says_is_unreadable():
    (answer,) = run(abs, b"\x80\x05](K\x01K\x05e.", flags=FLAG_CHUNK | FLAG_PLAIN, items=2)
    assert answer.status == STATUS_UNREADABLE
    (answer,) = run(abs, b"\x80\x05](K\x01J\xfb\xff\xff\xffe.", flags=FLAG_CHUNK | FLAG_PLAIN, items=1)
    assert read_chunk(answer.payload, True, 1, lambda code, data: None) == [5]


def test_a_limit_ends_python_code_in_any_thread_and_nothing_after_it():
    ended: list[bytes | str | None] = []

    def work():
        limit = Limit(50, "seat-1")
        limit.function = work
        try:
            with limit:
                while True:
                    time.sleep(0.001)
        except TaskCancelled:
            ended.append(limit.description(None))
        time.sleep(0.2)
        ended.append("alive")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert "ran longer than its limit of 0.05 s" in str(ended[0])
    assert ended[1:] == ["alive"]
    work()
    assert ended[3:] == ["alive"]


def test_code_within_its_limit_is_left_alone():
    limit = Limit(60_000, "seat-1")
    for _ in range(3):
        with limit:
            pass
        assert limit.description(None) is None
        limit.begin_anew()
