"""Maps: order, shapes of input, failures, bounded read-ahead."""

import functools
import itertools
import pickle
import time

import numpy
import pytest

from scaler import Client, Serializer
from scaler.client.mapping import READ_AHEAD, READ_NS, Calls
from scaler.exceptions import DeserializeObjectError
from tests.e2e import calls


def odd_fails(x):
    if x % 2:
        raise ValueError(x)
    return x


def keep_and_return(items):
    items.append(len(items))
    return items


class Unloadable:
    def __reduce__(self):
        return (calls.fail, ("cannot be unpickled",))


class Pickled(Serializer):
    @staticmethod
    def serialize(obj):
        return pickle.dumps(obj)[::-1]

    @staticmethod
    def deserialize(payload):
        return pickle.loads(payload[::-1])


def test_results_come_in_input_order(client):
    assert client.map(calls.add_one, [(i,) for i in range(50_000)]) == list(range(1, 50_001))


def test_empty_and_generators(client):
    assert client.map(calls.add_one, []) == []
    assert client.map(calls.add_one, iter(())) == []
    assert client.map(calls.add_one, ((i,) for i in range(1000))) == list(range(1, 1001))
    assert client.starmap(pow, [[2, 3], (2, 4)]) == [8, 16]


@pytest.mark.parametrize(
    "values",
    [
        [None, True, False, 0, 255, 256, -1, 2**31, -(2**63), 2**63, 2**200],
        [0.0, -1.5, float("inf"), 1e300],
        ["", "a", "ü" * 100, "x" * 1000, "\ud800"],
        [b"", b"a" * 255, b"b" * 256, b"c" * 100_000],
        [(), (1,), [1], {"a": 1}, {1, 2}, None, 3, "mixed"],
    ],
)
def test_values_of_every_kind(client, values):
    many = values * 50
    result = client.map(calls.echo, [(value,) for value in many])
    assert result == many
    assert [type(value) for value in result] == [type(value) for value in many]


def test_several_arguments_and_none(client):
    assert client.map(calls.describe_call, [(1, "a", None)] * 300) == [((1, "a", None), {})] * 300
    assert client.map(calls.describe_call, [()] * 300) == [((), {})] * 300
    assert client.map(calls.describe_call, [(i,) * (i % 12) for i in range(300)]) == [
        ((i,) * (i % 12), {}) for i in range(300)
    ]


def test_mutable_arguments_are_not_shared_between_calls(client):
    shared = []
    assert client.map(keep_and_return, [(shared,)] * 200) == [[0]] * 200


def test_first_failure_in_input_order_is_raised_and_the_client_goes_on(client):
    with pytest.raises(ValueError, match=r"^1$") as raised:
        client.map(odd_fails, [(i,) for i in range(5000)])
    assert "odd_fails" in str(raised.value.__cause__)
    assert client.map(calls.add_one, [(1,)]) == [2]
    with pytest.raises(DeserializeObjectError, match="cannot be unpickled"):
        client.map(calls.echo, [(1,), (Unloadable(),)])
    with pytest.raises(SystemExit):
        client.map(calls.exit_process, [()] * 10)
    assert client.map(calls.add_one, [(1,)]) == [2]


def test_items_that_are_no_argument_tuples_are_a_type_error(client):
    with pytest.raises(TypeError, match=r"tuples or lists of arguments, not int: 1; map_each\(fn, items\)"):
        client.map(calls.add_one, [1, 2])
    with pytest.raises(TypeError, match="tuples or lists of arguments"):
        client.map(calls.add_one, "ab")
    assert client.map(calls.add_one, [(1,)]) == [2]


def test_an_endless_iterable_is_read_only_as_far_as_it_is_worked_off(client):
    read = itertools.count()
    with pytest.raises(ValueError, match=r"^1$"):
        client.map(odd_fails, ((i,) for i in read))
    assert next(read) < 2_000_000


def test_large_arguments_and_results(client):
    assert client.map(len, [(b"x" * 200_000,)] * 20) == [200_000] * 20
    assert [len(r) for r in client.map(calls.big, [(200_000,)] * 20)] == [200_000] * 20
    assert client.map(calls.big, [(200,)] * 3000) == [b"x" * 200] * 3000


