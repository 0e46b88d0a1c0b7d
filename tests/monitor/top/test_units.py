"""Numbers in words."""

import pytest

from scaler.monitor.top.units import count, duration, exact, rate, share, size, sparkline


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"), (-1, "0"), (9.5e-7, "950ns"), (1.2e-5, "12us"), (1.5e-3, "1.5ms"), (0.0996, "100ms"),
        (0.9996, "1.00s"),        (2.3, "2.30s"), (9.994, "9.99s"), (12.34, "12s"), (65, "1m05s"), (7380, "2h03m"),
        (273600, "3d04h"), (float("nan"), "?"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_counts_are_exact_as_long_as_there_is_room():
    assert (count(9_999_999), count(12_345_678), exact(1234567)) == ("9999999", "12.3M", "1,234,567")


def test_sizes_are_in_powers_of_1024():
    assert (size(0), size(512), size(1536), size(300 << 20), size(8 << 30)) == ("0", "512", "1.5K", "300M", "8.0G")


def test_what_is_not_known_is_no_number():
    assert (rate(-1), rate(float("nan")), share(float("nan"))) == ("-", "-", "?")
    assert (rate(50_000), rate(3.21), rate(0)) == ("50,000/s", "3.2/s", "0/s")


def test_a_sparkline_has_its_last_values_and_its_highest_is_full():
    assert sparkline([9, 0, 1, 2], 3) == "▁▅█"
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([], 5) == ""
    assert sparkline([1.0, float("nan")], 5) == "█▁"
