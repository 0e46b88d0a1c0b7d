"""A run of one record, made from a copy of another: for payloads that change their place on the way."""

from scaler._native import RecordCopy, RecordRun


def with_payload(record: RecordCopy, payload: bytes) -> RecordRun:
    """The record, but with this payload."""
    run = RecordRun()
    run.write(
        record.kind, record.task, payload, function=record.function, flags=record.flags, status=record.status,
        attempt=record.attempt, items=record.items, detail=record.detail, duration_ns=record.duration_ns,
        cpu_us=record.cpu_us, memory_peak_kib=record.memory_peak_kib,
    )  # fmt: skip
    return run
