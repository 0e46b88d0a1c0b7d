"""Bodies about what a client's tasks do and write just now.

The same file of the schema is protocol/question.capnp; each class has the field names of a struct there. `find_error`
says what cannot be, as far as that needs no knowledge of the session.

Not here: the other bodies (session, batch, object), Cap'n Proto (codec), the same in a host's own rings
(scaler.protocol.questions).
"""

from dataclasses import dataclass

from scaler.protocol.bounds import MOST_ANSWER_LENGTH, MOST_OUTPUT_BYTES
from scaler.protocol.frames.session import CLIENT_BITS, long_text

TASK_NUMBER_BITS = 40  # of a task's id; its client's stand above


@dataclass(frozen=True, slots=True)
class Question:
    """What a client wants to know of its tasks; to a cluster, of what this worker runs."""

    number: int = 0
    what: int = 0
    task: int = 0
    peer: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to that, or why there is none."""

    number: int = 0
    text: str = ""
    problem: str = ""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if len(self.text) > MOST_ANSWER_LENGTH:
            return f"answer: a text of more than {MOST_ANSWER_LENGTH} characters"
        return long_text("answer", self.problem)


@dataclass(frozen=True, slots=True)
class Output:
    """Whole lines that tasks of this client have written."""

    client: int = 0
    text: bytes = b""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        if self.client >> CLIENT_BITS:
            return f"output: {self.client:#x} are not {CLIENT_BITS} bits of a client"
        if len(self.text) > MOST_OUTPUT_BYTES:
            return f"output: {len(self.text)} bytes, and it has at most {MOST_OUTPUT_BYTES}"
        return None


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that people who look at the scheduler are to hear: why a worker was killed."""

    reason: str = ""

    def find_error(self) -> str | None:
        """What is wrong with it, as a sentence, or None."""
        return long_text("alarm", self.reason)
