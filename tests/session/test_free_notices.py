"""What a client elsewhere may free is said behind the results that have made it free."""

from scaler.session.free_notices import FreeNotices


def test_small_results_go_first_by_their_positions():
    freed = FreeNotices()
    freed.add([1, 2], 100)
    freed.add([3], 100)
    freed.add([4], 164)
    assert freed.take(99) == []
    assert freed.take(100) == [1, 2, 3]
    assert freed.take(100) == []
    assert freed.take(1000) == [4]


def test_large_results_go_first_that_had_begun():
    freed = FreeNotices()
    first = freed.on_large_begun()
    freed.add([1], 0)
    second = freed.on_large_begun()
    freed.add([2], 0)
    freed.on_large_said(second)
    assert freed.take(0) == []
    freed.on_large_said(first)
    third = freed.on_large_begun()
    freed.add([3], 0)
    assert freed.take(0) == [1, 2]
    freed.on_large_said(third)
    assert freed.take(0) == [3]
