"""Every body there and back; frames of other versions; and bytes that are no frame, which raise FrameError only."""

import os
import random
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.protocol import codec, frames
from scaler.protocol.bounds import MOST_CHUNK_BYTES
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import (
    PROTOCOL_VERSION,
    UNNUMBERED,
    Acknowledge,
    Chunk,
    Clear,
    Frame,
    FrameError,
    Goodbye,
    Heartbeat,
    Hello,
    Joined,
    Left,
    Offer,
    Refusal,
    ShutdownAnswer,
    VersionError,
    Welcome,
)
from tests.effort import rounds

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PLACE = st.one_of(
    st.just(""),
    st.builds("{}:{}".format, st.sampled_from(("127.0.0.1", "a.example", "[::1]")), st.integers(1, 65535)),
)
SEAL = st.sampled_from([b"", bytes(range(32))])
KEY = st.binary(min_size=16, max_size=16)
IDENTITY = st.binary(min_size=1, max_size=64)
DATA = st.binary(max_size=60)


def columns(kind):
    return st.builds(kind, *[DATA] * len(kind._fields))


BODIES = st.one_of(
    st.builds(Acknowledge),
    st.builds(
        Hello,
        role=st.just(0),
        python_major=st.integers(0, 255),
        python_minor=st.integers(0, 255),
        identity=IDENTITY,
        client_bits=st.integers(0, 2**24 - 1),
        session=KEY,
        received=U64,
        epoch=U64,
        pid=U32,
        uid=U32,
        host_name=TEXT,
        cluster_name=TEXT,
        worker_names=st.lists(TEXT, max_size=3).map(tuple),
        minor=st.integers(0, 65535),
    ),
    st.builds(
        Welcome,
        epoch=st.integers(1, 2**64 - 1),
        session=KEY,
        resumed=st.just(True),
        received=U64,
        local_address=st.text("abc/-", max_size=107),
        heartbeat_ms=st.integers(1, 2**32 - 1),
        monitor=TEXT,
        objects_port=st.integers(0, 65535),
        objects_number=U32,
        objects_key=SEAL,
        minor=st.integers(0, 65535),
    ),
    st.builds(Refusal, TEXT.filter(bool), st.booleans()),
    st.builds(frames.Goodbye, TEXT),
    st.builds(Heartbeat, U64),
    st.builds(frames.Joined, U32, TEXT, U32, st.booleans(), U64, U64),
    st.builds(frames.Left, U32, st.integers(-(2**31), 2**31 - 1), TEXT, DATA, DATA),
    st.builds(frames.Leaving, DATA),
    st.builds(frames.Demand, U64, U64, U32, U32, DATA, DATA, st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(Clear),
    st.builds(frames.Shutdown),
    st.builds(frames.ShutdownAnswer, TEXT),
    st.builds(frames.Unable, TEXT),
    st.builds(frames.Alarm, TEXT),
    st.builds(frames.Workers, st.integers(0, 2**32 - 1)),
    st.builds(frames.Offer, U64, st.integers(1, 2**40), KEY, PLACE, KEY, SEAL),
    st.builds(frames.Fetched, U64, st.booleans()),
    st.builds(frames.Question, U32, st.integers(0, 255), U64, U32, U64),
    st.builds(frames.Answer, U32, TEXT, TEXT),
    st.builds(frames.Output, st.integers(0, 2**24 - 1), DATA),
    st.builds(frames.Serves, KEY, PLACE, SEAL),
    st.builds(
        lambda number, offset, rest, data: Chunk(number, offset, offset + len(data) + rest, data),
        U64,
        st.integers(0, 2**38),
        st.integers(0, 2**38),
        st.binary(min_size=1, max_size=60),
    ),
    *map(
        columns,
        (
            frames.Tasks,
            frames.Results,
            frames.Functions,
            frames.Forget,
            frames.Cancel,
            frames.Withdraw,
            frames.Release,
            frames.Freed,
            frames.Taken,
            frames.Withdrawn,
        ),
    ),
)
FRAMES = st.builds(
    lambda body, number, acknowledged: Frame(body, 0 if type(body) in UNNUMBERED else number, acknowledged),
    BODIES,
    st.integers(1, 2**64 - 1),
    U64,
)
HELLO = Hello(identity=b"one", session=b"s" * 16)
KIND_OFFSET = 24
WELCOME = Welcome(epoch=1, session=b"s" * 16, heartbeat_ms=2000)


def header_offset(data):
    """Where the root struct's data begins: behind the table of segments and the root pointer, in these small frames."""
    assert struct.unpack_from("<I", data)[0] == 0
    return 16


@given(FRAMES)
@settings(max_examples=rounds(400))
def test_a_frame_is_decoded_as_it_was_encoded(frame):
    for data in (encode(frame), memoryview(b"1" + encode(frame))[1:]):
        decoded = decode(data)
        assert decoded == frame
        assert type(decoded.body) is type(frame.body)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (
            Frame(Clear(), 1, 2),
            "0000000006000000 0000000004000100 4c41435302000000 0100000000000000 0200000000000000 0f00000000000000"
            "0000000000000000",
        ),
        (
            Frame(frames.Cancel.of([(0, 0xABCDEF << 40 | 7, 0)]), 3, 4),
            "000000000a000000 0000000004000100 4c41435302000000 0300000000000000 0400000000000000 0900000000000000"
            "0000000000000300 0000000000000000 0500000042000000 0000000000000000 0700000000efcdab",
        ),
    ],
)
def test_these_bytes_mean_this_for_as_long_as_the_version_is_2(frame, words):
    assert encode(frame) == bytes.fromhex(words)
    assert decode(bytes.fromhex(words)) == frame


