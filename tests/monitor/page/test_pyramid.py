"""The pyramid against sums that are made the slow way."""

import numpy as np

from scaler.monitor.page.pyramid import Pyramid, spread
from scaler.monitor.page.task_store import ROW, Rows

SECOND = 1_000_000_000
T0 = 1_800_000_000 * SECOND


def rows(*tasks: tuple[float, float, int, int]) -> Rows:
    """Tasks of (start, end, lane, function), in seconds from T0."""
    made: Rows = np.zeros(len(tasks), ROW)
    for i, (start, end, lane, function) in enumerate(tasks):
        made[i]["start_ns"], made[i]["end_ns"] = T0 + int(start * SECOND), T0 + int(end * SECOND)
        made[i]["lane"], made[i]["function"], made[i]["calls"] = lane, function, 1
    return made


def cells(pyramid: Pyramid, begin: float, end: float, columns: int, lanes: list[int], height: int | None = None):
    where = np.array(lanes, np.int64)
    return pyramid.cells(T0 + int(begin * SECOND), T0 + int(end * SECOND), columns, where, height or len(lanes))


def test_a_task_is_in_each_bucket_that_it_touches_for_as_long_as_it_does():
    pieces = spread(rows((0.5, 2.25, 3, 7)), SECOND, 0)
    assert (pieces.bucket - T0 // SECOND).tolist() == [0, 1, 2]
    assert (pieces.busy_ns / SECOND).round(6).tolist() == [0.5, 1.0, 0.25]
    assert pieces.ended.tolist() == [0, 0, 1]
    assert set(pieces.lane.tolist()) == {3}
    assert set(pieces.function.tolist()) == {7}


def test_a_cell_has_the_share_of_its_time_and_the_function_with_most_of_it():
    pyramid = Pyramid()
    pyramid.add(rows((0, 1.5, 0, 1), (1.5, 2.0, 0, 2), (2.0, 2.1, 1, 3)))
    shown = cells(pyramid, 0, 4, 4, [0, 1])
    assert np.allclose(shown.busy, np.array([[1, 1, 0, 0], [0, 0, 0.1, 0]]))
    assert shown.function[0, 0] == 1
    assert shown.function[0, 3] == shown.function[1, 0] == -1
    assert shown.function[1, 2] == 3
    assert shown.ended.sum() == 3


def test_every_level_has_the_same_sums(seed):
    random = np.random.default_rng(seed)
    pyramid = Pyramid()
    total_s = 0.0
    now = 0.0
    for _ in range(40):
        ends = np.sort(now + random.random(200))
        starts = ends - random.exponential(0.3, 200)
        where = random.integers(20, size=200).tolist(), random.integers(5, size=200).tolist()
        batch = rows(*zip(np.maximum(starts, 0.0).tolist(), ends.tolist(), *where, strict=True))
        total_s += float((batch["end_ns"] - batch["start_ns"]).sum()) / SECOND
        pyramid.add(batch)
        now += 1.0
    for columns in (1000, 300, 80, 48, 12):
        shown = cells(pyramid, 0, 48, columns, list(range(20)))
        busy_s = float(shown.busy.sum()) * 48 / columns
        assert abs(busy_s - total_s) < 0.06 * total_s, columns  # a column's edges are those of buckets
        if 48 / columns >= 0.25:
            assert shown.ended.sum() == 40 * 200


def test_a_task_that_is_longer_than_the_finest_ring_is_whole_in_the_coarser_ones():
    pyramid = Pyramid()
    pyramid.add(rows((0, 3000, 0, 1)))
    shown = cells(pyramid, 0, 3000, 10, [0])
    assert shown.busy.round(2).tolist() == [[1.0] * 10]


def test_many_workers_share_a_row_evenly():
    pyramid = Pyramid()
    pyramid.add(rows(*((0, 1, lane, 0) for lane in range(0, 100, 2))))
    shown = cells(pyramid, 0, 1, 1, list(range(100)), height=7)
    assert shown.busy.shape == (7, 1)
    assert np.allclose(shown.busy, 0.5, atol=0.05)


def test_what_is_older_than_a_ring_is_not_shown_as_something_else():
    pyramid = Pyramid()
    pyramid.add(rows((0, 1, 0, 1)))
    pyramid.add(rows((200_000, 200_001, 0, 1)))
    assert cells(pyramid, 0, 10, 10, [0]).busy.sum() == 0
    assert cells(pyramid, 199_999, 200_002, 3, [0]).busy.round(2).tolist() == [[0, 1, 0]]


def test_a_time_of_long_ago_or_of_the_future_breaks_nothing():
    pyramid = Pyramid()
    strange = rows((0, 1, 0, 1), (-1e6, 2, 1, 1))
    pyramid.add(strange)
    assert cells(pyramid, 1e8, 1e8 + 10, 10, [0, 1]).busy.sum() == 0
    assert cells(pyramid, 0, 2, 2, [1]).busy.round(2).tolist() == [[1, 1]]


def test_lanes_are_added_as_workers_come():
    pyramid = Pyramid(lanes=2)
    pyramid.add(rows((0, 1, 0, 1)))
    pyramid.add(rows((1, 2, 1500, 1)))
    assert cells(pyramid, 0, 2, 2, [0, 1500]).busy.round(2).tolist() == [[1, 0], [0, 1]]
