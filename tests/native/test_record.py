"""A record as a value: the same whichever way it was copied out, with names for its fields."""

from scaler._native import KIND_RESULT, KIND_TASK, RecordCopy, RecordRun, Ring, Segment

WHOLE = RecordCopy(
    KIND_RESULT, 7, b"payload", function=3, flags=4, status=5, attempt=6, items=8, detail=9, duration_ns=10, cpu_us=11,
    memory_peak_kib=12,
)  # fmt: skip


def write(run: RecordRun, record: RecordCopy) -> None:
    run.write(record.kind, record.task, record.payload, **dict(list(record._asdict().items())[3:]))


def test_a_record_comes_out_of_a_run_with_what_went_in():
    run = RecordRun()
    write(run, WHOLE)
    assert run.read() == WHOLE
    assert run.read() is None


def test_a_record_comes_out_of_a_ring_with_what_went_in():
    memory = Segment.private(8192)
    ring, reader = Ring(memory, 0, 4096), Ring(memory, 0, 4096)
    ring.write(KIND_RESULT, 7, b"payload", function=3, flags=4, status=5, attempt=6, items=8, detail=9, duration_ns=10)
    assert reader.read() == WHOLE._replace(cpu_us=0, memory_peak_kib=0)


def test_what_a_record_does_not_say_is_nothing():
    assert RecordCopy(KIND_TASK) == (KIND_TASK, 0, b"", 0, 0, 0, 0, 0, 0, 0, 0, 0)
