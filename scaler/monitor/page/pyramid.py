"""Pyramid: how busy each worker was, with what, in buckets of time of several widths.

A window with more than some thousand tasks is not drawn task by task: nobody sees them, and it is what kills browsers.
The page gets one cell for each pixel instead, which says how large a share of its time was busy, which function had
most of it, how many tasks ended there, and how many of them failed. So that a window of a second and one of a
day cost the same, the cells are added up when tasks come, in levels of ever wider buckets, each a ring.

A task's time is spread over all buckets that it touches. Each level is made from what came on the level below it, so
the coarse ones cost next to nothing.

Rule 1: a bucket of a lane may be busy for longer than it is: a task that runs another in place counts as both.
Rule 2: memory is bounded: LEVELS times `lanes` cells, and pages that nothing was ever written to are not taken.
Not here: single tasks (task_store), who asks for which window (stream_view).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scaler.monitor.page.task_store import Rows

WIDTHS_NS = tuple(int(seconds * 1e9) for seconds in (0.05, 0.25, 1.0, 5.0, 30.0))
BUCKETS = 1300  # of each: a minute, 5 minutes, 21 minutes, 108 minutes, 10 hours
MOST_LANES = 4096
_MOST_PIECES = 1 << 20  # of tasks that are spread over buckets at a time
Ints = npt.NDArray[np.int64]


class Pieces(NamedTuple):
    """Parts of tasks: each in one bucket of one lane, of one function."""

    bucket: Ints
    lane: Ints
    function: Ints
    busy_ns: npt.NDArray[np.float64]
    ended: Ints
    failed: Ints


class Cells(NamedTuple):
    """A grid, rows by columns. `function` is -1 where nothing ran."""

    busy: npt.NDArray[np.float32]
    function: npt.NDArray[np.int32]
    ended: npt.NDArray[np.uint32]
    failed: npt.NDArray[np.uint32]


class Pyramid:
    """Takes tasks that have ended and gives cells."""

    def __init__(self, lanes: int = 64, widths_ns: tuple[int, ...] = WIDTHS_NS, buckets: int = BUCKETS) -> None:
        self._levels = [_Level(width, buckets, lanes) for width in widths_ns]
        self._lanes = lanes

    def add(self, rows: Rows) -> None:
        if not len(rows):
            return
        lanes = int(rows["lane"].max()) + 1
        if lanes > self._lanes:
            self._lanes = min(MOST_LANES, max(lanes, 2 * self._lanes))
            for level in self._levels:
                level.widen(self._lanes)
        finest = self._levels[0]
        newest = max(finest.newest, int(rows["end_ns"].max()) // finest.width_ns)
        reach_ns = self._levels[-1].width_ns * self._levels[-1].buckets
        for some in _in_bounds(rows, finest.width_ns, newest * finest.width_ns - reach_ns):
            pieces = spread(some, finest.width_ns, newest - finest.buckets + 1)
            self._add_pieces(pieces, some)

    def _add_pieces(self, pieces: Pieces, rows: Rows) -> None:
        below = self._levels[0]
        below.add(pieces)
        for level in self._levels[1:]:
            # A task that began before the finer ring's reach is spread anew, so that coarser rings see all of it.
            oldest_ns = (int(pieces.bucket.min()) if len(pieces.bucket) else 0) * below.width_ns
            if len(rows) and int(rows["start_ns"].min()) < oldest_ns:
                newest = max(level.newest, int(rows["end_ns"].max()) // level.width_ns)
                pieces = summed(spread(rows, level.width_ns, newest - level.buckets + 1))
            else:
                factor = level.width_ns // below.width_ns
                pieces = summed(pieces._replace(bucket=pieces.bucket // factor))
            level.add(pieces)
            below = level

    def cells(self, begin_ns: int, end_ns: int, columns: int, lanes: Ints, rows: int) -> Cells:
        """The window in so many columns. `lanes` are those that are shown, from above; each of `rows` rows has as many
        of them as the others, or one less."""
        pixel_ns = max(1.0, (end_ns - begin_ns) / columns)
        level = self._level_for(begin_ns, pixel_ns)
        return level.cells(begin_ns, pixel_ns, columns, lanes, rows)

    def ended_between(self, begin_ns: int, end_ns: int) -> int:
        """How many tasks ended about then, as far as they are in here."""
        level = self._level_for(begin_ns, (end_ns - begin_ns) / 200)
        return level.ended_between(begin_ns, end_ns)

    def _level_for(self, begin_ns: int, pixel_ns: float) -> "_Level":
        """The coarsest whose buckets are no wider than a pixel, of those that reach back to the beginning."""
        reaching = [each for each in self._levels if each.oldest_ns <= begin_ns] or [self._levels[-1]]
        fitting = [each for each in reaching if each.width_ns <= pixel_ns]
        return fitting[-1] if fitting else reaching[0]


class _Level:
    def __init__(self, width_ns: int, buckets: int, lanes: int) -> None:
        self.width_ns, self.buckets, self._lanes = width_ns, buckets, lanes
        self.newest = -1
        self._busy = np.zeros((buckets, lanes), np.float32)
        self._main = np.full((buckets, lanes), -1, np.int64)  # time of the function that has most << 16 | its number
        self._ended = np.zeros((buckets, lanes), np.uint32)
        self._failed = np.zeros((buckets, lanes), np.uint32)

    @property
    def oldest_ns(self) -> int:
        return (self.newest - self.buckets + 1) * self.width_ns

    def widen(self, lanes: int) -> None:
        self._busy, self._ended, self._failed, self._main = (
            _wider(self._busy, lanes, 0),
            _wider(self._ended, lanes, 0),
            _wider(self._failed, lanes, 0),
            _wider(self._main, lanes, -1),
        )
        self._lanes = lanes

    def add(self, pieces: Pieces) -> None:
        if not len(pieces.bucket):
            return
        self._advance(int(pieces.bucket.max()))
        keep = pieces.bucket > self.newest - self.buckets
        place = (pieces.bucket[keep] % self.buckets) * self._lanes + pieces.lane[keep]
        busy_ns = pieces.busy_ns[keep]
        np.add.at(self._busy.reshape(-1), place, busy_ns.astype(np.float32))
        np.add.at(self._ended.reshape(-1), place, pieces.ended[keep].astype(np.uint32))
        np.add.at(self._failed.reshape(-1), place, pieces.failed[keep].astype(np.uint32))
        main = busy_ns.astype(np.int64) << 16 | pieces.function[keep]
        np.maximum.at(self._main.reshape(-1), place, main)

    def _advance(self, newest: int) -> None:
        if newest <= self.newest:
            return
        first = max(self.newest + 1, newest - self.buckets + 1)
        stale = np.arange(first, newest + 1) % self.buckets
        self._busy[stale] = 0
        self._main[stale] = -1
        self._ended[stale] = 0
        self._failed[stale] = 0
        self.newest = newest

    def cells(self, begin_ns: int, pixel_ns: float, columns: int, lanes: Ints, rows: int) -> Cells:
        rows = max(1, min(rows, len(lanes)))
        edges = ((begin_ns + np.arange(columns + 1) * pixel_ns) // self.width_ns).astype(np.int64)
        first, last = int(edges[0]), max(int(edges[-1]), int(edges[0]) + 1)
        starts = np.minimum(edges[:-1] - first, last - first - 1)
        spans = np.maximum(1, np.diff(edges))
        row_starts = np.arange(rows) * len(lanes) // rows
        row_sizes = np.diff(np.append(row_starts, len(lanes)))

        def reduced(source: npt.NDArray[Any], how: np.ufunc, empty: int) -> npt.NDArray[Any]:
            values = self._between(source, first, last, lanes, empty)
            if rows != len(lanes):  # first, since it is quick and leaves less to do
                values = how.reduceat(values, row_starts, axis=1)
            if len(starts) != len(values) or int(spans.max()) > 1:
                values = how.reduceat(values, starts, axis=0)
            return values.T

        busy = reduced(self._busy, np.add, 0) / (spans[None, :] * self.width_ns * row_sizes[:, None])
        main = reduced(self._main, np.maximum, -1)
        return Cells(
            busy.astype(np.float32),
            np.where(main < 0, -1, main & 0xFFFF).astype(np.int32),
            reduced(self._ended, np.add, 0),
            reduced(self._failed, np.add, 0),
        )

    def _between(self, source: npt.NDArray[Any], first: int, last: int, lanes: Ints, empty: int) -> npt.NDArray[Any]:
        """The buckets from `first` up to `last` of these lanes; `empty` where the ring has none."""
        made = np.full((last - first, len(lanes)), empty, source.dtype)
        known = lanes < self._lanes
        is_all = bool(known.all())
        at = max(first, self.newest - self.buckets + 1, 0)
        until = min(last, self.newest + 1)
        while at < until:  # once, or twice where the ring's end lies between
            place = at % self.buckets
            count = min(until - at, self.buckets - place)
            part, target = source[place : place + count], made[at - first : at - first + count]
            if is_all:
                np.take(part, lanes, axis=1, out=target, mode="clip")
            else:
                target[:, known] = part[:, lanes[known]]
            at += count
        return made

    def ended_between(self, begin_ns: int, end_ns: int) -> int:
        buckets = np.arange(
            max(0, begin_ns // self.width_ns, self.newest - self.buckets + 1),
            min(end_ns // self.width_ns, self.newest) + 1,
        )
        return int(self._ended[buckets % self.buckets].sum())


def _wider(values: npt.NDArray[Any], lanes: int, fill: int) -> npt.NDArray[Any]:
    made = np.zeros((len(values), lanes), values.dtype)
    if fill:
        made.fill(fill)
    made[:, : values.shape[1]] = values
    return made


def spread(rows: Rows, width_ns: int, oldest_bucket: int) -> Pieces:
    """Each task cut into the buckets that it touches, those before `oldest_bucket` left out; then what is of one
    function in one bucket of one lane, in one."""
    oldest_ns = oldest_bucket * width_ns
    end = rows["end_ns"].astype(np.int64)
    keep = end >= oldest_ns
    rows, end = rows[keep], end[keep]
    start = np.maximum(np.minimum(rows["start_ns"].astype(np.int64), end), oldest_ns)
    first, last = start // width_ns, end // width_ns
    count = last - first + 1
    task = np.repeat(np.arange(len(rows)), count)
    bucket = first[task] + np.arange(len(task)) - np.repeat(np.cumsum(count) - count, count)
    begin = np.maximum(start[task], bucket * width_ns)
    until = np.minimum(end[task], (bucket + 1) * width_ns)
    is_last = bucket == last[task]
    calls = np.where(is_last, rows["calls"][task], 0).astype(np.int64)
    failed = np.where(rows["outcome"][task] == 0, 0, calls)
    return summed(
        Pieces(
            bucket,
            rows["lane"][task].astype(np.int64),
            rows["function"][task].astype(np.int64),
            (until - begin).astype(np.float64),
            calls,
            failed,
        )
    )


def summed(pieces: Pieces) -> Pieces:
    """What is of one function in one bucket of one lane, in one piece."""
    if not len(pieces.bucket):
        return pieces
    oldest = int(pieces.bucket.min())
    key = ((pieces.bucket - oldest) << 28) | (pieces.lane << 16) | pieces.function
    keys, where = np.unique(key, return_inverse=True)

    def total(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        sums: npt.NDArray[np.float64] = np.bincount(where, weights=values, minlength=len(keys)).astype(np.float64)
        return sums

    return Pieces(
        (keys >> 28) + oldest,
        (keys >> 16) & 0xFFF,
        keys & 0xFFFF,
        total(pieces.busy_ns),
        total(pieces.ended).astype(np.int64),
        total(pieces.failed).astype(np.int64),
    )


def _in_bounds(rows: Rows, width_ns: int, oldest_ns: int) -> list[Rows]:
    """The tasks in parts, none of which falls into more than some _MOST_PIECES pieces."""
    start = np.maximum(rows["start_ns"], oldest_ns)
    pieces = np.cumsum(np.maximum(1, (rows["end_ns"] - start) // width_ns + 2))
    if pieces[-1] <= _MOST_PIECES:
        return [rows]
    cuts = np.searchsorted(pieces, np.arange(_MOST_PIECES, int(pieces[-1]), _MOST_PIECES))
    return [part for part in np.split(rows, np.unique(cuts)) if len(part)]
