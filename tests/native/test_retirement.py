"""When a worker retires."""

from scaler._native import Retirement

MS = 1_000_000


def test_by_default_never():
    retirement = Retirement()
    assert not any(retirement.on_task(1000, i * 1000 * MS) for i in range(1000))
    assert retirement.reason == ""


def test_after_so_many_tasks_each_call_of_a_map_being_one():
    retirement = Retirement(most_tasks=10)
    assert [retirement.on_task(items, 0) for items in (0, 0, 1, 5)] == [False] * 4
    assert retirement.on_task(7, 0)
    assert retirement.reason == "it has run 15 tasks"


def test_with_more_memory_than_it_may_have():
    assert Retirement(most_bytes=1).on_task(0, 1 << 62)
    retirement = Retirement(most_bytes=1 << 50)
    assert not retirement.on_task(0, 1 << 62)
    assert retirement.reason == ""
