"""Which keys of a graph are asked for, and in what shape their values come."""

import pytest

from scaler.client.graph.wanted import Wanted

PLAIN = {"a": 1, "b": 2, ("a", 0): 3}


@pytest.mark.parametrize(
    ("asked", "keys", "shaped"),
    [
        ("a", ["a"], "A"),
        (["a", "b"], ["a", "b"], {"a": "A", "b": "B"}),
        (("a", "b"), ["a", "b"], {"a": "A", "b": "B"}),  # no key, but all that is in it are
        (("a", 0), [("a", 0)], "A"),  # a key
        (("a", "c"), [("a", "c")], "A"),  # a key that is not there
        ([], [], {}),
    ],
)
def test_of_a_plain_graph_one_key_gives_a_value_and_several_a_dict(asked, keys, shaped):
    wanted = Wanted(PLAIN, asked)
    assert wanted.keys == keys
    assert wanted.shape(["A", "B"][: len(keys)]) == shaped


def test_nested_lists_of_keys_give_tuples_of_their_shape():
    wanted = Wanted(PLAIN, [["a", ["b"]], "a"])
    assert wanted.keys == ["a", "b", "a"]
    assert wanted.shape([1, 2, 3]) == ((1, (2,)), 3)


def test_a_key_of_a_graph_that_is_no_dict_gives_its_value():
    wanted = Wanted(object(), ("x", 0))
    assert wanted.keys == [("x", 0)]
    assert wanted.shape([5]) == 5


def test_a_key_that_is_asked_for_twice_is_an_error():
    with pytest.raises(KeyError, match="'a' is asked for twice"):
        Wanted(PLAIN, ["a", "b", "a"])
