"""What a frame may have at most: said once for its writer and its reader.

A reader ends the session of a peer that sends it more than this. So a writer that passes on what another process has
said (a worker's name, an error) makes it fit before it goes out.

Rule 1: `find_error` and the `rows` of frames refuse what is over a bound, writers cut by the same bound.
Not here: what one record may be (native/records/bounds.pyx, whose names are these), what is told of deaths
(scaler.values.death_facts).
"""

from collections.abc import Iterator
from typing import TypeVar

from scaler._native import (
    DIGEST_BYTES,
    FUNCTION_FLAGS,
    MOST_FUNCTION_BYTES,
    MOST_FUNCTION_NAME_BYTES,
    MOST_PAYLOAD_BYTES,
    MOST_REQUEST_BYTES,
)

__all__ = [
    "DIGEST_BYTES",
    "FUNCTION_FLAGS",
    "MOST_FUNCTION_BYTES",
    "MOST_FUNCTION_NAME_BYTES",
    "MOST_PAYLOAD_BYTES",
    "MOST_REQUEST_BYTES",
]

FRAME_LIMIT_BYTES = 4 << 20  # reading one takes a few milliseconds, and what it asks for is done in slices
# Of a message of ZeroMQ's. A peer that is over the limit of a frame by a little is told so, one over this is cut off.
MOST_MESSAGE_BYTES = FRAME_LIMIT_BYTES + (64 << 10)
HELLO_LIMIT_BYTES = 256 << 10  # for the first frame of a session, which anybody may send
CHUNK_BYTES = 128 << 10  # to send; larger ones cost ten times as much per byte (codec.encode)
MOST_CHUNK_BYTES = 1 << 20  # to accept
MOST_OBJECT_BYTES = 1 << 40
MOST_IDENTITY_BYTES = 64
SESSION_BYTES = 16
TOKEN_BYTES = 16
SEAL_BYTES = 32  # keys of sealed connections
VOUCHER_BYTES = 16
MOST_ADDRESS_BYTES = 107  # of an AF_UNIX socket
MOST_TEXT_LENGTH = 4096
MOST_OUTPUT_BYTES = 1 << 16  # of text that tasks have written, in one frame
MOST_ANSWER_LENGTH = 1 << 16  # of a question about a task
MOST_RESOURCES_LENGTH = 4096  # of what a worker says that it has
MOST_CLAIMED = 4096  # tasks that a worker had begun and not answered when it left
MOST_FACTS_LENGTH = 1 << 18  # of what is told of a worker's death, before it is cut
ROWS_AT_ONCE = 16_384  # of ids in one frame, to send: so that it is no large one

_Row = TypeVar("_Row")


def parts_of(rows: list[_Row], most: int = ROWS_AT_ONCE) -> Iterator[list[_Row]]:
    """The rows as so many frames have room for them, in order."""
    return (rows[at : at + most] for at in range(0, len(rows), most))


def plain_text(text: str, most: int = MOST_TEXT_LENGTH) -> str:
    """The text as a frame may carry it: no longer than this, and without what UTF-8 has no bytes for."""
    return text[:most].encode(errors="replace").decode()
