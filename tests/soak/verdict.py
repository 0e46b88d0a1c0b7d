"""Verdict: whether what was watched stays where it is: the last quarter of a run against its second.

The first quarter is not looked at: caches fill and pools grow to what the work needs.
"""

import statistics
from dataclasses import dataclass

from tests.soak.sample import Sample

TOLERANCE = 1.02
COUNTED = 1  # a descriptor or a thread more or less is no growth
LEAST_KIB = 1024  # nor is less than that


@dataclass(frozen=True)
class Line:
    """One thing that was watched: medians of its quarters."""

    name: str
    second: float
    last: float

    @property
    def is_flat(self) -> bool:
        slack = LEAST_KIB if self.name.endswith("KiB") else COUNTED
        return self.last <= max(self.second * TOLERANCE, self.second + slack)


def judge(samples: list[Sample]) -> list[Line]:
    """A line for everything that was there in both quarters."""
    first_s, last_s = samples[0].at_s, samples[-1].at_s
    lines = []
    for name in samples[-1].values:
        quarters: list[list[float]] = [[], [], [], []]
        for sample in samples:
            if name in sample.values:
                share = (sample.at_s - first_s) / max(1e-9, last_s - first_s)
                quarters[min(3, int(share * 4))].append(sample.values[name])
        if quarters[1] and quarters[3]:
            lines.append(Line(name, statistics.median(quarters[1]), statistics.median(quarters[3])))
    return lines