def test_every_body_has_a_member():
    assert set(codec._BODIES.values()) == set(frames.Body.__args__)


def test_a_frame_of_many_segments_is_read():
    frame = Frame(frames.Functions(digests=bytes(16), ends=b"12345678" * 3000, payload=b"x" * 200_000), 1)
    assert struct.unpack_from("<I", encode(frame))[0] > 0
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize("version", [0, 1, 3, 2**32 - 1])
def test_a_frame_of_another_version_is_refused_with_a_sentence(version):
    data = bytearray(encode(Frame(HELLO)))
    struct.pack_into("<I", data, header_offset(data) + 4, version)
    with pytest.raises(VersionError, match=f"version {version} of .*version 2: install the same version"):
        decode(bytes(data))


@pytest.mark.parametrize("words", [1, 2, 40])
def test_a_version_whose_frames_look_otherwise_is_named_all_the_same(words):
    """Only the first word of the root is promised: here the rest is missing, or larger than now, and all ones."""
    body = struct.pack("<II", codec._MAGIC, 9) + b"\xff" * 8 * (words - 1)
    data = struct.pack("<II", 0, words + 1) + struct.pack("<IHH", 0, words, 0) + body
    with pytest.raises(VersionError, match="version 9"):
        decode(data)


def test_something_that_is_no_frame_of_ours_says_so():
    data = bytearray(encode(Frame(HELLO)))
    data[header_offset(data)] ^= 1
    with pytest.raises(FrameError, match="not a frame of Scaler's protocol"):
        decode(bytes(data))


def test_a_kind_that_is_not_known_is_refused():
    data = bytearray(encode(Frame(Clear(), 1)))
    struct.pack_into("<H", data, header_offset(data) + KIND_OFFSET, 1000)
    with pytest.raises(FrameError, match="a kind that version 2 of the protocol does not have"):
        decode(bytes(data))


@pytest.mark.parametrize("frame", [Frame(Acknowledge(), 1), Frame(HELLO, 3), Frame(Clear(), 0)])
def test_a_number_where_none_belongs_is_refused(frame):
    with pytest.raises(FrameError, match=r"number \d on a frame of the kind"):
        decode(encode(frame))


def test_a_frame_over_the_limit_is_not_looked_at():
    data = encode(Frame(HELLO))
    assert decode(data, len(data)).body == HELLO
    with pytest.raises(FrameError, match="at most"):
        decode(data, len(data) - 1)


@pytest.mark.parametrize("data", [b"", b"hello", bytes(8), bytes(17), b"\xff" * 16, b"\xff" * 4096])
def test_bytes_that_no_message_has_are_refused(data):
    with pytest.raises(FrameError):
        decode(data)


