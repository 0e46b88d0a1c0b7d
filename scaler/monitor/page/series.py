"""Series: figures over time, fine for the last hour and coarser for what is older, in a bounded amount of memory.

Each tier is a ring of buckets of one width. A value goes into its bucket of every tier; a bucket's value is the mean of
what came in its time. A bucket in which nothing came is a gap (NaN), and is drawn as one: a scheduler that was away has
not done zero tasks a second, nobody knows.

Rule 1: time is wall-clock time in seconds and always an argument.
Not here: which figures there are (figures).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Tier(NamedTuple):
    width_s: float
    buckets: int


TIERS = (Tier(1, 3600), Tier(10, 4320), Tier(120, 5040))  # an hour, half a day, a week


class Excerpt(NamedTuple):
    """`times` are where the buckets begin; `columns` has as many values of each figure, NaN where there are none."""

    times: Floats
    columns: dict[str, Floats]


class Series:
    """The figures of these names over time."""

    def __init__(self, names: Sequence[str], tiers: Sequence[Tier] = TIERS) -> None:
        self._names = list(names)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._rings = [_Ring(tier, len(self._names)) for tier in tiers]

    def put(self, time_s: float, values: Mapping[str, float]) -> None:
        """These figures had these values at this time."""
        where = [self._index[name] for name in values]
        row = np.fromiter(values.values(), np.float64, len(values))
        for ring in self._rings:
            ring.put(time_s, where, row)

    def excerpt(self, names: Sequence[str], begin_s: float, end_s: float, most: int = 1200) -> Excerpt:
        """These figures from `begin_s` to `end_s`: in the finest tier that reaches so far back and needs no more than
        `most` buckets for it, or else in the coarsest."""
        ring = next((each for each in self._rings if each.can_show(begin_s, end_s, most)), self._rings[-1])
        times, values = ring.between(begin_s, end_s)
        return Excerpt(times, {name: values[:, self._index[name]] for name in names})

    @property
    def first_s(self) -> float | None:
        """When the oldest bucket that still has something begins."""
        return min((first for ring in self._rings if (first := ring.first_s) is not None), default=None)


class _Ring:
    def __init__(self, tier: Tier, figures: int) -> None:
        self.width_s, self._room = tier
        self._sums: Floats = np.zeros((self._room, figures))
        self._counts = np.zeros((self._room, figures), np.uint32)
        self._bucket = np.full(self._room, -1, np.int64)  # which one each place has; -1: none

    def put(self, time_s: float, where: list[int], row: Floats) -> None:
        bucket = int(time_s // self.width_s)
        place = bucket % self._room
        if self._bucket[place] > bucket:
            return  # older than the ring
        if self._bucket[place] != bucket:
            self._bucket[place] = bucket
            self._sums[place] = 0
            self._counts[place] = 0
        known = np.isfinite(row)
        self._sums[place, where] += np.where(known, row, 0.0)
        self._counts[place, where] += known

    def can_show(self, begin_s: float, end_s: float, most: int) -> bool:
        newest = int(self._bucket.max())
        return (end_s - begin_s) / self.width_s <= most and begin_s // self.width_s > newest - self._room

    def between(self, begin_s: float, end_s: float) -> tuple[Floats, Floats]:
        newest = int(self._bucket.max())
        first = max(int(begin_s // self.width_s), newest - self._room + 1, 0)
        buckets = np.arange(first, max(first, min(int(end_s // self.width_s), newest) + 1), dtype=np.int64)
        places = buckets % self._room
        counts = np.where((self._bucket[places] == buckets)[:, None], self._counts[places], 0)
        values: Floats = np.full(counts.shape, np.nan)
        np.divide(self._sums[places], counts, out=values, where=counts > 0)
        times: Floats = buckets.astype(np.float64) * float(self.width_s)
        return times, values

    @property
    def first_s(self) -> float | None:
        there = self._bucket[self._bucket >= 0]
        return float(there.min() * self.width_s) if len(there) else None
