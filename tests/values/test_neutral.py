"""Neutral payloads: what goes through them, and what every odd one says."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler._native import MOST_RESOURCES, STATUS_OK, STATUS_RAISED
from scaler.exceptions import DeserializeObjectError, RemoteError
from scaler.values import neutral, payload
from scaler.values.named import NamedFunction, check_name, check_travels, digest_of, find_function, with_tag
from scaler.worker.named import NamedCall, describe

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(JSON)
def test_what_json_has_comes_back_and_is_never_taken_for_a_pickle(value):
    try:
        data = neutral.dumps(value)
    except ValueError:
        return  # a text that UTF-8 has no bytes for
    assert neutral.is_neutral(data)
    assert neutral.loads(data) == value
    assert not neutral.is_neutral(pickle.dumps(value, 5))
    assert payload.load_result(STATUS_OK, 0, data, 1) == value


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, float("nan"), float("inf"), object(), {(1, 2): 3}])
def test_what_json_does_not_have_is_named(value):
    with pytest.raises((TypeError, ValueError), match="takes and returns what JSON has"):
        neutral.dumps(value)


@given(st.lists(JSON, max_size=3), st.dictionaries(st.text(), JSON, max_size=3))
def test_arguments_come_back(args, kwargs):
    try:
        data = neutral.dumps_arguments(tuple(args), kwargs)
    except ValueError:
        return
    assert neutral.loads_arguments(data) == (args, kwargs)


@pytest.mark.parametrize(
    "data", [b"3", b'{"other": 1}', b'{"args": 3}', b'{"args": [], "kwargs": []}', b"[1", b"\xff", b"", b"null"]
)
def test_what_are_no_arguments_is_a_value_error(data):
    with pytest.raises(ValueError):
        neutral.loads_arguments(data)


@given(st.binary(min_size=1))
def test_whatever_bytes_a_worker_answers_is_a_value_or_an_error_of_ours(data):
    for status in (STATUS_OK, STATUS_RAISED):
        if not neutral.is_neutral(data):
            continue
        try:
            result = payload.load_result(status, 0, data, 1)
        except DeserializeObjectError:
            continue
        assert status == STATUS_OK or isinstance(result, BaseException)


def test_a_failure_said_in_words_only_is_a_remote_error_with_its_type_message_and_traceback():
    data = neutral.dumps_failure(neutral.Failure("std::out_of_range", "too far", "at price.cpp:7"))
    error = payload.load_result(STATUS_RAISED, 0, data, 1)
    assert type(error) is RemoteError
    assert str(error) == "std::out_of_range: too far"
    assert "at price.cpp:7" in str(error.__cause__)


def test_a_failure_of_pythons_is_said_in_words_and_comes_as_itself():
    try:
        int("x")
    except ValueError as error:
        data = describe(error)
    failure = neutral.loads_failure(data)
    assert failure.kind == "ValueError"
    assert failure.message == "invalid literal for int() with base 10: 'x'"
    assert "test_neutral.py" in failure.traceback
    read = payload.load_result(STATUS_RAISED, 0, data, 1)
    assert type(read) is ValueError
    assert "test_neutral.py" in str(read.__cause__)


def test_an_exception_that_cannot_be_said_is_said_all_the_same():
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError("no")

    failure = neutral.loads_failure(describe(Odd()))
    assert failure.kind.endswith("Odd")
    assert failure.message == "<str() of it failed>"


def test_a_large_exception_goes_in_words_only():
    assert not neutral.loads_failure(describe(ValueError("x" * 100_000))).pickled


@pytest.mark.parametrize("name", ["", "a" * 256, "tab\tname", 3, b"bytes"])
def test_what_is_no_name_is_refused_where_it_is_written(name):
    with pytest.raises((TypeError, ValueError), match="name of a function"):
        check_name(name)


def test_a_name_finds_what_is_imported_under_it():
    import math

    assert find_function("math:sqrt") is math.sqrt
    assert find_function("collections:OrderedDict.fromkeys")(["a"]) == {"a": None}
    assert NamedFunction("math:sqrt")(9) == 3
    assert pickle.loads(pickle.dumps(NamedFunction("math:sqrt"))) == NamedFunction("math:sqrt")
    for name, error in (
        ("price", LookupError),
        ("math:", LookupError),
        ("no_module:f", ImportError),
        ("math:no", AttributeError),
    ):
        with pytest.raises(error):
            find_function(name)


def test_the_digest_is_the_first_half_of_sha_256():
    assert digest_of("abc").hex() == "ba7816bf8f01cfea414140de5dae2223"


def test_a_name_that_is_no_text_is_said_when_it_is_announced():
    for name in (b"\xff", b"", b"a\nb"):
        with pytest.raises(ValueError):
            NamedCall(name)


def test_a_name_without_a_colon_is_a_tag_that_its_calls_ask_for():
    assert with_tag("price", b"") == b"f:price"
    assert with_tag("price", b"a=1000\ngpu=1000\nzone") == b"a=1000\nf:price\ngpu=1000\nzone"
    assert with_tag("math:sqrt", b"gpu=1000") == b"gpu=1000"
    for name in ("a" * 63, "a=b", "a@b"):
        with pytest.raises(ValueError, match="a name without a colon has at most 62 bytes, and no = or @"):
            NamedFunction(name)


def test_half_of_a_surrogate_pair_is_said_in_a_sentence():
    with pytest.raises(ValueError, match="a named function takes and returns what JSON has: "):
        neutral.dumps(["\ud800"])


def test_more_resources_than_a_call_may_ask_for_are_refused_with_its_name():
    request = b"\n".join(b"r%02d" % i for i in range(MOST_RESOURCES))
    with pytest.raises(ValueError, match="at most 15 resources"):
        with_tag("price", request)
    assert with_tag("module:price", request) == request


def test_a_named_function_does_not_travel():
    with pytest.raises(TypeError, match="is called by its name, and no code goes with it"):
        check_travels(NamedFunction("math:sqrt"))
    check_travels(len)
