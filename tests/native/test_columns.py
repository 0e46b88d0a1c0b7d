"""Runs of records and their way into columns and back, against a plain Python model; each check by itself."""

import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler._native import (
    MOST_PAYLOAD_BYTES,
    RecordBatch,
    RecordRun,
    bare,
    join_places,
    runs_to_result_columns,
    runs_to_task_columns,
)
from tests.effort import rounds

TASK, RESULT = 1, 2
FLAG_OBJECTS = 1
CLIENT = 0xABCDEF
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
WIDTHS = ("<I", "<Q", "<Q", "<I", "<B", "<H", "<I", "<I", "<Q", "<I", "<I")
OPTIONS = "cpu_us"  # where a task's record has them
LIMIT_MS = "memory_peak_kib"
FIELDS = (
    "task", "attempt", "function", "flags", "status", "items", "detail", "duration_ns", "cpu_us", "memory_peak_kib",
)  # fmt: skip
TASK_FIELDS = ("task", "attempt", "function", "flags", "items", "detail")

TASKS = st.fixed_dictionaries(
    {
        "task": st.integers(0, 2**40 - 1).map(lambda number: CLIENT << 40 | number),
        "attempt": U64,
        "function": U32,
        "flags": st.sampled_from([0, 2, 4, 8, 10, 14]),
        "items": U32,
        "detail": U32,
        OPTIONS: st.builds(
            lambda retries, priority: retries | (priority & 255) << 8,
            st.integers(0, 255),
            st.integers(-15, 15),
        ),
        LIMIT_MS: U32,
    }
)
RESULTS = st.builds(
    lambda task, rest: task | rest,
    TASKS,
    st.fixed_dictionaries(
        {"status": st.integers(0, 5), "duration_ns": U64, "cpu_us": U32, "memory_peak_kib": U32},
    ),
)


def rows_of(record):
    return st.lists(st.tuples(st.integers(0, 4), record, st.binary(max_size=70)), min_size=1, max_size=40)


def model_columns(rows, fields, last_fields=()):
    """The columns as the schema describes them, one value after the other; those that came later are the last."""
    widths = dict(zip(("peer", *FIELDS), WIDTHS, strict=True))
    columns = []
    for field in ("peer", *fields, *last_fields):
        values = [peer if field == "peer" else record[field] for peer, record, _ in rows]
        packed = b"".join(struct.pack(widths[field], value) for value in values)
        columns.append(packed if any(values) else b"")
    payload = b"".join(payload for _, _, payload in rows)
    end, ends = 0, b""
    for _, _, data in rows:
        end += len(data)
        ends += struct.pack("<I", end)
    at = 1 + len(fields)
    return (*columns[:at], ends if payload else b"", payload, *columns[at:])


def runs_of(kind, rows):
    """A run per stretch of rows with the same peer, so that the order of rows is kept."""
    runs = []
    for peer, record, payload in rows:
        if not runs or runs[-1][0] != peer:
            runs.append((peer, RecordRun()))
        assert runs[-1][1].write(kind, payload=payload, **record) is not None
    return runs


def as_read(kind, row):
    peer, record, payload = row
    record = dict.fromkeys(FIELDS, 0) | record
    return peer, (
        kind,
        record["task"],
        payload,
        record["function"],
        record["flags"],
        record["status"],
        record["attempt"],
        record["items"],
        record["detail"],
        record["duration_ns"],
        record["cpu_us"],
        record["memory_peak_kib"],
    )


def task_columns(runs, most_bytes=131072):
    """The columns of a batch that is not empty."""
    columns = runs_to_task_columns(runs, most_bytes)
    assert columns is not None
    return columns


def written(run, task, payload=b""):
    """The position of a task for which there is room."""
    position = run.write(TASK, task, payload)
    assert position is not None
    return position


def read_all(source):
    return list(iter(source.read, None))


