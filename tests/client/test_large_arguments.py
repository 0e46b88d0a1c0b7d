"""A large argument that is shipped with each call is named once, with its size and the line of the call."""

import warnings

import numpy
import pytest

from scaler.client.large_arguments import LARGE_BYTES, LargeArguments
from scaler.exceptions import LargeArgumentWarning


def use(grid, step=1, *rest, **options):
    return len(grid)


@pytest.fixture
def submit():
    """As a client submits: the function is `fn`, in a frame of ours; and what was warned of."""
    large = LargeArguments()
    scope = {"__name__": "scaler.client.client", "large": large}
    exec("def submit(fn, value, size):\n    large.note(value, size)\n", scope)
    return scope["submit"]


def warned(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    return found


def test_the_second_call_with_the_same_array_names_it_and_the_line(submit):
    grid = numpy.zeros(LARGE_BYTES // 8)
    assert not warned(lambda: submit(use, (grid, 2), grid.nbytes))
    (found,) = warned(lambda: submit(use, (grid, 2), grid.nbytes))
    assert found.category is LargeArgumentWarning
    assert str(found.message) == (
        "each call of use ships its argument grid of 100 MB: send it once, by client.send_object(grid), and pass what "
        "that returns instead"
    )
    assert found.filename == __file__
    assert not warned(lambda: submit(use, (grid, 2), grid.nbytes)), "it is said once for each function"


def test_another_array_each_time_is_nothing_to_send_once(submit):
    for _ in range(5):
        grid = numpy.zeros(LARGE_BYTES // 8)
        assert not warned(lambda grid=grid: submit(use, (grid,), grid.nbytes))
        del grid


def test_keywords_and_further_arguments_have_their_names(submit):
    grid = numpy.zeros(LARGE_BYTES // 8)
    for value, name in (
        (((1,), {"extra": grid}), "extra"),
        ((1, 2, 3, grid), "rest[1]"),
        (((1,), {"step": grid}), "step"),
    ):
        function = eval("lambda grid, step=1, *rest, **options: None")
        function.__qualname__ = name
        for _ in range(2):
            found = warned(lambda value=value, function=function: submit(function, value, grid.nbytes))
        assert f"its argument {name} of 100 MB" in str(found[0].message)


def test_what_cannot_be_referred_to_weakly_is_named_when_it_comes_again_and_again(submit):
    data = bytes(LARGE_BYTES)
    found = [len(warned(lambda: submit(use, (data,), len(data)))) for _ in range(4)]
    assert found == [0, 0, 1, 0]


def test_a_list_of_arrays_is_as_large_as_they_are(submit):
    parts = [numpy.zeros(LARGE_BYTES // 32) for _ in range(4)]
    found = [len(warned(lambda: submit(use, (parts,), LARGE_BYTES))) for _ in range(3)]
    assert found == [0, 0, 1]


def test_many_small_ones_that_are_large_together_are_nobodys_fault(submit):
    parts = tuple(numpy.zeros(LARGE_BYTES // 32) for _ in range(4))
    assert not [warned(lambda: submit(use, parts, LARGE_BYTES)) for _ in range(4)][-1]


def test_a_function_without_a_signature_has_arguments_by_number(submit):
    data = bytearray(LARGE_BYTES)
    found = [warned(lambda: submit(max, (data, data), 2 * LARGE_BYTES)) for _ in range(3)]
    assert "each call of max ships its argument number 1 of 100 MB: send it once, by client.send_object(...)" in str(
        found[2][0].message
    )
