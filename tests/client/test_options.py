"""Options of calls: what may be given, and what is said about the rest."""

import pytest

from scaler.client.options import CallOptions


def test_defaults():
    native = CallOptions().native
    assert (native.retries, native.priority, native.limit_ms) == (3, 0, 0)


def test_what_is_not_named_stays_as_it_was():
    first = CallOptions().changed(retries=0, timeout=1.5)
    second = first.changed(priority=-15)
    assert (first.retries, first.timeout, first.priority) == (0, 1.5, 0)
    assert (second.retries, second.timeout, second.priority) == (0, 1.5, -15)
    assert second.changed(timeout=None).timeout is None


@pytest.mark.parametrize(
    ("timeout", "limit_ms"), [(5, 5000), (0.0001, 1), (1.0001, 1001), (4_000_000, 4_000_000_000), (None, 0)]
)
def test_a_time_limit_is_never_rounded_down_to_none(timeout, limit_ms):
    assert CallOptions(timeout=timeout).native.limit_ms == limit_ms


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"retries": -1}, ValueError, "retries is a whole number from 0 to 254, not -1"),
        ({"retries": 255}, ValueError, "not 255"),
        ({"retries": 1.5}, TypeError, "not 1.5"),
        ({"retries": True}, TypeError, "not True"),
        ({"priority": 16}, ValueError, "priority is a whole number from -15 to 15, not 16"),
        ({"priority": "high"}, TypeError, "not 'high'"),
        ({"timeout": 0}, ValueError, "timeout is more than 0 and at most 4,000,000 seconds"),
        ({"timeout": -2}, ValueError, "not -2"),
        ({"timeout": float("nan")}, ValueError, "not nan"),
        ({"timeout": float("inf")}, ValueError, "not inf"),
        ({"timeout": "5"}, TypeError, "a number of seconds"),
        ({"retry": 3}, TypeError, "'retry' is no option of a call: there are retries, timeout, priority, retry_on"),
        ({"retry_on": "ValueError"}, TypeError, "retry_on is an exception class"),
        ({"retry_on": (ValueError, 3)}, TypeError, "retry_on is an exception class"),
        ({"retry_on": KeyboardInterrupt}, TypeError, "retry_on is an exception class"),
    ],
)
def test_a_wrong_option_is_named(wrong, error, words):
    with pytest.raises(error, match=words):
        CallOptions().changed(**wrong)