@given(rows_of(TASKS))
@settings(deadline=None)
def test_tasks_travel_as_the_schema_says(rows):
    runs = runs_of(TASK, rows)
    columns = task_columns(runs)
    assert columns == model_columns(rows, TASK_FIELDS, (OPTIONS, LIMIT_MS))
    assert runs_to_task_columns(runs) is None
    batch = RecordBatch()
    assert batch.put_tasks(columns, peers=5, client_bits=CLIENT) == len(rows)
    assert read_all(batch) == [as_read(TASK, row) for row in rows]


@given(rows_of(RESULTS))
@settings(deadline=None)
def test_results_travel_as_the_schema_says(rows):
    columns = runs_to_result_columns(runs_of(RESULT, rows))
    assert columns is not None
    assert columns == model_columns(rows, FIELDS)
    batch = RecordBatch()
    assert batch.put_results(columns, peers=5, client_bits=CLIENT) == len(rows)
    assert read_all(batch) == [as_read(RESULT, row) for row in rows]


def test_a_batch_ends_at_its_limit_and_the_next_goes_on_there():
    runs = [(peer, RecordRun()) for peer in range(3)]
    for peer, run in runs:
        for number in range(10):
            run.write(TASK, peer << 8 | number, b"x" * 44)
    seen = []
    batches = 0
    while (columns := runs_to_task_columns(runs, 1000)) is not None:
        assert len(columns[1]) // 8 <= 10
        seen += array("Q", columns[1]).tolist()
        batches += 1
    assert seen == [peer << 8 | number for peer in range(3) for number in range(10)]
    assert batches == 3
    assert all(len(run) == 0 for _, run in runs)


def test_a_record_larger_than_the_limit_travels_alone():
    run = RecordRun()
    for size in (10, 5000, 10):
        run.write(TASK, 1, b"x" * size)
    assert [len(task_columns([(0, run)], 1000)[8]) for _ in range(3)] == [10, 5000, 10]


def test_a_withdrawn_record_does_not_travel():
    run = RecordRun()
    positions = [written(run, number, b"payload") for number in range(4)]
    assert run.take_back(positions[0])
    assert run.take_back(positions[2])
    assert not run.take_back(positions[2])
    assert len(run) == 2
    assert array("Q", task_columns([(0, run)])[1]).tolist() == [1, 3]
    assert not run.take_back(positions[3])
    assert len(run) == 0


def test_a_run_of_withdrawn_records_only_is_no_batch():
    run = RecordRun()
    run.take_back(written(run, 1))
    assert runs_to_task_columns([(0, run)]) is None
    assert runs_to_task_columns([]) is None


def test_a_record_of_another_kind_is_refused_and_nothing_is_taken():
    run = RecordRun()
    run.write(TASK, 1)
    run.write(RESULT, 2)
    with pytest.raises(ValueError, match="row 1: a record of another kind"):
        runs_to_task_columns([(0, run)])
    assert len(run) == 2


def test_where_an_object_lies_does_not_leave_its_host():
    run = RecordRun()
    payload = join_places([(5 << 40 | 1, 5 << 32 | 1, 4096, 100, 0)], b"pickle")
    run.write(TASK, 1, payload, flags=FLAG_OBJECTS)
    with pytest.raises(ValueError, match="where on this host"):
        runs_to_task_columns([(0, run)])
    run.clear()
    run.write(TASK, 1, bare(payload), flags=FLAG_OBJECTS)
    assert task_columns([(0, run)])[4] == bytes([FLAG_OBJECTS])


def test_a_run_named_twice_is_refused():
    run = RecordRun()
    run.write(TASK, 1)
    with pytest.raises(ValueError, match="named twice"):
        runs_to_task_columns([(0, run), (1, run)])


