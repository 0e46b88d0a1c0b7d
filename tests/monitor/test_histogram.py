"""Buckets: each value is in one, in order, and no bucket is wider than a quarter of its values."""

from hypothesis import given
from hypothesis import strategies as st

from scaler.monitor.histogram import added, bucket_of, least_in, quantile_ns


@given(st.integers(4, 2**63))
def test_a_value_is_in_the_bucket_that_says_so(value: int) -> None:
    bucket = bucket_of(value)
    assert least_in(bucket) <= value < least_in(bucket + 1)
    assert least_in(bucket + 1) - least_in(bucket) <= max(1, least_in(bucket) / 4)


def test_small_values_have_buckets_of_their_own() -> None:
    assert [bucket_of(value) for value in (0, 1, 2, 3, 4)] == [0, 1, 2, 3, 8]


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_lies_within_a_bucket_of_the_true_one(values: list[int], share: float) -> None:
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    true = sorted(values)[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]
    assert (
        least_in(bucket_of(true)) * 0.99 - 1 <= quantile_ns(counts, share) <= least_in(bucket_of(true) + 1) * 1.01 + 1
    )


def test_histograms_add_up() -> None:
    assert added([{1: 2, 8: 1}, {8: 4}]) == {1: 2, 8: 5}
    assert quantile_ns({}, 0.5) == 0
