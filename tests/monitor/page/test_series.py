"""Figures over time."""

import numpy as np

from scaler.monitor.page.series import Series, Tier

T0 = 1_800_000_000.0


def values(series: Series, begin: float, end: float, most: int = 1000) -> list[float | None]:
    found = series.excerpt(["a"], T0 + begin, T0 + end, most).columns["a"]
    return [None if np.isnan(value) else float(value) for value in found]


def test_a_bucket_is_the_mean_of_what_came_in_its_time():
    series = Series(["a"], [Tier(1, 10)])
    for time, value in ((0, 1.0), (0.5, 3.0), (1, 5.0)):
        series.put(T0 + time, {"a": value})
    assert values(series, 0, 1) == [2.0, 5.0]


def test_a_time_in_which_nothing_came_is_a_gap_and_not_zero():
    series = Series(["a"], [Tier(1, 10)])
    series.put(T0, {"a": 1.0})
    series.put(T0 + 3, {"a": 2.0})
    assert values(series, 0, 3) == [1.0, None, None, 2.0]


def test_what_is_not_known_counts_for_nothing():
    series = Series(["a"], [Tier(10, 10)])
    series.put(T0, {"a": 4.0})
    series.put(T0 + 1, {"a": float("nan")})
    assert values(series, 0, 9) == [4.0]


def test_a_long_time_comes_from_a_coarser_tier_and_reaches_back_further():
    series = Series(["a"], [Tier(1, 60), Tier(10, 60)])
    for time in range(300):
        series.put(T0 + time, {"a": 1.0 if time < 150 else 3.0})
    assert len(values(series, 240, 299)) == 60
    coarse = values(series, 0, 299)
    assert coarse == [1.0] * 15 + [3.0] * 15
    assert len(values(series, 290, 299)) == 10


def test_a_window_has_no_more_points_than_are_wanted_if_a_tier_has_them():
    series = Series(["a"], [Tier(1, 600), Tier(10, 600)])
    for time in range(500):
        series.put(T0 + time, {"a": 1.0})
    assert len(values(series, 0, 499, most=100)) == 50


def test_what_comes_late_does_not_overwrite_what_is_newer():
    series = Series(["a"], [Tier(1, 4)])
    series.put(T0 + 10, {"a": 1.0})
    series.put(T0 + 6, {"a": 9.0})  # its place in the ring is that of second 10
    assert values(series, 10, 10) == [1.0]


def test_a_series_without_a_value_is_empty():
    assert values(Series(["a"]), 0, 100) == []