def good_tasks(**changes):
    columns = {
        "peers": struct.pack("<2I", 0, 1),
        "tasks": struct.pack("<2Q", CLIENT << 40 | 1, CLIENT << 40 | 2),
        "attempts": struct.pack("<2Q", 1, 2),
        "functions": struct.pack("<2I", 7, 7),
        "flags": b"\0\2",
        "items": b"",
        "details": b"",
        "ends": struct.pack("<2I", 3, 8),
        "payload": b"abcdefgh",
        "options": b"",
        "limits": b"",
    }
    return tuple((columns | changes).values())


def good_results(**changes):
    peers, tasks, attempts, functions, flags, items, details, ends, payload, *_ = good_tasks()
    columns = {
        "peers": peers,
        "tasks": tasks,
        "attempts": attempts,
        "functions": functions,
        "flags": flags,
        "statuses": b"",
        "items": items,
        "details": details,
        "durations": b"",
        "cpu": b"",
        "memory": b"",
        "ends": ends,
        "payload": payload,
    }
    return tuple((columns | changes).values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": b""}, "tasks: 0 bytes"),
        ({"tasks": b"1234567"}, "tasks: 7 bytes"),
        ({"tasks": struct.pack("<3Q", 1, 2, 3)}, "peers: 8 bytes are not 3 rows of 4 bytes"),
        ({"peers": b"1234567"}, "peers: 7 bytes"),
        ({"attempts": b"12345678"}, "attempts: 8 bytes are not 2 rows of 8 bytes"),
        ({"functions": b"1"}, "functions: 1 bytes"),
        ({"flags": b"123"}, "flags: 3 bytes"),
        ({"items": b"123"}, "items: 3 bytes"),
        ({"details": b"123"}, "details: 3 bytes"),
        ({"ends": b"1234"}, "ends: 4 bytes"),
        ({"ends": struct.pack("<2I", 9, 8)}, "row 0: ends: does not rise inside the payload"),
        ({"ends": struct.pack("<2I", 3, 2)}, "row 1: ends: does not rise inside the payload"),
        ({"ends": struct.pack("<2I", 3, 2**32 - 1)}, "row 1: ends: does not rise inside the payload"),
        ({"ends": struct.pack("<2I", 3, 7)}, "row 1: ends: the last one is not the end"),
        ({"ends": b""}, "row 1: ends: the last one is not the end"),
        ({"payload": b""}, "row 0: ends: does not rise inside the payload"),
        ({"peers": struct.pack("<2I", 0, 2)}, "row 1: peers: a number that was never given out"),
        ({"flags": b"\1\0"}, "row 0: payload: not the places"),
        ({"tasks": struct.pack("<2Q", CLIENT << 40, 1)}, "row 1: tasks: the id belongs to another client"),
    ],
)
def test_a_batch_with_one_error_adds_nothing(changes, words):
    batch = RecordBatch()
    batch.put_tasks(good_tasks(), peers=2, client_bits=CLIENT)
    with pytest.raises(ValueError, match=words):
        batch.put_tasks(good_tasks(**changes), peers=2, client_bits=CLIENT)
    with pytest.raises(ValueError, match=words):
        batch.put_results(good_results(**changes), peers=2, client_bits=CLIENT)
    assert len(batch) == 2


@pytest.mark.parametrize("word", [1 << 16, 1 << 31, 16 << 8, 127 << 8, 128 << 8, (-16 & 255) << 8])
def test_unknown_options_are_refused(word):
    options = struct.pack("<2I", 15 << 8 | 255, word)
    with pytest.raises(ValueError, match="row 1: options"):
        RecordBatch().put_tasks(good_tasks(options=options), peers=2)


def test_an_unknown_status_is_refused():
    with pytest.raises(ValueError, match="row 1: statuses"):
        RecordBatch().put_results(good_results(statuses=struct.pack("<2H", 0, 1000)), peers=2)


