"""Rows to columns and back for the bodies that Python takes apart, and each check for meaning by itself."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.protocol.frames import (
    Cancel,
    Choice,
    FrameError,
    Function,
    Functions,
    Verdict,
    Withdraw,
    Withdrawn,
)

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


@given(st.sampled_from([Cancel, Withdraw]), st.lists(st.builds(Choice, U32, U64, U64), min_size=1))
def test_a_selection_comes_apart_as_it_was_made(kind, choices):
    selection = kind.of(choices)
    assert type(selection) is kind
    assert selection.rows() == choices


@given(st.lists(st.builds(Verdict, U32, U64, U64, st.booleans()), min_size=1))
def test_verdicts_come_apart_as_they_were_made(verdicts):
    assert Withdrawn.of(verdicts).rows() == verdicts


@given(
    st.lists(
        st.builds(
            Function, U32, U32, st.binary(min_size=16, max_size=16), st.sampled_from([0, 2]), st.binary(max_size=40)
        ),
        min_size=1,
    )
)
def test_functions_come_apart_as_they_were_made(functions):
    assert Functions.of(functions).rows() == functions


def test_columns_are_little_endian_and_those_of_zeros_are_left_out():
    assert Cancel.of([(0, 258, 0)]) == (b"", struct.pack("<Q", 258), b"")
    assert Cancel.of([(0, 0, 0)]) == (b"", bytes(8), b"")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (Cancel(tasks=b""), "tasks: 0 bytes"),
        (Cancel(tasks=bytes(9)), "tasks: 9 bytes"),
        (Cancel(peers=bytes(4), tasks=bytes(16)), "peers: 4 bytes are not 2 rows"),
        (Cancel(tasks=bytes(8), attempts=bytes(16)), "attempts: 16 bytes are not 1 rows"),
        (Withdrawn(tasks=bytes(8), took=bytes(2)), "took: 2 bytes"),
        (Withdrawn(tasks=bytes(8), took=b"\2"), "took: 2 is neither"),
        (Functions(digests=bytes(15)), "digests: 15 bytes"),
        (Functions(digests=bytes(32), numbers=bytes(4)), "numbers: 4 bytes"),
        (Functions(digests=bytes(32), ends=struct.pack("<2I", 3, 2), payload=b"ab"), "ends: they do not rise"),
        (Functions(digests=bytes(16), ends=struct.pack("<I", 1), payload=b"ab"), "ends: they do not rise"),
        (Functions(digests=bytes(16), payload=b"ab"), "ends: they do not rise"),
        (Functions(digests=bytes(16), flags=b"\x40"), "a named function of 0 bytes"),
        (Functions(digests=bytes(16), flags=b"\x41", ends=b"\4\0\0\0", payload=b"name"), "is not just a name"),
        (Functions(digests=bytes(16), flags=b"\x40", ends=b"\0\1\0\0", payload=bytes(256)), "is not just a name"),
    ],
)
def test_rows_with_one_error_are_refused(body, words):
    with pytest.raises(FrameError, match=words):
        body.rows()
