"""Names of functions, read from their pickles without unpickling anything."""

import functools
import pickle

import pytest

from scaler.scheduler.function_names import MOST_CHARACTERS, name_in, printable
from scaler.values.payload import dumps
from scaler.values.sent_function import KEPT, pack


def by_name(x):
    return x


class Thing:
    def method(self, x):
        return x


def made_here():
    cell = [1]

    def inner(x):
        return x + cell[0]

    return inner


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (by_name, f"{__name__}.by_name"),
        (made_here(), f"{__name__}.made_here.<locals>.inner"),
        (functools.partial(by_name, 1), f"{__name__}.by_name"),
        (pickle.dumps, "_pickle.dumps"),
        (lambda x: x, f"{__name__}.<lambda>"),
    ],
)
def test_a_function_is_called_as_its_pickle_says(function, name):
    assert name_in(dumps(function), 7) == name


def test_places_of_objects_before_the_pickle_are_passed_over():
    assert name_in(bytes(48) + dumps(by_name), 7) == f"{__name__}.by_name"


def test_what_is_said_of_whose_it_is_before_the_pickle_is_passed_over():
    head = pack(KEPT, b"owner", ("/a/place",), ())
    assert name_in(head + dumps(by_name), 7) == f"{__name__}.by_name"


def test_a_named_functions_bytes_are_its_name():
    assert name_in(b"math:sqrt", 7) == "math:sqrt"
    assert name_in("\u00fc".encode() * 110, 7) == "\u00fc" * 110


@pytest.mark.parametrize(
    "junk", [b"", b"non\x1bsense", b"n" * 256, b"\x80", b"\x80\x05\x8c\xff", b"\x80\x05" + b"\x94" * 100_000]
)
def test_what_is_no_pickle_has_a_number(junk):
    assert name_in(junk, 7) == "function 7"


def test_a_pickle_that_would_do_something_does_nothing():
    class Evil:
        def __reduce__(self):
            return print, ("done",)

    assert name_in(pickle.dumps(Evil()), 7) == "builtins.print"


def test_a_name_is_one_line_of_bounded_length_without_control_characters():
    made = printable("a\x1b[31m\nb" + "x" * 1000)
    assert made.startswith("a?[31m?b")
    assert len(made) == MOST_CHARACTERS
