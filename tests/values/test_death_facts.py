"""What may be said of a worker's death: whatever it is, it can be sent on, and is small."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.values.death_facts import MOST_FACTS_BYTES, facts_from, pack_facts, read_facts

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=50) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["worker", "host", "pid", "code", "oom", "peak_bytes", "output", "lost", "tries", "x"])


def test_what_makes_sense_stays_as_it_is():
    facts = {
        "worker": "w-1", "host": "h", "pid": 7, "code": -11, "oom": True, "peak_bytes": 3 << 30, "output": "a\n\tö",
        "lost": True,
    }  # fmt: skip
    assert facts_from(facts) == read_facts(pack_facts(facts)) == facts


@pytest.mark.parametrize(
    "said",
    [
        None, [], "x", 5, {"pid": []}, {"pid": {}}, {"pid": float("inf")}, {"pid": True}, {"pid": -1}, {"pid": 1 << 40},
        {"code": "x"}, {"code": 1 << 31}, {"code": -256}, {"peak_bytes": -1}, {"oom": 1}, {"lost": "yes"},
        {"worker": b"w"}, {"output": ["a"]}, {"deep": [[[[]]]]}, {5: 6}, {"tries": -1},
    ],
    ids=repr,
)  # fmt: skip
def test_what_makes_no_sense_is_left_out(said):
    assert facts_from(said) == {}
    assert pack_facts(said) == b"{}"


def test_what_cannot_be_encoded_or_shown_is_a_question_mark():
    assert facts_from({"output": "a\ud800b\x00\x1b[1m"}) == {"output": "a?b??[1m"}
    assert facts_from({"worker": "\udfff"}) == {"worker": "?"}


@pytest.mark.parametrize("letter", ["a", "ö", "\U0001f600", "\\", '"', "\n", "\ud800"])
def test_of_a_long_output_the_last_is_kept_as_far_as_it_fits(letter):
    packed = pack_facts(
        {"output": letter * 100_000 + "end", "worker": letter * 5000, "host": letter * 5000, "code": -9}
    )
    assert len(packed) <= MOST_FACTS_BYTES
    facts = json.loads(packed)
    assert facts["output"].endswith("end")
    assert len(facts["output"].encode()) > 1000
    assert facts["code"] == -9


@pytest.mark.parametrize("text", ["", "{", "[]", "gone", '{"a":' + "[" * 100_000, "1" * 10_000, b"\xff"])
def test_a_text_that_is_no_such_object_says_nothing(text):
    assert read_facts(text) == {}


@given(st.dictionaries(KEYS, ANYTHING))
def test_whatever_is_said_it_can_be_packed_and_read(said):
    packed = pack_facts(said)
    assert len(packed) <= MOST_FACTS_BYTES
    assert read_facts(packed) == json.loads(packed)
