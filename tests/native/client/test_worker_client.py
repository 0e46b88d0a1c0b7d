"""The client of a worker's tasks: children that are sent, and that are cleared."""

import pickle
import threading
import time

import pytest

from scaler._native import (
    CHILDREN_BYTES,
    Children,
    Interrupts,
    Mappings,
    NestedTasks,
    Origin,
    Segment,
    lay_out_peer,
    peer_segment_bytes,
)
from tests.native.client.played_scheduler import LIFE, Scheduler
from tests.native.runners import make_runner
from tests.processes import wait_until

WORKERS = 9


@pytest.fixture
def parent():
    """The client of a worker's tasks, whose children go to a scheduler elsewhere."""
    memory = Segment.private(peer_segment_bytes(4096, 4096, CHILDREN_BYTES))
    lay_out_peer(memory, bytes(16), 4096, 4096, CHILDREN_BYTES)
    nested_tasks = NestedTasks(
        memory, Mappings(LIFE, "/tmp"), make_runner(), Interrupts(memory), Origin(),
        load_function=lambda data, flags, copy: pickle.loads(data), sends_old=True,
    )  # fmt: skip
    made = Scheduler(1024, nested_tasks)
    made.children = Children(memory)
    yield made
    made.close()


def test_each_child_is_sent_once_though_others_submit_while_there_is_no_room(parent):
    client = parent.client
    futures = [parent.sender.submit(1, (number,), None, None) for number in range(30)]
    assert parent.rings.down.write(WORKERS, items=50) is not None  # so many are sent at a time, and one
    client.serve()  # from now on these are old
    time.sleep(0.06)
    sending = threading.Thread(target=client.serve)
    sending.start()
    wait_until(lambda: parent.is_waited_for(0))
    futures += [parent.sender.submit(1, (number,), None, None) for number in range(20)]
    sent = []
    while len(sent) < len(futures):
        sent += [record[1] for record in iter(parent.rings.tasks.read, None)]
        if not sending.is_alive():
            sending = threading.Thread(target=client.serve)
            sending.start()
    sending.join()
    assert sorted(sent) == [future.task_id for future in futures]
    assert parent.children.steal() is None


def test_children_that_are_cleared_are_for_nobody(parent):
    futures = [parent.sender.submit(1, (number,), None, None) for number in range(5)]
    parent.client.clear()
    assert all(future.cancelled() for future in futures)
    assert parent.children.steal() is None
