"""Clients come and go in any order, and each is found by its bits as long as it is here."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import Outlet, SchedulerCore
from tests.effort import rounds

# Few different bits, some of them alike in the table's eyes, so that they meet and move.
BITS = st.one_of(st.integers(1, 40), st.integers(0, 40).map(lambda n: 5 + (n << 18)))


@settings(max_examples=rounds(100))
@given(st.lists(BITS, max_size=200))
def test_a_client_is_found_from_its_coming_to_its_going(toggled):
    core = SchedulerCore()
    here = {}
    for bits in toggled:
        if bits in here:
            core.on_client_left(here.pop(bits), 0)
        else:
            here[bits] = core.on_client_joined(bits, Outlet(), Outlet())
        assert len(set(here.values())) == len(here)
        for other in set(toggled):
            assert core.has_client(other) == (other in here)


def test_bits_in_use_are_refused():
    core = SchedulerCore()
    first = core.on_client_joined(7, Outlet(), Outlet())
    with pytest.raises(ValueError, match="in use"):
        core.on_client_joined(7, Outlet(), Outlet())
    core.on_client_left(first, 0)
    core.on_client_joined(7, Outlet(), Outlet())
