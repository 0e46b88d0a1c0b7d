"""What tasks write, in whole lines: taken apart, counted and bounded; bytes and a clock in, lines out."""

import os
import random
import re

from scaler.cluster.output_forwarder import (
    BURST_BYTES,
    LONG_LINE_BYTES,
    MARK,
    MOST_BYTES_S,
    Lines,
    OutputForwarder,
    Share,
)
from tests.processes import open_descriptors, wait_until

TOKEN = "00112233"


def mark(task, name):
    return MARK + TOKEN.encode() + b" %d %x %s\n" % (task, task, name)


def whole(data, pieces=1):
    """What comes out, however the bytes are cut."""
    lines = Lines("w-1", TOKEN)
    cuts = sorted(random.Random(pieces).sample(range(len(data) + 1), min(pieces - 1, len(data) + 1)))
    parts = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return b"".join(lines.feed(part) for part in parts) + lines.end()


def test_each_line_says_which_task_of_which_function_on_which_worker_has_written_it():
    data = mark(0x10, b"square") + b"one\ntwo\n" + mark(0x11, b"cube") + b"three\n"
    expected = b"(square 0x10 w-1) one\n(square 0x10 w-1) two\n(cube 0x11 w-1) three\n"
    assert whole(data) == expected
    for pieces in range(2, 40):
        assert whole(data, pieces) == expected


def test_a_line_without_an_end_is_ended_by_the_next_task_or_the_end():
    data = mark(1, b"f") + b"no end" + mark(2, b"g") + b"neither"
    for pieces in range(1, 30):
        assert whole(data, pieces) == b"(f 0x1 w-1) no end\n(g 0x2 w-1) neither\n"


def test_equal_lines_and_empty_ones_are_all_there():
    assert whole(mark(1, b"f") + b"x\n" * 5 + b"\n\n") == b"(f 0x1 w-1) x\n" * 5 + b"(f 0x1 w-1) \n" * 2


def test_what_looks_like_another_pipes_mark_is_text():
    other = MARK + b"ffffffff 1 1 f\n"
    assert whole(mark(1, b"f") + other) == b"(f 0x1 w-1) " + other


def test_a_line_that_never_ends_is_not_kept_for_ever():
    lines = Lines("w-1", TOKEN)
    lines.feed(mark(1, b"f"))
    out = b"".join(lines.feed(b"x" * 1000) for _ in range(100))
    assert out.count(b"x") > 100_000 - LONG_LINE_BYTES - 2000
    assert all(len(line) < LONG_LINE_BYTES + 2000 for line in out.splitlines())


def received_and_stated(text):
    stated = sum(int(count) for count in re.findall(rb"\(scaler: (\d+) lines are left out", text))
    return text.count(b"\n(f ") + text.startswith(b"(f "), stated


def test_what_is_beyond_a_clients_share_is_counted_and_said():
    share, line, now_s, out = Share("host", 0.0), b"(f 0x1 w-1) 0123456789\n", 0.0, b""
    for _ in range(300):
        share.add(line * 1000, now_s)
        out += share.take(now_s)
        now_s += 0.01
    out += share.take(now_s, is_last=True)
    received, stated = received_and_stated(out)
    assert received + stated == 300_000
    assert stated > 0
    assert received * len(line) <= BURST_BYTES + MOST_BYTES_S * now_s + 1000 * len(line)


def test_a_quiet_client_loses_nothing():
    share, line, now_s, out = Share("host", 0.0), b"(f 0x1 w-1) 0123456789\n", 0.0, b""
    for _ in range(300):
        share.add(line * 100, now_s)
        out += share.take(now_s)
        now_s += 0.01
    assert received_and_stated(out + share.take(now_s, is_last=True)) == (30_000, 0)


def test_what_was_written_is_read_though_the_writer_has_gone_and_nothing_stays_open():
    before = len(open_descriptors())
    news = []
    outputs = OutputForwarder("host", lambda: news.append(1))
    outputs.close()  # it was never used
    outputs = OutputForwarder("host", lambda: news.append(1))
    reader, writer = os.pipe()
    outputs.add(reader, 7, "w-1", TOKEN)
    os.write(writer, mark(1, b"f") + b"last words")
    os.close(writer)
    wait_until(lambda: news)
    assert outputs.take() == [(7, b"(f 0x1 w-1) last words\n")]
    reader, writer = os.pipe()
    outputs.add(reader, 7, "w-1", TOKEN)
    os.write(writer, mark(2, b"f") + b"more\n")
    outputs.flush(7)
    assert outputs.take() == [(7, b"(f 0x2 w-1) more\n")]
    assert outputs.last_of("w-1") == "more\n"
    assert outputs.last_of("w-2") == ""
    os.close(writer)
    outputs.close()
    assert len(open_descriptors()) == before
