"""Counts of calls: exact, in calls, and what was submitted is the sum of what is somewhere."""

import pytest

from scaler._native import (
    FLAG_CHUNK,
    FLAG_PLAIN,
    KIND_RESULT,
    STATUS_OK,
    STATUS_RAISED,
    STATUS_STOPPED,
    STATUS_UNREADABLE,
    SchedulerCore,
    function_columns,
    worker_columns,
)
from scaler.monitor.histogram import bucket_of
from scaler.values import payload
from tests.native.test_core import MS, FakeClient, FakeWorker


def rows_of(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def worker_counts(core):
    return rows_of(worker_columns(core))


def function_counts(core):
    columns, durations, queued, payloads = function_columns(core)
    rows = rows_of({**columns, "payload": payloads})
    for name, (ends, buckets, counts) in (("durations", durations), ("queued", queued)):
        for row, begin, end in zip(rows, [0, *ends], ends, strict=False):
            row[name] = dict(zip(buckets[begin:end], counts[begin:end], strict=True))
    return rows


OPEN = ("waiting", "ready", "held_back", "placed", "lent", "doomed")


def submit_chunk(client, calls):
    task = (client.bits << 40) | client.next
    client.next += 1
    client.submits_out.write(1, task, b"args", items=calls, flags=FLAG_CHUNK)
    client.core.feed_client(client.index, client.submits_in)
    return task


def answer(worker, *, status=STATUS_OK, flags=0, payload=b"", failed=0, duration_ns=0, now=0):
    ran, worker.running = worker.running, None
    worker.results_out.write(
        KIND_RESULT, ran.task, payload, function=failed, attempt=ran.attempt, items=ran.items, status=status,
        flags=flags, duration_ns=duration_ns,
    )  # fmt: skip
    worker.core.feed_worker(worker.index, worker.results_in, now)
    worker.core.check()


def check_sum(counts):
    assert counts["submitted"] == sum(counts[name] for name in (*OPEN, "succeeded", "failed", "cancelled"))


def test_a_call_is_ready_then_placed_and_has_then_succeeded():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    client.submit()
    assert core.call_counts()["ready"] == 1
    worker = FakeWorker(core)
    core.step(0)
    assert core.call_counts()["placed"] == 1
    worker.begin()
    answer(worker)
    counts = core.call_counts()
    assert (counts["succeeded"], counts["placed"]) == (1, 0)
    check_sum(counts)


def test_a_chunk_counts_its_calls_and_those_that_failed():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    submit_chunk(client, 10)
    core.step(0)
    assert core.call_counts()["placed"] == 10
    worker.begin()
    answer(worker, flags=FLAG_CHUNK, failed=3, duration_ns=10 * MS)
    assert (core.call_counts()["succeeded"], core.call_counts()["failed"]) == (7, 3)
    submit_chunk(client, 5)
    core.step(0)
    worker.begin()
    answer(worker, status=STATUS_UNREADABLE)
    assert (core.call_counts()["succeeded"], core.call_counts()["failed"]) == (7, 8)
    check_sum(core.call_counts())


def test_a_cancelled_call_is_cancelled_at_once_and_stopping_as_long_as_a_worker_runs_it():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit()
    core.step(0)
    worker.begin()
    core.on_cancel(client.index, task, 0)
    counts = core.call_counts()
    assert (counts["cancelled"], counts["stopping"], counts["placed"]) == (1, 1, 0)
    answer(worker, status=STATUS_STOPPED)
    counts = core.call_counts()
    assert (counts["cancelled"], counts["stopping"], counts["stopped"]) == (1, 0, 1)
    check_sum(counts)


def test_a_call_whose_worker_dies_stays_one_call_and_counts_as_retried():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    worker.begin()
    core.on_worker_left(worker.index, 0)
    core.check()
    counts = core.call_counts()
    assert (counts["submitted"], counts["ready"], counts["retried"]) == (1, 1, 1)
    for _ in range(3):
        worker = FakeWorker(core)
        core.step(0)
        worker.begin()
        core.on_worker_left(worker.index, 0)
        core.check()
    counts = core.call_counts()
    assert (counts["failed"], counts["retried"]) == (1, 3)
    check_sum(counts)


def test_what_a_worker_had_not_begun_is_not_retried():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    core.on_worker_left(worker.index, 0)
    assert core.call_counts()["retried"] == 0


def test_counts_of_a_client_that_has_gone_stay_in_the_totals():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for _ in range(3):
        client.submit()
    core.step(0)
    worker.begin()
    answer(worker)
    core.on_client_left(client.index, 0)
    core.check()
    other = FakeClient(core, 6)
    other.submit()
    counts = core.call_counts()
    assert (counts["submitted"], counts["succeeded"], counts["cancelled"]) == (4, 1, 2)
    check_sum(counts)


def test_refused_calls_are_submitted_and_failed():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    client.submit(function=99)
    counts = core.call_counts()
    assert (counts["submitted"], counts["failed"]) == (1, 1)
    check_sum(counts)


def test_a_function_has_counts_sums_and_histograms_of_its_calls():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    worker.begin()
    answer(worker, duration_ns=3 * MS, now=10 * MS)
    (row,) = function_counts(core)
    assert row["number"] > 0
    assert (row["submitted"], row["succeeded"], row["placed"]) == (1, 1, 0)
    assert row["duration_ns"] == 3 * MS
    assert row["queued_ns"] == 7 * MS
    assert row["durations"] == {bucket_of(3 * MS): 1}
    assert row["queued"] == {bucket_of(7 * MS): 1}
    assert row["last_ns"] == 10 * MS


def test_a_chunks_calls_have_its_mean_duration():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    submit_chunk(client, 10)
    core.step(0)
    worker.begin()
    answer(worker, flags=FLAG_CHUNK | FLAG_PLAIN, duration_ns=10 * MS, now=10 * MS)
    (row,) = function_counts(core)
    assert row["durations"] == {bucket_of(MS): 10}
    assert row["duration_ns"] == 10 * MS


def test_counts_of_a_function_that_nobody_has_any_more_are_still_shown():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    worker.begin()
    answer(worker, duration_ns=MS, now=MS)
    core.on_forget(client.index, 0)
    core.step(0)
    (row,) = function_counts(core)
    assert (row["is_gone"], row["succeeded"], row["payload"]) == (1, 1, b"function")


def test_of_many_functions_that_have_gone_the_sum_stays_exact():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for number in range(1, 301):
        code = b"%d" % number
        core.on_function(client.index, number, payload_digest(code), 0, code)
        client.submit(function=number)
        core.step(0)
        worker.begin()
        answer(worker, duration_ns=MS, now=number * MS)
        core.on_forget(client.index, number)
        core.step(0)
        client.drain()
    rows = function_counts(core)
    assert len(rows) == 1 + 256 + 1  # one that is there, the last ones, and the sum of the others
    assert sum(row["succeeded"] for row in rows) == 300
    assert sum(sum(row["durations"].values()) for row in rows) == 300


def payload_digest(code):
    from hashlib import blake2b

    return blake2b(code, digest_size=16).digest()


def test_a_worker_has_counts_of_its_own():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for _ in range(2):
        client.submit()
    core.step(0)
    worker.begin()
    answer(worker, duration_ns=MS)
    core.step(0)
    worker.begin()
    answer(worker, status=STATUS_RAISED, duration_ns=2 * MS, payload=payload.describe(ValueError("no"), False))
    (row,) = worker_counts(core)
    assert (row["number"], row["sent"], row["succeeded"], row["failed"], row["busy_ns"]) == (1, 2, 1, 1, 3 * MS)
    core.on_worker_left(worker.index, 0)
    FakeWorker(core)
    (row,) = worker_counts(core)
    assert (row["number"], row["sent"]) == (2, 0)


# failures


def raised(error):
    try:
        raise error
    except BaseException as caught:
        return caught


def fail_once(core, client, worker, error, now=0):
    client.submit()
    core.step(now)
    worker.begin()
    answer(worker, status=STATUS_RAISED, payload=payload.describe(error, False), now=now)


@pytest.mark.parametrize("message", ["no", "x" * 300, "a\nb", "naïve \u2603", ""])
def test_failures_are_grouped_by_exception_and_place(message):
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for now in (1, 2):
        fail_once(core, client, worker, raised(ValueError(message)), now)
    (group,) = core.failure_groups()
    assert group.kind == b"ValueError"
    assert group.message.decode() == message.strip()
    assert group.place.endswith(b"in raised")
    assert b"test_counts.py:" in group.place
    assert (group.count, group.first_ns, group.last_ns, group.worker) == (2, 1, 2, 1)
    assert group.text.startswith(b"Traceback (most recent call last)")


class Mine(Exception):
    pass


def test_an_exception_of_a_program_has_its_full_name():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    fail_once(core, client, worker, raised(Mine("no")))
    assert core.failure_groups()[0].kind == f"{__name__}.Mine".encode()


def test_at_most_256_groups_are_kept_those_that_failed_last():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for number in range(300):
        fail_once(core, client, worker, raised(type(f"Error{number}", (Exception,), {})("no")))
        client.drain()
    groups = core.failure_groups()
    assert len(groups) == 256
    assert groups[-1].kind.endswith(b"Error299")


@pytest.mark.parametrize(
    "junk", [b"", b".", b"\x86.", b"\x94\x86\x94.", b"X\xff\xff\xff\xff\x94\x86\x94.", b"\x8c" * 50]
)
def test_a_failure_that_says_nonsense_is_counted_all_the_same(junk):
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    worker.begin()
    answer(worker, status=STATUS_RAISED, payload=junk)
    assert core.call_counts()["failed"] == 1
    assert core.failure_groups()[0].count == 1
