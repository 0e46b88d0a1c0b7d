"""A run of one record, made from the tuple of another: for payloads that change their place on the way."""

from typing import Any

from scaler._native import RecordRun


def with_payload(record: tuple[Any, ...], payload: bytes) -> RecordRun:
    """The record, but with this payload."""
    kind, task, _, function, flags, status, attempt, items, detail, duration_ns, cpu_us, memory_peak_kib = record
    run = RecordRun()
    run.write(
        kind, task, payload, function=function, flags=flags, status=status, attempt=attempt, items=items, detail=detail,
        duration_ns=duration_ns, cpu_us=cpu_us, memory_peak_kib=memory_peak_kib,
    )  # fmt: skip
    return run
