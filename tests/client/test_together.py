"""Which calls may be pickled as one: those that share nothing that can change."""

import numpy
import pytest

from scaler.client.together import MOST_ARRAY_BYTES, count

MANY = 1 << 20


class Odd(numpy.ndarray):
    """A class of the user's."""


def arrays(n):
    return [(numpy.full(5, float(i)),) for i in range(n)]


def test_small_arrays_and_immutable_values_may():
    calls = [(array, 1, "text", b"bytes", None, 2.5, numpy.float64(3), (1, 2.0)) for (array,) in arrays(10)]
    assert count(calls, 0, 10, MANY) == 10
    assert count(calls, 4, 10, MANY) == 6
    assert count(calls, 0, 3, MANY) == 3


@pytest.mark.parametrize(
    "value",
    [
        [1],
        {},
        ([1],),
        (numpy.zeros(1),),
        numpy.array([[]], dtype=object),
        numpy.zeros(2, dtype=[("a", int)]),
        numpy.zeros(5).view(Odd),
        numpy.zeros(MOST_ARRAY_BYTES + 1, dtype=numpy.uint8),
        len,
        object(),
    ],
)
def test_what_may_change_or_is_not_known_ends_them(value):
    assert count([(1,), (2,), (value,), (3,)], 0, 4, MANY) == 2
    assert count([(value,), (3,)], 0, 2, MANY) == 0


def test_an_array_that_occurs_twice_ends_them():
    once, twice = numpy.zeros(3), numpy.ones(3)
    assert count([(once,), (twice,), (twice,)], 0, 3, MANY) == 2
    assert count([(once, once)], 0, 1, MANY) == 0


def test_they_are_no_more_than_a_record_takes():
    assert 1 <= count(arrays(100), 0, 100, 1000) < 10
    assert count([("x" * 2000,)] * 3, 0, 3, 1000) == 0


def test_calls_that_are_lists_are_not_tuples_after_all():
    assert count([(1,), [2]], 0, 2, MANY) == 1
