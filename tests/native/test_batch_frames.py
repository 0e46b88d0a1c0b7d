"""Frames of batches, natively and by pycapnp: the same bytes, the same values, and never another verdict."""

import os
import random
import struct
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaler._native import decode_batch, encode_batch
from scaler.protocol.codec import by_schema_decode, by_schema_encode, decode, encode
from scaler.protocol.frames import Clear, Frame, FrameError, Results, Tasks
from tests.effort import rounds

TASKS, RESULTS = 6, 7
KINDS = {TASKS: Tasks, RESULTS: Results}
WORD = 8
MEMBER_AT, BODY_POINTER_AT, COLUMNS_AT = 5 * WORD, 6 * WORD, 7 * WORD

DATA = st.one_of(st.just(b""), st.binary(max_size=40))
NUMBER, ACKNOWLEDGED = st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1)
BATCHES = st.one_of(
    *(st.builds(kind, *[DATA] * len(kind._fields)).map(tuple).map(kind._make) for kind in (Tasks, Results))
)
FRAMES = st.builds(Frame, BATCHES, NUMBER, ACKNOWLEDGED)


def verdict(read, data):
    """What a frame is taken for: its values with their types, or that it is refused. Anything else is raised on."""
    try:
        frame = read(data)
    except FrameError:
        return "refused"
    return type(frame.body), frame


def assert_same_verdict(data):
    natively = decode_batch(data)
    by_schema = verdict(by_schema_decode, data) if len(data) >= 16 and len(data) % 8 == 0 else "refused"
    assert verdict(decode, data) == by_schema
    if natively is not None:
        member, number, acknowledged, columns = natively
        assert (KINDS[member], Frame(KINDS[member](*columns), number, acknowledged)) == by_schema


def full(kind):
    """A frame with something in every column."""
    return Frame(kind(*(bytes([i + 1]) * (i + 5) for i in range(len(kind._fields)))), 3, 4)


@given(FRAMES)
@settings(max_examples=rounds(400))
def test_the_bytes_are_those_of_pycapnp(frame):
    data = encode(frame)
    assert data == by_schema_encode(frame)
    assert data == encode_batch(TASKS if type(frame.body) is Tasks else RESULTS, frame.body, *frame[1:])


@given(FRAMES)
@settings(max_examples=rounds(400))
def test_each_reads_what_the_other_writes(frame):
    for data in (encode(frame), by_schema_encode(frame)):
        assert decode_batch(data) is not None
        assert decode(data) == by_schema_decode(data) == frame
        assert type(decode(data).body) is type(frame.body)


@pytest.mark.parametrize("payload_bytes", [100_000, 1 << 20])
def test_a_large_frame_is_one_segment_that_pycapnp_reads(payload_bytes):
    frame = Frame(Results(tasks=b"12345678" * 3000, payload=os.urandom(payload_bytes)), 1)
    data = encode(frame)
    assert struct.unpack_from("<I", data)[0] == 0
    assert decode(data) == by_schema_decode(data) == frame


def test_a_frame_of_many_segments_is_left_to_pycapnp():
    frame = Frame(Tasks(tasks=b"12345678" * 3000, payload=b"x" * 200_000), 1)
    data = by_schema_encode(frame)
    assert struct.unpack_from("<I", data)[0] > 0
    assert decode_batch(data) is None
    assert decode(data) == frame


def test_what_is_no_batch_is_left_to_pycapnp():
    assert decode_batch(encode(Frame(Clear(), 1))) is None
    assert encode_batch(8, (b"",) * 6, 1, 0) is None
    assert encode_batch(TASKS, (b"",) * 8, 1, 0) is None
    assert encode_batch(TASKS, [b""] * 9, 1, 0) is None  # type: ignore[arg-type]
    assert encode_batch(TASKS, (b"",) * 8 + (bytearray(1),), 1, 0) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Tasks, Results])
