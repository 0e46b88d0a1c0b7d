"""A client in a forked child."""

import concurrent.futures
import os

import pytest

from scaler.exceptions import DisconnectedError


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_finds_its_parents_futures_cancelled_and_leaves_the_rings_alone(scheduler):
    plain, waited_for, locked, answered = (scheduler.submit() for _ in range(4))
    called = []
    waited_for.add_done_callback(called.append)
    scheduler.answer(answered, 1)
    with locked._condition:  # by a thread of the parent, as far as the child can tell
        child = os.fork()
    if child == 0:
        status = 1
        try:
            scheduler.client.abandon()
            scheduler.client.leave(DisconnectedError("forked"))
            plain.cancel()
            assert answered.done()
            assert concurrent.futures.wait([plain, waited_for, locked, answered], 20).not_done == set()
            assert all(future.cancelled() for future in (plain, waited_for, locked, answered))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    scheduler.answer(waited_for, 2)
    assert [answered.result(20), waited_for.result(20)] == [1, 2]
    assert scheduler.rings.up.read() is None