def test_a_pointer_followed_many_times_is_not_copied_many_times():
    """A list whose thousand items all point to the same megabyte would be a gigabyte."""
    count, text_words = 1000, 1 << 17
    data = bytearray(encode(Frame(replace(HELLO, worker_names=("#" * 15,) * count))))
    first = data.index(b"#" * 15 + b"\0") // 8
    table = first - count
    data += b"#" * 8 * text_words
    target = len(data) // 8 - text_words
    for i in range(count):
        offset = target - (table + i + 1)
        struct.pack_into("<II", data, (table + i) * 8, offset << 2 | 1, (text_words * 8) << 3 | 2)
    data[-1] = 0
    struct.pack_into("<I", data, 4, len(data) // 8 - 1)
    with pytest.raises(FrameError, match="not a well-formed frame"):
        decode(bytes(data))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (replace(HELLO, role=2), "role 2"),
        (replace(HELLO, client_bits=1 << 24), "client bits"),
        (replace(HELLO, role=1, client_bits=1), "client bits"),
        (replace(HELLO, identity=b""), "identity has 1 to 64 bytes, not 0"),
        (replace(HELLO, identity=b"x" * 65), "identity has 1 to 64 bytes, not 65"),
        (replace(HELLO, session=b"short"), "token has 16 bytes, not 5"),
        (replace(HELLO, session=b"", received=1), "no session is named"),
        (replace(HELLO, host_name="x" * 4097), "a text has more"),
        (replace(HELLO, worker_names=("x" * 4097,)), "a text has more"),
        (replace(WELCOME, session=b""), "token has 16 bytes"),
        (replace(WELCOME, received=1), "session that is new"),
        (replace(WELCOME, epoch=0), "are not 0"),
        (replace(WELCOME, heartbeat_ms=0), "are not 0"),
        (replace(WELCOME, local_address="x" * 108), "AF_UNIX"),
        (replace(WELCOME, monitor="x" * 4097), "a text has more"),
        (Refusal(), "gives no reason"),
        (Chunk(1, 0, 10, b""), "1 to"),
        (Chunk(1, 0, 1 << 30, bytes(MOST_CHUNK_BYTES + 1)), "1 to"),
        (Chunk(1, 8, 10, b"abc"), "bytes 8 to 11 of 10"),
        (Chunk(1, 2**40 - 1, 2**40, b"abc"), "of 1099511627776"),
        (Chunk(1, 0, 2**40 + 1, b"abc"), "more than an object may have"),
        (Offer(1, 2**40 + 1), "an object of"),
        (Offer(1, 0), "an object of"),
        (Offer(1, 1, source_key=bytes(31)), "a key has 32 bytes"),
        (replace(WELCOME, objects_key=bytes(16)), "has 32 bytes, not 16"),
        (frames.Serves(bytes(16), seal=bytes(33)), "a seal has 32 bytes"),
        (Refusal("x" * 4097), "a text has more"),
        (Goodbye("x" * 4097), "a text has more"),
        (ShutdownAnswer("x" * 4097), "a text has more"),
        (Joined(1, "x" * 4097), "a text has more"),
        (Left(1, 0, "x" * 262_145), "told of a death"),
    ],
)
def test_what_cannot_be_is_refused(body, words):
    with pytest.raises(FrameError, match=words):
        decode(encode(Frame(body, 0 if type(body) in UNNUMBERED else 1)))


@given(FRAMES, st.data())
@settings(max_examples=rounds(300))
def test_a_damaged_frame_raises_only_frame_error(frame, data):
    whole = encode(frame)
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), min_size=1, max_size=5)):
        damaged[place // 8] ^= 1 << place % 8
    cut = data.draw(st.integers(0, len(whole)))
    for candidate in (bytes(damaged), whole[:cut], whole[: cut // 8 * 8], whole + whole[:cut]):
        try:
            decode(candidate)
        except FrameError:
            pass


FUZZ = """
import random, sys
sys.path.insert(0, sys.argv[1])
from tests.protocol.test_codec import damage_frames
damage_frames(int(sys.argv[2]), 30_000)
"""


def damage_frames(seed, count):
    """Words of frames overwritten by pointers, by each other and by noise. In a process of its own: C++ may abort."""
    rng = random.Random(seed)
    bodies: list[frames.Body] = [
        replace(HELLO, worker_names=("one", "two")),
        WELCOME,
        Heartbeat(1),
        frames.Tasks(*[b"12345678" * 3] * 11),
        frames.Results(*[b"12345678" * 3] * 13),
        Chunk(1, 0, 100, bytes(100)),
        frames.Left(1, -9, "killed"),
    ]
    whole = [encode(Frame(body, 0 if type(body) in UNNUMBERED else 9)) for body in bodies]
    for _ in range(count):
        damaged = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 3)):
            word = rng.randrange(len(damaged) // 8) * 8
            other = rng.randrange(len(damaged) // 8) * 8
            pointer = rng.randrange(4) | rng.randrange(-20, 20) << 2 & 0xFFFFFFFC
            sizes = rng.choice([*range(8), rng.getrandbits(32)])
            damaged[word : word + 8] = rng.choice(
                [rng.randbytes(8), bytes(damaged[other : other + 8]), struct.pack("<II", pointer, sizes)]
            )
        try:
            decode(bytes(damaged))
        except FrameError:
            pass


def test_damaged_pointers_never_end_the_process(seed):
    root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    done = subprocess.run([sys.executable, "-c", FUZZ, root, str(seed)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"


def test_the_schema_and_the_values_are_of_one_version():
    assert codec._schema.version == PROTOCOL_VERSION


def test_importing_the_codec_leaves_imports_alone():
    assert not [finder for finder in sys.meta_path if "capnp" in type(finder).__module__]
