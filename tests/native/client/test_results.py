"""Results that are taken off their ring, and objects that are freed only behind them."""

import pickle

from scaler._native import (
    FLAG_PLAIN,
    PLACE_NEW,
    join_places,
)

RESULT = 2
FREED = 11
OBJECTS = 1


def test_a_submit_takes_results_when_their_ring_is_half_full(scheduler):
    first = scheduler.submit()
    scheduler.answer(first, 1)
    assert first.result(20) == 1
    futures = [scheduler.submit() for _ in range(5)]
    for future in futures:
        scheduler.answer(future, b"x" * (scheduler.rings.most_inline - 8), FLAG_PLAIN)
    scheduler.submit()
    assert all(future.is_over for future in futures)


def test_a_result_that_makes_no_sense_is_its_futures_failure(scheduler):
    broken, good = scheduler.submit(), scheduler.submit()
    scheduler.answer(broken, b"\x80\x05\x8c\x02\xff\xff.", FLAG_PLAIN)  # no UTF-8
    scheduler.answer(good, 1)
    assert good.result(20) == 1
    assert isinstance(broken.exception(20), ValueError)


def is_there(store, object_id):
    try:
        store.place_of(object_id)
    except KeyError:
        return False
    return True


def test_an_object_is_freed_once_the_results_have_been_taken_that_came_before(scheduler):
    store = scheduler.store
    objects = [store.put(bytes(100_000), PLACE_NEW)[0] for _ in range(2)]
    future = scheduler.submit()
    assert scheduler.rings.results.write(RESULT, future.task_id, pickle.dumps(7)) is not None
    assert scheduler.rings.down.write(FREED, 0, objects[0].to_bytes(8, "little")) is not None
    scheduler.client.count_workers()  # reads what the scheduler says besides
    assert is_there(store, objects[0])
    assert future.result(0) == 7
    assert not is_there(store, objects[0])
    assert scheduler.rings.down.write(FREED, 0, objects[1].to_bytes(8, "little")) is not None
    scheduler.client.count_workers()
    assert not is_there(store, objects[1])


def test_nothing_is_freed_any_more_when_a_result_went_with_the_scheduler(scheduler):
    """Its task is sent again to the next one, and may name what this one says is free."""
    kept = scheduler.store.put(bytes(100_000), PLACE_NEW)[0]
    future = scheduler.submit()
    gone = join_places([(7 << 40 | 1, 7 << 32 | 1, 0, 100_000, PLACE_NEW)])
    scheduler.answer(future, gone, OBJECTS)
    scheduler.die()
    assert scheduler.rings.down.write(FREED, 0, kept.to_bytes(8, "little")) is not None
    scheduler.client.look()
    scheduler.client.count_workers()
    assert not future.done()
    assert is_there(scheduler.store, kept)
