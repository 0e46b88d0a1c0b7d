"""How many slots an engine has, where that changes. The clock is an argument."""

from scaler.engines.engine import EMPTY_S, LOOK_S, SlotCount


def test_slots_are_counted_now_and_then():
    counts = [2, 5]
    slots = SlotCount("Dask", lambda: counts.pop(0), None)
    assert [slots.now(0.0), slots.now(LOOK_S / 2), slots.now(LOOK_S)] == [2, 2, 5]


def test_a_fixed_number_is_never_asked_for():
    assert SlotCount("Dask", lambda: 1 // 0, 3).now(0.0) == 3
    assert SlotCount("Dask", lambda: 1 // 0, 3).trouble(1000.0) == ""


def test_having_none_is_trouble_only_when_it_lasts():
    count = 1
    slots = SlotCount("Dask", lambda: count, None)
    assert slots.trouble(0.0) == ""
    count = 0
    assert slots.trouble(10.0) == ""
    assert slots.trouble(9.0 + EMPTY_S) == ""
    assert slots.trouble(10.0 + EMPTY_S) == "Dask has had nothing that could run a job for 60 s"
    count = 1
    assert slots.trouble(11.0 + EMPTY_S + LOOK_S) == ""
    count = 0
    assert slots.trouble(20.0 + EMPTY_S + LOOK_S) == ""
