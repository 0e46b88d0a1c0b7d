"""Results that are handed in for tasks that came too late for them."""

from types import SimpleNamespace

from scaler._native import (
    pack_inputs,
    pack_supply,
)
from scaler.client.parcel import WithInputs


def test_a_dependant_that_comes_while_a_result_is_handed_in_gets_it_too(scheduler):
    future = scheduler.submit()
    late = []

    class HandedIn:
        """As `ClientObjects.pack_result` makes it; another thread submits while it is tidied away."""

        payload, flags, is_written = pack_supply(0) + b"value", 0, False

        def end(self):
            if not late:
                late.append(scheduler.sender.submit(1, (future,), None, name_future))

    def name_future(value, most_bytes):
        return WithInputs(pack_inputs([future.task_id], 0, 0, False) + b"rest", {future: 0})

    scheduler.client.use(SimpleNamespace(pack_result=lambda *_: HandedIn()))
    first = scheduler.sender.submit(1, (future,), None, name_future)
    scheduler.answer(future, 1)
    assert future.result(0) == 1
    for _ in range(3):
        scheduler.client.call_back()
    supplied = [record[1] for record in iter(scheduler.rings.tasks.read, None)]
    assert supplied.count(future.task_id) == 2
    assert supplied.index(first.task_id) < supplied.index(future.task_id) < supplied.index(late[0].task_id)
    assert supplied[-1] == future.task_id
