"""SessionEnd: what both ends of every session have in common.

A session is the conversation of a client, or of the cluster of another host, with the scheduler. It has two ends, in
two processes, and each of the four has a file of its own:

| the session of | its end at the scheduler | its end at the relay, which is on the client's or cluster's own host |
| --- | --- | --- |
| a client | client_at_scheduler | client_at_relay |
| a cluster | cluster_at_scheduler | cluster_at_relay |

What the two at the scheduler have in common stands in session_at_scheduler, the two at the relay in session_at_relay.
Each end lists in `handlers` what it is told and does about that. So a new frame is a line and a method in the file of
the end that takes it. A cluster whose workers are an engine's slots has an end of its own at the cluster's side
(scaler.engines.session), which takes what cluster_at_relay takes; tests/session/test_ends.py compares them.

Rule 1: a body that is not in `handlers` ends the session: that side does not say such a thing.
Not here: numbers, what is sent again, and objects on their way (conversation).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from scaler._native import RecordBatch, RecordCopy, RecordRun, runs_to_result_columns, runs_to_task_columns
from scaler.objects.incoming import IncomingObjects
from scaler.protocol.bounds import DIGEST_BYTES
from scaler.protocol.frames import Body, FrameError, Function, Results, Tasks
from scaler.session.conversation import Conversation


@contextmanager
def odd_columns() -> Iterator[None]:
    """Columns that make no sense end the session as other frames do that make none: with a sentence."""
    try:
        yield
    except ValueError as error:
        raise FrameError(str(error)) from None


class SessionEnd:
    """Bodies in, bodies out; no socket, no clock, no thread."""

    handlers: ClassVar[Mapping[type, Callable[[Any, Any], Any]]]
    other_side: ClassVar[str]  # and to what it speaks, if that is not plain, for the error
    says_tasks: ClassVar[bool]  # else it says results

    def __init__(self, incoming: IncomingObjects) -> None:
        self.talk = Conversation(incoming)
        self.batch = RecordBatch()

    def handler_of(self, body: Body) -> Callable[[Any, Any], Any]:
        """What this end does about such a body. FrameError if the other side does not say it."""
        handler = self.handlers.get(type(body))
        if handler is None:
            side, _, to = self.other_side.partition(" to ")
            raise FrameError(f"{side} does not say {type(body).__name__}" + (f" to {to}" if to else ""))
        return handler

    def post_runs(self, runs: list[tuple[int, RecordRun]]) -> bool:
        """Post one batch out of these runs, each with its peer's number. False if they are empty."""
        if self.says_tasks:
            tasks = runs_to_task_columns(runs)
            if tasks is not None:
                self.talk.post(Tasks(*tasks))
            return tasks is not None
        results = runs_to_result_columns(runs)
        if results is not None:
            self.talk.post(Results(*results))
        return results is not None


def with_payload(record: RecordCopy, payload: bytes) -> RecordRun:
    """A run of this one record with another payload: one that changes its place on the way."""
    run = RecordRun()
    run.write(
        record.kind, record.task, payload, function=record.function, flags=record.flags, status=record.status,
        attempt=record.attempt, items=record.items, detail=record.detail, duration_ns=record.duration_ns,
        cpu_us=record.cpu_us, memory_peak_kib=record.memory_peak_kib,
    )  # fmt: skip
    return run


def announced(peer: int, record: RecordCopy) -> Function:
    """The function that this record announces: behind its digest stands its payload."""
    digest, payload = record.payload[:DIGEST_BYTES], record.payload[DIGEST_BYTES:]
    return Function(peer, record.function, digest, record.flags, payload)