@pytest.mark.parametrize(("item_ns", "most"), [(10, READ_AHEAD), (READ_NS // 100, 256), (READ_NS * 2, 1)])
def test_a_slow_iterable_is_read_in_smaller_pieces(item_ns, most):
    now_ns = 0

    def items():
        nonlocal now_ns
        for number in range(50_000):
            now_ns += item_ns
            yield (number,)

    ahead, read, sizes = Calls(items(), lambda: now_ns), [], []
    while ahead.has_more():
        read += ahead.buffer
        sizes.append(len(ahead.buffer))
        ahead.at = len(ahead.buffer)
    assert read == [(number,) for number in range(50_000)]
    assert sizes[0] == 1
    assert max(sizes) == most


def test_calls_are_sent_though_the_iterable_waits_for_them(client, tmp_path):
    mark = tmp_path / "mark"

    def items():
        yield (str(mark), 1)
        calls.wait_for(str(mark))
        yield (str(mark), 2)

    assert client.map(calls.note, items()) == [1, 2]


def test_several_iterables_give_one_argument_each(client):
    assert client.map(pow, [2, 3, 4], [5, 6]) == [32, 729]
    assert client.map(pow, range(300), (2 for _ in range(300)), [1000] * 300) == [i * i % 1000 for i in range(300)]


def test_map_each_is_the_built_in_map(client):
    assert client.map_each(calls.add_one, range(5000)) == list(range(1, 5001))
    assert client.map_each(calls.echo, [(1, 2), [3], (), "ab"]) == [(1, 2), [3], (), "ab"]
    assert client.map_each(pow, [2, 3], itertools.count(2)) == [4, 27]
    assert client.map_each(calls.echo, numpy.arange(6.0).reshape(3, 2))[2].tolist() == [4.0, 5.0]
    assert client.map_each(calls.echo, []) == []


def test_exceptions_take_the_places_of_results_where_that_is_asked_for(client):
    items = range(4000)
    results = client.map_each(odd_fails, items, return_exceptions=True)
    assert results[::2] == list(items[::2])
    assert [(type(error), error.args) for error in results[1::2]] == [(ValueError, (i,)) for i in items[1::2]]
    assert "odd_fails" in str(results[1].__cause__)
    both = client.map(calls.echo, [(1,), (Unloadable(),)], return_exceptions=True)
    assert both[0] == 1
    assert isinstance(both[1], DeserializeObjectError)
    assert [str(error) for error in client.starmap(calls.exit_process, [()], return_exceptions=True)] == ["3"]


def test_a_map_that_takes_too_long_is_a_time_out_and_the_client_goes_on(client):
    with pytest.raises(TimeoutError, match=r"the map was not done within 0\.2 s"):
        client.map_each(time.sleep, [60] * 6, timeout=0.2)
    assert client.map_each(calls.add_one, range(3), timeout=60) == [1, 2, 3]


def test_an_iterable_that_raises_is_its_exception(client):
    def items():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        client.map_each(calls.add_one, items())


def test_how_long_calls_take_is_remembered_from_map_to_map(client):
    def count_records(function):
        before = client.submit(calls.add_one, 1).task_id
        assert client.map_each(function, range(64)) == [2**i for i in range(64)]
        return client.submit(calls.add_one, 1).task_id - before - 1

    assert count_records(functools.partial(pow, 2)) > 1
    # Another partial each time. Whoever is held up by other programs takes longer, and gets his calls in two records.
    assert min(count_records(functools.partial(pow, 2)) for _ in range(20)) == 1


def test_with_a_serializer_maps_are_what_they_are_without(cluster):
    with Client(cluster.get_address(), serializer=Pickled, timeout_seconds=20) as client:
        assert client.map(pow, [(2, 3), [3, 2]]) == [8, 9]
        assert client.map_each(calls.echo, [(1, 2), "ab"]) == [(1, 2), "ab"]
        assert list(client.imap(pow, [2, 3], [4, 5])) == [16, 243]
        results = client.map_each(odd_fails, range(4), return_exceptions=True)
        assert results[::2] == [0, 2]
        assert [error.args for error in results[1::2]] == [(1,), (3,)]
        with pytest.raises(TypeError, match="map_each"):
            client.map(calls.echo, ["ab"])


def add_in_place(array, number):
    array += number
    return array


def test_arrays_that_are_pickled_together_are_each_calls_own(client):
    rows = numpy.arange(3000.0).reshape(1000, 3)
    results = client.map_each(add_in_place, rows, range(1000))
    assert all((results[i] == rows[i] + i).all() for i in range(1000))
    one = numpy.zeros(3)
    assert [int(sum(result)) for result in client.map_each(add_in_place, [one] * 200, [1] * 200)] == [3] * 200
    assert one.sum() == 0
    mixed = [(numpy.ones(2), 1), ([1], [2]), (numpy.ones(3), 2), (5, 6)] * 50
    assert len(client.map(calls.describe_call, mixed)) == 200