def test_columns_in_another_order_with_gaps_or_shared_are_left_to_pycapnp_or_read_the_same(kind):
    whole = encode(full(kind))
    n = len(kind._fields)
    at = [COLUMNS_AT + i * WORD for i in range(n)]

    def moved(changes, more=b""):
        """The frame with columns (start word, bytes) elsewhere."""
        data = bytearray(whole + more)
        struct.pack_into("<I", data, 4, len(data) // WORD - 1)
        for i, (start, size) in changes.items():
            struct.pack_into("<II", data, at[i], (start - at[i] // WORD - 1) << 2 & 0xFFFFFFFF | 1, size << 3 | 2)
        return bytes(data)

    end, first = len(whole) // WORD, COLUMNS_AT // WORD + n
    swapped = moved({0: (end, 8), 1: (first, 5)}, b"ABCDEFGH")
    assert decode_batch(swapped) is None
    body = decode(swapped).body
    assert isinstance(body, kind)
    assert body[0] == b"ABCDEFGH"
    with_a_gap = moved({n - 1: (end + 1, 9)}, b"ABCDEFGH" * 3)
    assert decode_batch(with_a_gap) is not None
    assert decode(with_a_gap) == by_schema_decode(with_a_gap)
    for changes in ({1: (first, 5)}, {0: (0, 5)}, {0: (1, 5)}, {n - 1: (end, 1)}, {n - 1: (end, 0)}, {0: (first, 0)}):
        assert_same_verdict(moved(changes))


@pytest.mark.parametrize("kind", [Tasks, Results])
def test_every_truncation_is_judged_as_by_pycapnp(kind):
    whole = encode(full(kind))
    for size in range(len(whole)):
        assert_same_verdict(whole[:size])
        if size % WORD == 0 and size >= 16:  # as long as the table says, but less than the pointers say
            assert_same_verdict(struct.pack("<II", 0, size // WORD - 1) + whole[8:size])
    for more in (1, 7, 8, 16):
        assert_same_verdict(whole + bytes(more))


@pytest.mark.parametrize("kind", [Tasks, Results])
def test_every_flipped_bit_is_judged_as_by_pycapnp(kind):
    whole = encode(full(kind))
    for place in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        assert_same_verdict(bytes(damaged))


@given(FRAMES, st.data())
@example(full(Tasks), None)
@settings(max_examples=rounds(300))
def test_random_damage_is_judged_as_by_pycapnp(frame, data):
    damaged = bytearray(encode(frame))
    places = [] if data is None else data.draw(st.lists(st.integers(0, len(damaged) * 8 - 1), max_size=5))
    for place in places:
        damaged[place // 8] ^= 1 << place % 8
    assert_same_verdict(bytes(damaged))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 1),  # another segment
        (1 * WORD, 1 << 2),  # the root elsewhere
        (1 * WORD + 4, 3),  # the frame of an older, shorter kind
        (1 * WORD + 4, 5 | 1 << 16),  # and of a longer one
        (MEMBER_AT, 8),
        (BODY_POINTER_AT, 0),
        (BODY_POINTER_AT + 4, 1),
        (BODY_POINTER_AT + 4, 2 << 16),  # fewer columns than are known here
        (BODY_POINTER_AT + 4, 14 << 16),  # and more
        (COLUMNS_AT, 0xFFFFFFFC | 1),  # a column before its pointer
        (COLUMNS_AT, 0xFFFFFFFD),
        (COLUMNS_AT, 0x7FFFFFFD),
        (COLUMNS_AT + 4, 0xFFFFFFFA),  # half a billion bytes
        (COLUMNS_AT + 4, 3),  # a list of another kind
        (COLUMNS_AT, 2),  # a pointer into another segment
        (COLUMNS_AT, 3),
    ],
)
def test_other_layouts_are_judged_as_by_pycapnp(at, value):
    for kind in (Tasks, Results):
        data = bytearray(encode(full(kind)))
        struct.pack_into("<I", data, at, value)
        assert_same_verdict(bytes(data))


FUZZ = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/native"]
from test_batch_frames import damage_words
damage_words(int(sys.argv[2]), 30_000)
"""


def damage_words(seed, count):
    """Words overwritten by pointers, by each other and by noise, in frames of every length."""
    rng = random.Random(seed)
    whole = [encode(full(kind)) for kind in (Tasks, Results)] + [encode(Frame(Tasks(tasks=bytes(8)), 1))]
    for _ in range(count):
        damaged = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 3)):
            word = rng.randrange(len(damaged) // WORD) * WORD
            other = rng.randrange(len(damaged) // WORD) * WORD
            pointer = rng.randrange(4) | rng.randrange(-20, 20) << 2 & 0xFFFFFFFC
            sizes = rng.choice([*range(8), rng.randrange(64) << 3 | 2, rng.getrandbits(32)])
            damaged[word : word + WORD] = rng.choice(
                [rng.randbytes(8), bytes(damaged[other : other + WORD]), struct.pack("<II", pointer, sizes)]
            )
        if rng.random() < 0.3:
            damaged = damaged[: rng.randrange(2, len(damaged) // WORD + 1) * WORD]
            struct.pack_into("<II", damaged, 0, 0, len(damaged) // WORD - 1)
        assert_same_verdict(bytes(damaged))


def test_damaged_words_are_judged_as_by_pycapnp(seed):
    """In a process of its own: a read out of bounds may end it."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run([sys.executable, "-c", FUZZ, root, str(seed)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
