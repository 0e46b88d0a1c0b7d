"""What a future keeps once it is done: never its caller's frames, and nothing that the collector cannot see."""

import asyncio
import concurrent.futures
import gc
import weakref

import pytest

from scaler._native import KIND_RESULT, STATUS_RAISED
from scaler.client.parcel import InputEnded
from scaler.exceptions import DeserializeObjectError, DisconnectedError
from scaler.values import payload
from tests.native.client.played_scheduler import Scheduler


class Large:
    """Stands for what a caller's frame holds."""


@pytest.fixture
def scheduler():
    made = Scheduler()
    yield made
    made.close()


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def fail(scheduler, future, error):
    data = payload.describe(error, False)
    assert scheduler.rings.results.write(KIND_RESULT, future.task_id, data, status=STATUS_RAISED) is not None


def failed(scheduler):
    future = scheduler.submit()
    fail(scheduler, future, ValueError("no"))
    return future


def catch_result(scheduler, large):
    future = failed(scheduler)
    with pytest.raises(ValueError, match="no"):
        future.result()


def catch_one_of_many(scheduler, large):
    futures = [failed(scheduler) for _ in range(5)]
    futures[0].add_done_callback(lambda future: None)
    concurrent.futures.wait(futures, 0)
    with pytest.raises(ValueError, match="no"):
        [future.result() for future in futures]


def catch_after_first_exception(scheduler, large):
    future = failed(scheduler)
    concurrent.futures.wait([future], 0, concurrent.futures.FIRST_EXCEPTION)
    assert isinstance(future.exception(), ValueError)
    with pytest.raises(ValueError, match="no"):
        future.result()


def catch_unreadable(scheduler, large):
    future = scheduler.submit()
    scheduler.answer(future, b"no pickle")
    for _ in range(2):
        with pytest.raises(DeserializeObjectError):
            future.result()


def catch_dependant(scheduler, large):
    future = failed(scheduler)
    assert future.done()
    dependant = scheduler.sender.ended_as(future)
    later = scheduler.sender.ended_as(dependant)
    for one in (dependant, later, later):
        with pytest.raises(ValueError, match="no"):
            one.result()
    assert later.exception() is future.exception()
    error = InputEnded(later).error
    assert error is not None
    assert error.args == ("no",)


@pytest.mark.parametrize(
    "how",
    [catch_result, catch_one_of_many, catch_after_first_exception, catch_unreadable, catch_dependant],
    ids=lambda how: how.__name__,
)
def test_a_failure_that_was_caught_keeps_nothing_of_its_callers_frame(scheduler, no_collector, how):
    large = Large()
    gone = weakref.ref(large)
    how(scheduler, large)
    del large
    assert gone() is None


def test_what_exception_gives_stays_the_same_and_what_result_raises_is_new(scheduler):
    future = failed(scheduler)
    raised = []
    for _ in range(2):
        with pytest.raises(ValueError, match="no") as info:
            future.result()
        raised.append(info.value)
    given = future.exception()
    assert given is future.exception() is future._exception
    assert len({id(error) for error in (*raised, given)}) == 3
    assert [error.args for error in raised] == [given.args] * 2
    with pytest.raises(ValueError, match="no") as info:
        future.result()
    assert info.value is not given
    assert "ValueError: no" in str(info.value.__cause__)
    assert "ValueError" in repr(future)


def raise_what_exception_gives(scheduler, large):
    future = failed(scheduler)
    try:
        raise future.exception()
    except ValueError:
        pass


def refer_from_result(scheduler, large):
    future = scheduler.submit()
    scheduler.answer(future, [])
    future.result().append((future, large))


def refer_from_attribute(scheduler, large):
    future = scheduler.submit()
    scheduler.answer(future, 1)
    future.note = (future, large)
    assert future.result() == 1


def refer_from_callback(scheduler, large):
    future = scheduler.submit()
    future.add_done_callback(lambda _: (future, large))
    scheduler.answer(future, 1)
    assert future.result() == 1
    scheduler.client.notifier.run_callbacks()


def await_it(scheduler, large):
    async def wait():
        future = failed(scheduler)
        future.add_done_callback(lambda _: None)
        scheduler.client.look()
        scheduler.client.notifier.run_callbacks()
        with pytest.raises(ValueError, match="no"):
            await future

    asyncio.run(wait())


@pytest.mark.parametrize(
    "how",
    [raise_what_exception_gives, refer_from_result, refer_from_attribute, refer_from_callback, await_it],
    ids=lambda how: how.__name__,
)
def test_a_future_that_is_part_of_a_cycle_is_collected(scheduler, how):
    large = Large()
    gone = weakref.ref(large)
    how(scheduler, large)
    del large
    gc.collect()
    assert gone() is None


def test_what_is_open_or_has_a_plain_result_costs_the_collector_nothing(scheduler):
    future = scheduler.submit()
    assert not gc.is_tracked(future)
    scheduler.answer(future, 1)
    assert future.result() == 1
    assert not gc.is_tracked(future)


def test_a_client_that_is_over_raises_another_exception_each_time(no_collector):
    scheduler = Scheduler()
    open_future, large = scheduler.submit(), Large()
    scheduler.client.on_lost(DisconnectedError("gone for good"))
    scheduler.client.check_scheduler()
    gone = weakref.ref(large)

    def try_everything(large):
        raised = []
        for call in (scheduler.submit, scheduler.client.check_open, open_future.result, open_future.result):
            try:
                call()
            except DisconnectedError as error:
                raised.append(error.args)
        assert raised == [("gone for good",)] * 4

    try_everything(large)
    del large
    assert gone() is None
    assert open_future.exception() is open_future.exception()
    scheduler.close()