def test_a_payload_over_the_limit_is_refused():
    ends = struct.pack("<2I", 3, 3 + MOST_PAYLOAD_BYTES)
    RecordBatch().put_tasks(good_tasks(ends=ends, payload=bytes(3 + MOST_PAYLOAD_BYTES)), peers=2)
    ends = struct.pack("<2I", 3, 4 + MOST_PAYLOAD_BYTES)
    with pytest.raises(ValueError, match="row 1: payload: larger"):
        RecordBatch().put_tasks(good_tasks(ends=ends, payload=bytes(4 + MOST_PAYLOAD_BYTES)), peers=2)


def test_records_over_the_limit_of_the_run_are_refused():
    batch = RecordBatch(4096)
    with pytest.raises(ValueError, match="more than the 4096 left"):
        batch.put_tasks(good_tasks(payload=b"x" * 5000, ends=struct.pack("<2I", 3, 5000)), peers=2)
    assert len(batch) == 0
    assert batch.put_tasks(good_tasks(), peers=2) == 2


@pytest.mark.parametrize("columns", [(), good_tasks()[:-1], good_tasks() + (b"",)])
def test_a_wrong_number_of_columns_is_refused(columns):
    with pytest.raises(ValueError, match="columns instead of"):
        RecordBatch().put_tasks(columns)


def test_a_column_that_is_not_bytes_is_refused():
    with pytest.raises(TypeError):
        RecordBatch().put_tasks(good_tasks(flags=[0, 2]))


@given(st.lists(st.binary(max_size=40), min_size=9, max_size=9))
@settings(max_examples=rounds(150))
def test_random_columns_add_all_or_nothing(columns):
    batch = RecordBatch()
    try:
        added = batch.put_tasks(tuple(columns), peers=3)
    except ValueError:
        added = 0
    assert len(read_all(batch)) == added


def test_memory_of_a_huge_run_is_given_back():
    run = RecordRun()
    for _ in range(20):
        run.write(TASK, 1, b"x" * (1 << 20))
    most = run.room_bytes
    run.clear()
    for _ in range(10):
        run.write(TASK, 1)
        run.clear()
    assert most >= 20 << 20
    assert run.room_bytes <= 1 << 20


def test_a_run_that_is_never_quite_empty_does_not_grow():
    batch = RecordBatch()
    expected, seen = [], []
    for number in range(2000):
        batch.put_tasks((struct.pack("<2I", number, number + 1), struct.pack("<2Q", number, 0), *[b""] * 9), peers=3000)
        expected += [(number, number), (number + 1, 0)]
        while len(batch) > 1:
            read = batch.read()
            assert read is not None
            peer, record = read
            seen.append((peer, record[1]))
    assert seen == expected[:-1]
    assert batch.run.room_bytes < 1 << 16


class RunMachine(RuleBasedStateMachine):
    """A run is a queue from which any entry may be withdrawn by its position."""

    def __init__(self):
        super().__init__()
        self.run = RecordRun(16384)
        self.model = []
        self.gone = []
        self.next = 0

    @rule(payload=st.binary(max_size=300))
    def write(self, payload):
        position = self.run.write(TASK, self.next, payload)
        if position is None:
            assert sum(56 + len(data) for _, _, data in self.model) + len(payload) > 4096
            return
        self.model.append((position, self.next, payload))
        self.next += 1

    @precondition(lambda self: self.model)
    @rule()
    def read(self):
        position, task, payload = self.model.pop(0)
        record = self.run.read()
        assert record is not None
        assert record[:3] == (TASK, task, payload)
        self.gone.append(position)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def withdraw(self, data):
        position, _, _ = self.model.pop(data.draw(st.integers(0, len(self.model) - 1)))
        assert self.run.take_back(position)
        self.gone.append(position)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def withdraw_too_late(self, data):
        assert not self.run.take_back(data.draw(st.sampled_from(self.gone)))

    @rule()
    def clear(self):
        self.gone += [position for position, _, _ in self.model]
        self.model.clear()
        self.run.clear()

    @invariant()
    def the_length_is_right(self):
        assert len(self.run) == len(self.model)
        if not self.model:
            assert self.run.read() is None


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = settings(max_examples=rounds(30), stateful_step_count=60)
