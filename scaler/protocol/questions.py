"""Questions about tasks, as they stand in the control records of a host's rings; over the wire they are frames.

| record | task | payload |
| --- | --- | --- |
| KIND_QUESTION, from a client | the task | number of the question (4), what is asked (1) |
| KIND_ANSWER, to it | | number of the question (4), which part (2), bits (1), UTF-8 |
| KIND_OUTPUT, to it | | what its tasks have written: whole lines, which may go over several records |

Bits of an answer: 1, more parts follow; 2, the text says why there is no answer.

Rule 1: a number is its client's; an answer to one that nobody has asked means nothing.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

_QUESTION = struct.Struct("<IB")
_ANSWER = struct.Struct("<IHB")
PART_BYTES = 6000  # so that a part fits into any control ring
_MORE, _PROBLEM = 1, 2


UNKNOWN_TASK = "it has ended, or runs in place in the task that submitted it, or has not come to the scheduler yet"


class What(IntEnum):
    """What is asked."""

    STACK = 1  # what the task's code does just now
    OUTPUT = 2  # whether all that the client's tasks have written is said; the task is the client's bits, in place


def pack_question(number: int, what: int) -> bytes:
    return _QUESTION.pack(number, what)


def read_question(payload: bytes) -> tuple[int, int]:
    """(number, what). ValueError if it is none."""
    if len(payload) != _QUESTION.size:
        raise ValueError("a question about a task has 5 bytes")
    number, what = _QUESTION.unpack(payload)
    return number, what


def pack_answer(number: int, text: str, problem: str) -> Iterator[bytes]:
    """The payloads of the records that this answer is."""
    data, bits = (problem or text).encode("utf-8", "replace"), _PROBLEM if problem else 0
    ends = range(0, max(1, len(data)), PART_BYTES)
    for part, at in enumerate(ends):
        more = _MORE if at + PART_BYTES < len(data) else 0
        yield _ANSWER.pack(number, part, bits | more) + data[at : at + PART_BYTES]


def parts_of_output(text: bytes) -> Iterator[bytes]:
    """The payloads of the records that these lines are."""
    return (text[at : at + PART_BYTES] for at in range(0, len(text), PART_BYTES))


def dropped_output(lines: int) -> bytes:
    """What a client is told that reads too slowly."""
    return b"(scaler: %d lines are left out here: this client did not read them in time)\n" % lines


class AnswerParts:
    """Puts together what comes in parts, of the one question that is open."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._data = b""
        self.is_whole = False
        self._is_problem = False

    def add(self, payload: bytes) -> None:
        """Take one record's payload, which may be an answer to another question."""
        if len(payload) < _ANSWER.size:
            return
        number, _, bits = _ANSWER.unpack_from(payload)
        if number == self.number and not self.is_whole:
            self._data += payload[_ANSWER.size :]
            self._is_problem = bool(bits & _PROBLEM)
            self.is_whole = not bits & _MORE

    @property
    def text(self) -> str:
        return "" if self._is_problem else self._data.decode("utf-8", "replace")

    @property
    def problem(self) -> str:
        return self._data.decode("utf-8", "replace") if self._is_problem else ""
