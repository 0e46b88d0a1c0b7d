"""Cancelled futures, and how the scheduler hears of them."""

import threading

from scaler.client.background import BackgroundThread
from scaler.exceptions import DisconnectedError
from tests.native.client.played_scheduler import fill_up_ring
from tests.processes import wait_until

CLEAR = 6


def test_thousands_are_cancelled_though_their_reader_is_a_thread_of_this_process(scheduler):
    futures = [scheduler.submit() for _ in range(5000)]
    heard = []

    def read():
        while len(heard) < len(futures):
            record = scheduler.rings.up.read()
            if record is not None:
                heard.append(record[1])

    reader = threading.Thread(target=read)
    reader.start()
    assert all(future.cancel() for future in futures)
    while reader.is_alive():
        scheduler.client.tend()
    reader.join(60)
    assert heard == [future.task_id for future in futures]


def test_a_cancel_never_waits_and_is_said_when_there_is_room(scheduler):
    futures = [scheduler.submit() for _ in range(5000)]
    called = []
    futures[0].add_done_callback(called.append)
    fill_up_ring(scheduler)
    assert all(future.cancel() for future in futures)  # nobody reads
    assert called == [futures[0]]
    heard = []
    background = BackgroundThread(scheduler.client, scheduler.event)
    while len(heard) < len(futures):
        record = scheduler.rings.up.read()
        if record is not None and record[1]:
            heard.append(record[1])
    background.stop()
    assert heard == [future.task_id for future in futures]


def test_a_cancel_after_the_scheduler_has_gone_is_no_error(scheduler):
    future, other = scheduler.submit(), scheduler.submit()
    fill_up_ring(scheduler)
    scheduler.die()
    assert future.cancel()
    scheduler.client.check_scheduler()
    assert future.cancelled()
    assert isinstance(other.exception(0), DisconnectedError)
    assert not other.cancel()


def test_what_is_submitted_while_a_clear_waits_for_room_is_not_cleared(scheduler):
    before = scheduler.submit()
    fill_up_ring(scheduler)
    clearing = threading.Thread(target=scheduler.client.clear)
    clearing.start()
    wait_until(lambda: scheduler.is_waited_for(2))
    after = scheduler.submit()
    while (record := scheduler.rings.up.read()) is None or record[0] != CLEAR:
        pass
    clearing.join()
    assert before.cancelled()
    assert before.task_id < record[1] <= after.task_id
    assert not after.done()
    scheduler.answer(after, 7)
    assert after.result(0) == 7
