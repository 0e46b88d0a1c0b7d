"""Traces, read again by a decoder that knows nothing of how they are written."""

import json
import random
import struct
from itertools import pairwise

import pytest

from scaler.monitor.events import Event, write_events
from scaler.monitor.trace import Recorded, encode, encode_json, write

MS = 1_000_000


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data):
    """{number: [values]}: numbers as they are, texts and messages as bytes."""
    at, found = 0, {}
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
            assert len(value) == size
        else:
            raise AssertionError(f"wire type {key & 7}")
        found.setdefault(key >> 3, []).append(value)
    return found


def read(data):
    """(tracks by uuid, {track: [(begin, end, name, queued_us)]}, {track: [(time, value)]}) as a viewer makes them."""
    tracks, slices, counters, sequences = {}, {}, {}, {}
    for packet in map(fields, fields(data)[1]):
        if 60 in packet:
            about = fields(packet[60][0])
            tracks[about[1][0]] = about.get(2, [b""])[0].decode()
            continue
        known = sequences.setdefault(packet[10][0], {"names": {}, "notes": {}, "now": None, "open": []})
        if 59 in packet:
            defaults = fields(packet[59][0])
            assert defaults[58] == [64]
            known["track"] = fields(defaults[11][0])[11][0]
        if 6 in packet:
            clocks = [fields(clock) for clock in fields(packet[6][0])[1]]
            assert [clock[1][0] for clock in clocks] == [64, 3]
            known["now"] = clocks[1][2][0]
        if 12 in packet:
            for number, where in ((2, "names"), (3, "notes")):
                for one in map(fields, fields(packet[12][0]).get(number, [])):
                    known[where][one[1][0]] = one[2][0].decode()
        if 11 not in packet:
            continue
        known["now"] += packet[8][0]
        event = fields(packet[11][0])
        if event[9] == [1]:
            notes = {known["notes"][one[1][0]]: one[3][0] for one in map(fields, event.get(4, []))}
            known["open"].append((known["now"], known["names"][event[10][0]], notes.get("queued_us")))
        elif event[9] == [2]:
            begin, name, queued = known["open"].pop()
            slices.setdefault(known["track"], []).append((begin, known["now"], name, queued))
        else:
            counters.setdefault(known["track"], []).append((known["now"], event[30][0]))
    assert not any(known["open"] for known in sequences.values())
    return tracks, slices, counters


def trace_of(*events, functions=None, workers=None):
    pieces, count = encode(Recorded(write_events(events), functions or {}, workers or {}))
    data = b"".join(pieces)
    return *read(data), count()


def test_a_task_is_a_slice_on_its_workers_lane():
    event = Event(1, 10 * MS, 0.004, 0.002, 3, 7, 0, 1)
    tracks, slices, _, count = trace_of(event, functions={3: "work"}, workers={7: "alpha-7"})
    assert count == 1
    ((track, found),) = slices.items()
    assert tracks[track] == "alpha-7"
    queued, ran = found
    assert ran[2] == "work"
    assert ran[:2] == (pytest.approx(6 * MS, abs=1000), pytest.approx(10 * MS, abs=1000))
    assert ran[3] == pytest.approx(2000, abs=2)
    assert queued[:3] == (pytest.approx(4 * MS, abs=1000), ran[0], "queued")


def test_what_was_read_together_is_laid_out_one_after_the_other():
    events = [Event(number, 10 * MS, 0.001, 0.0, 1, 1, 0, 1) for number in range(5)]
    _, slices, _, _ = trace_of(*events)
    (found,) = slices.values()
    assert [end - begin for begin, end, _, _ in found] == [pytest.approx(MS, abs=200)] * 5
    for one, other in pairwise(found):
        assert one[1] <= other[0]


def test_failed_tasks_have_names_of_their_own_and_those_that_nobody_ran_are_left_out():
    events = [Event(1, MS, 0.0001, 0, 1, 1, 1, 1), Event(2, MS, 0, 0, 1, 0, 2, 1)]
    _, slices, _, count = trace_of(*events, functions={1: "f"})
    assert count == 1
    assert [one[2] for one in next(iter(slices.values()))] == ["f [not succeeded]"]


def test_every_event_of_many_is_there_once_and_no_two_overlap():
    draw = random.Random(7)
    now, events = 1000 * MS, []
    for number in range(100_000):
        now += draw.randrange(20_000)
        events.append(
            Event(
                number, now, draw.random() / 1000, draw.random() / 100, draw.randrange(50), draw.randrange(1, 30), 0, 1
            )
        )
    tracks, slices, counters, count = trace_of(*events)
    assert count == len(events)
    ran = [one for found in slices.values() for one in found if one[2] != "queued"]
    assert len(ran) == len(events)
    for found in slices.values():
        for one, other in pairwise(found):
            assert one[0] <= one[1] <= other[0]
    ((track, points),) = counters.items()
    assert tracks[track] == "tasks that could run"
    assert len(points) > 100


def test_events_that_cannot_be_make_a_trace_all_the_same():
    draw = random.Random(3)
    data = draw.randbytes(32 * 1000)
    pieces, count = encode(Recorded(data))
    read(b"".join(pieces))
    assert 0 <= count() <= 1000
    for value in (float("nan"), float("inf"), -1.0, 1e30):
        pieces, _ = encode(Recorded(struct.pack("<QQffIHBB", 1, 5, value, value, 1, 1, 0, 1)))
        read(b"".join(pieces))


def test_an_empty_trace_is_a_trace():
    assert trace_of()[1:] == ({}, {}, 0)


def test_the_suffix_json_makes_the_older_format(tmp_path):
    events = write_events([Event(1, 10 * MS, 0.004, 0.002, 3, 7, 0, 2)])
    recorded = Recorded(events, {3: "work"}, {7: "alpha-7"})
    assert write(recorded, tmp_path / "trace.json") == 1
    read_again = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    (task,) = [one for one in read_again if one["ph"] == "X"]
    assert (task["name"], task["tid"], task["cat"], task["args"]["calls"]) == ("work", 7, "succeeded", 2)
    assert task["dur"] == pytest.approx(4000, rel=1e-5)
    assert b"".join(encode_json(recorded)[0]).endswith(b"]}\n")
