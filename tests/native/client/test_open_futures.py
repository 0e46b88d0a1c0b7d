"""The pages of a client's open futures."""

import gc


def test_pages_of_futures_go_though_one_task_stays_open(scheduler):
    def work():
        future = scheduler.submit()
        scheduler.answer(future, 1)
        assert future.done()

    open_task = scheduler.submit()
    for _ in range(4096 * 5):
        work()
    assert scheduler.client.page_count == 2
    assert scheduler.client.open_tasks == 1
    scheduler.answer(open_task, 2)
    assert open_task.result(20) == 2
    assert scheduler.client.page_count == 1


def test_a_finalizer_that_submits_as_a_page_of_futures_is_made_loses_none(scheduler):
    futures = []

    class Finalized:
        def __init__(self):
            self.itself = self

        def __del__(self):
            futures.append(scheduler.submit())

    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        while scheduler.client.page_count < 3:
            Finalized()
            futures.append(scheduler.submit())
    finally:
        gc.set_threshold(*threshold)
    assert len({future.task_id for future in futures}) == len(futures) == scheduler.client.open_tasks
