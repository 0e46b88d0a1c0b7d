"""Histograms of durations: logarithmic buckets, four to each power of two, so that a value is known to a fifth of it.

Bucket 4 * e + q, for e from 2 on, has the values from (4 + q) * 2**(e - 2) ns to where the next bucket begins. Values
below 4 ns are in the buckets 0 to 3. native/scheduler counts by the same rule.
"""

from collections.abc import Iterable, Mapping


def bucket_of(value_ns: int) -> int:
    """Which bucket has this value."""
    if value_ns < 4:
        return value_ns
    exponent = value_ns.bit_length() - 1
    return 4 * exponent + (value_ns >> (exponent - 2)) - 4


def least_in(bucket: int) -> int:
    """The smallest value of this bucket, in ns. Those from 4 to 7 have none, and count as 4."""
    if bucket < 8:
        return min(bucket, 4)
    return (4 + bucket % 4) << (bucket // 4 - 2)


def quantile_ns(counts: Mapping[int, int], share: float) -> float:
    """The value below which this share of all values lies, evenly within its bucket; 0 of nothing."""
    total = sum(counts.values())
    wanted = share * total
    for bucket in sorted(counts):
        if counts[bucket] and wanted <= counts[bucket]:
            low, high = least_in(bucket), least_in(bucket + 1)
            return low + (high - low) * wanted / counts[bucket]
        wanted -= counts[bucket]
    return 0.0


def added(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """All of them in one."""
    total: dict[int, int] = {}
    for each in histograms:
        for bucket, count in each.items():
            total[bucket] = total.get(bucket, 0) + count
    return total
