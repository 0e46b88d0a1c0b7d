"""Tasks that wait for the results of others, in the core: a random graph is run as its edges say, whatever happens.

Workers here answer with what their inputs were, so a result says how it came about: what each task was given is checked
against a model that knows nothing of the core.
"""

import random
import struct

import pytest

from scaler._native import (
    FLAG_INPUTS,
    FLAG_OBJECTS,
    PLACE_NEW,
    STATUS_OK,
    STATUS_RAISED,
    STATUS_REFUSED,
    STATUS_WORKER_DIED,
    SchedulerCore,
    join_places,
    pack_give_up,
    pack_inputs,
    pack_supply,
)
from tests.effort import seeds
from tests.native.test_core import RESULT, TASK, FakeClient, FakeWorker

FAIL = b"fail"


class GraphClient(FakeClient):
    def node(self, inputs=(), *, promised=0, inner=False, expected=None, rest=b"do"):
        task = (self.bits << 40) | self.next
        self.next += 1
        head = pack_inputs(list(inputs), len(inputs) if expected is None else expected, promised, inner)
        self.say(task, head + rest)
        return task

    def say(self, task, payload, flags=FLAG_INPUTS):
        assert self.submits_out.write(TASK, task, payload, flags=flags) is not None
        self.core.feed_client(self.index, self.submits_in)

    def supply(self, task, value, status=STATUS_OK):
        self.say(task, pack_supply(status) + value)


class GraphWorker(FakeWorker):
    """Answers with the task's number and its inputs, or fails if it is told to."""

    @staticmethod
    def inputs_of(record):
        payload, flags = record[2], record[4]
        if not flags & FLAG_INPUTS:
            return [], payload
        count, section = struct.unpack_from("<II", payload)
        at, inputs = 8, []
        for _ in range(count):
            size, _ = struct.unpack_from("<II", payload, at)
            inputs.append(payload[at + 8 : at + 8 + size])
            at += 8 + (size + 7) // 8 * 8
        assert at == 8 + section
        return inputs, payload[at:]

    def answer(self):
        record, self.running = self.running, None
        assert record is not None
        inputs, rest = self.inputs_of(record)
        task = record[1]
        number = task & 0xFFFFFFFF
        status = STATUS_RAISED if rest == FAIL else STATUS_OK
        self.results_out.write(
            RESULT, task, outcome(number, inputs), function=record[3], attempt=record[6], status=status
        )
        self.core.feed_worker(self.index, self.results_in, 0)


def outcome(number, inputs):
    return b"%d(%s)" % (number, b",".join(inputs)) if len(inputs) < 2 else b"%d[%d]" % (number, len(b"".join(inputs)))


def run_all(core, client, worker):
    while True:
        core.step(0)
        while core.go_on(0):  # many are settled in pieces
            core.check()
        if worker.begin() is None:
            break
        worker.answer()
    while core.go_on(0):
        pass
    client.drain()
    core.check()


def assert_empty(core):
    core.check()
    counts = core.counts()
    assert (counts["rows"], counts["ready"]) == (0, 0)
    assert (core.edges.nodes, core.edges.blobs, core.edges.blob_bytes) == (0, 0, 0)


@pytest.fixture
def core():
    return SchedulerCore()


@pytest.fixture
def client(core):
    return GraphClient(core, 5)


@pytest.fixture
def worker(core):
    return GraphWorker(core)


def test_a_task_runs_when_its_last_input_has_come_and_gets_them_all(core, client, worker):
    a = client.node(promised=1, inner=True)
    b = client.node(promised=1, inner=True)
    c = client.node([a, b])
    run_all(core, client, worker)
    assert client.answers == [(c, STATUS_OK, outcome(3, [b"1()", b"2()"]))]
    assert_empty(core)


def test_an_input_that_has_ended_is_kept_for_those_that_were_promised(core, client, worker):
    a = client.node(promised=2, inner=True)
    run_all(core, client, worker)
    assert core.counts()["rows"] == 1
    b = client.node([a])
    run_all(core, client, worker)
    assert core.counts()["rows"] == 1
    c = client.node([a])
    run_all(core, client, worker)
    assert client.answers == [(b, STATUS_OK, b"2(1())"), (c, STATUS_OK, b"3(1())")]
    assert_empty(core)


def test_the_same_input_twice(core, client, worker):
    a = client.node(promised=2, inner=True)
    b = client.node([a, a])
    run_all(core, client, worker)
    assert client.answers == [(b, STATUS_OK, b"2[6]")]
    assert_empty(core)


def test_a_result_may_be_wanted_by_client_and_tasks(core, client, worker):
    a = client.node(promised=1)
    b = client.node([a])
    run_all(core, client, worker)
    assert client.answers == [(a, STATUS_OK, b"1()"), (b, STATUS_OK, b"2(1())")]
    assert_empty(core)


def test_failure_goes_to_exactly_the_dependants(core, client, worker):
    a = client.node(promised=1, inner=True, rest=FAIL)
    b = client.node([a], promised=1, inner=True)
    c = client.node([b])
    d = client.node()
    run_all(core, client, worker)
    late = client.node([a], expected=0)
    assert sorted(client.answers) == [(c, STATUS_RAISED, b"1()"), (d, STATUS_OK, b"4()")]
    client.supply(a, b"why", STATUS_RAISED)
    client.drain()
    assert client.answers[-1] == (late, STATUS_RAISED, b"why")
    assert_empty(core)


def test_a_failed_input_is_kept_for_those_that_were_promised(core, client, worker):
    a = client.node(promised=1, inner=True, rest=FAIL)
    run_all(core, client, worker)
    b = client.node([a])
    client.drain()
    assert client.answers == [(b, STATUS_RAISED, b"1()")]
    assert_empty(core)


def test_a_chain_of_failures_does_not_recurse(core, client, worker):
    last = client.node(promised=1, inner=True, rest=FAIL)
    for _ in range(20_000):
        last = client.node([last], promised=1, inner=True)
    last = client.node([last])
    run_all(core, client, worker)
    assert client.answers == [(last, STATUS_RAISED, b"1()")]
    assert_empty(core)


def test_what_only_a_cancelled_task_needed_is_cancelled_too(core, client, worker):
    other = client.submit()  # keeps the worker busy
    core.step(0)
    worker.begin()
    last = client.node(promised=1, inner=True)
    for _ in range(20_000):
        last = client.node([last], promised=1, inner=True)
    last = client.node([last])
    core.on_cancel(client.index, last, 0)
    while core.go_on(0):
        core.check()
    assert core.counts()["rows"] == 1
    worker.answer()
    client.drain()
    assert [answer[0] for answer in client.answers] == [other]
    assert_empty(core)


def test_a_cancelled_task_goes_on_for_those_that_need_it(core, client, worker):
    a = client.node(promised=1)
    core.on_cancel(client.index, a, 0)
    b = client.node([a])
    run_all(core, client, worker)
    assert client.answers == [(b, STATUS_OK, b"2(1())")]
    assert_empty(core)


def test_a_task_runs_while_it_is_cancelled_as_nobody_needs_it(core, client, worker):
    a = client.node(promised=1, inner=True)
    b = client.node([a])
    core.step(0)
    worker.begin()
    core.on_cancel(client.index, b, 0)
    worker.answer()
    run_all(core, client, worker)
    assert client.answers == []
    assert_empty(core)


def test_one_that_came_too_late_waits_for_what_the_client_hands_in(core, client, worker):
    a = client.submit()
    core.step(0)
    worker.begin()
    worker.answer()
    b, c, d = (client.node([a], expected=0) for _ in range(3))
    core.on_cancel(client.index, c, 0)
    run_all(core, client, worker)
    client.supply(a, b"value")
    client.supply(a, b"again, which nobody waits for")
    run_all(core, client, worker)
    assert client.answers[1:] == [(b, STATUS_OK, b"2(value)"), (d, STATUS_OK, b"4(value)")]
    assert_empty(core)


def test_what_waits_for_what_cannot_be_handed_in_says_so(core, client, worker):
    """A client elsewhere hands in an object for which there was no room here."""
    a = client.submit()
    run_all(core, client, worker)
    b, c = client.node([a], expected=0), client.node([a], expected=0)
    no_room = join_places([(client.bits << 40 | 7, 0, 0, 1 << 20, PLACE_NEW)], pack_supply(STATUS_OK))
    client.say(a, no_room, FLAG_INPUTS | FLAG_OBJECTS)
    run_all(core, client, worker)
    assert {(task, status) for task, status, _ in client.answers[1:]} == {(b, STATUS_REFUSED), (c, STATUS_REFUSED)}
    assert all(b"no room" in text for _, _, text in client.answers[1:])
    assert_empty(core)


def test_many_that_wait_for_many_things_are_each_served_by_their_own(core, client, worker):
    """Far more than the lists in which they are found have been made for."""
    n = 5000
    ended = [client.submit() for _ in range(n)]
    for _ in range(n):
        core.step(0)
        worker.begin()
        worker.answer()
        client.drain()
    client.answers.clear()
    chance = random.Random(1)
    waiting = {client.node([task], expected=0): task for task in ended}
    twice = {client.node([task, task], expected=0): task for task in ended[:100]}
    cancelled = chance.sample(sorted(waiting), n // 2)
    for task in cancelled:
        core.on_cancel(client.index, task, 0)
    chance.shuffle(ended)
    for task in ended:
        client.supply(task, b"%d" % (task & 0xFFFF))
        run_all(core, client, worker)
    expected = {task: b"%d(%d)" % (task & 0xFFFFFFFF, waiting[task] & 0xFFFF) for task in waiting}
    for task in cancelled:
        del expected[task]
    for task, wanted in twice.items():
        expected[task] = b"%d[%d]" % (task & 0xFFFFFFFF, 2 * len(str(wanted & 0xFFFF)))
    assert {task: text for task, _, text in client.answers} == expected
    assert_empty(core)


def test_the_last_row_of_many_may_end_with_the_task_that_has_just_come(core, client, worker):
    """A late dependant of a failure that was kept, as the first of its slab, when all else has gone."""
    failed = client.node(promised=1, inner=True, rest=FAIL)
    run_all(core, client, worker)
    for _ in range(4200):
        client.submit()
    while core.counts()["rows"] > 1:
        core.step(0)
        if worker.begin() is not None:
            worker.answer()
        client.drain()
    client.answers.clear()
    late = client.node([failed])
    client.drain()
    assert client.answers == [(late, STATUS_RAISED, b"1()")]
    assert_empty(core)
    run_all(core, client, worker)
    again = client.submit()
    run_all(core, client, worker)
    assert client.answers[-1][:2] == (again, STATUS_OK)


def test_a_result_says_how_many_were_served(core, client, worker):
    a = client.submit()
    client.node([a], expected=0)
    client.node([a], expected=0)
    core.step(0)
    worker.begin()
    worker.answer()
    assert client.results.read().detail == 2
    run_all(core, client, worker)
    assert_empty(core)


def test_giving_up_ends_what_waits_for_dependants(core, client, worker):
    kept = client.node(promised=1, inner=True)
    run_all(core, client, worker)
    waiting = client.node([kept], promised=1, inner=True)
    ready = client.node(promised=1, inner=True)
    for task in (waiting, ready, kept):
        client.say(task, pack_give_up())
    assert_empty(core)


@pytest.mark.parametrize(
    "inputs",
    [[(6 << 40) | 1], [(5 << 40) | 1], [(5 << 40) | 9]],
    ids=["another client's", "itself", "a later one"],
)
def test_inputs_that_make_no_sense_are_refused(core, client, worker, inputs):
    task = client.node(inputs, expected=0)
    client.drain()
    assert [answer[:2] for answer in client.answers] == [(task, STATUS_REFUSED)]
    assert_empty(core)


@pytest.mark.parametrize("payload", [b"", b"x" * 15, struct.pack("<4I", 2, 0, 0, 0) + b"12345678"])
def test_a_payload_that_is_cut_off_is_refused(core, client, worker, payload):
    client.say((5 << 40) | 1, payload)
    client.drain()
    assert [answer[1] for answer in client.answers] == [STATUS_REFUSED]
    assert_empty(core)


def test_a_task_whose_inputs_had_been_cancelled_says_so(core, client, worker):
    b = client.node([(5 << 40) | 0], rest=b"x")
    client.drain()
    assert [answer[:2] for answer in client.answers] == [(b, STATUS_REFUSED)]
    assert b"cancelled" in client.answers[0][2]
    assert_empty(core)


def test_a_node_that_kills_its_workers_fails_its_dependants(core, client):
    a = client.node(promised=1, inner=True)
    b = client.node([a])
    for _ in range(10):
        worker = GraphWorker(core)
        core.step(0)
        worker.begin()
        core.on_worker_left(worker.index, 0)
    client.drain()
    assert [answer[:2] for answer in client.answers] == [(b, STATUS_WORKER_DIED)]
    assert_empty(core)


def test_everything_goes_with_its_client(core, worker):
    client = GraphClient(core, 7)
    a = client.node(promised=2, inner=True)
    run_all(core, client, worker)
    b = client.node([a], promised=1, inner=True)
    client.node([b], promised=5, inner=True)
    client.node([(7 << 40) | 1], expected=0)
    core.step(0)
    worker.begin()
    core.on_client_left(client.index, 0)
    worker.answer()
    core.step(0)
    assert_empty(core)


def test_clearing_cancels_graphs(core, client, worker):
    a = client.node(promised=1, inner=True)
    b = client.node([a], promised=3)
    client.node([b], promised=1, inner=True)
    core.on_clear(client.index, 0)
    run_all(core, client, worker)
    assert client.answers == []
    assert_empty(core)


@pytest.mark.parametrize("seed", seeds(60))
def test_random_graphs_end_as_their_edges_say(seed):
    """With failures, workers that die, cancels, and the client handing in what it was too late for."""
    chance = random.Random(seed)
    core = SchedulerCore()
    client = GraphClient(core, 5, capacity=chance.choice([1024, 65536]))
    workers = [GraphWorker(core, capacity=chance.choice([2048, 65536])) for _ in range(3)]
    n = chance.randrange(1, 60)
    inputs = [[chance.randrange(i) for _ in range(chance.randrange(4))] if i else [] for i in range(n)]
    uses = [sum(row.count(i) for row in inputs) for i in range(n)]
    inner = [uses[i] > 0 and chance.random() < 0.7 for i in range(n)]
    fails = [chance.random() < 0.05 for _ in range(n)]
    ids, cancelled, sent = [], set(), 0
    wanted: list[tuple[int, bytes]] = []
    for i in range(n):
        given = [wanted[j] for j in inputs[i]]
        failed = [value for status, value in given if status == STATUS_RAISED]
        if failed:
            wanted.append((STATUS_RAISED, failed[0]))
        else:
            value = outcome(i + 1, [value for _, value in given])
            wanted.append((STATUS_RAISED if fails[i] else STATUS_OK, value))
        ids.append((5 << 40) | (i + 1))
    while True:
        event = chance.randrange(6)
        if event <= 1 and sent < n:
            rest = FAIL if fails[sent] else b"do"
            client.node([ids[j] for j in inputs[sent]], promised=uses[sent], inner=inner[sent], rest=rest)
            sent += 1
        elif event == 2 and sent and chance.random() < 0.1:
            victim = chance.randrange(sent)
            if not inner[victim] and ids[victim] not in {answer[0] for answer in client.answers}:
                cancelled.add(victim)
                core.on_cancel(client.index, ids[victim], 0)
        elif event == 3 and chance.random() < 0.05:
            k = chance.randrange(3)
            if workers[k].running is None:  # else its task would be charged, and might fail
                core.on_worker_left(workers[k].index, 0)
                workers[k] = GraphWorker(core)
        elif event == 4:
            client.drain()
        else:
            worker = chance.choice(workers)
            core.step(0)
            if worker.begin() is not None:
                worker.answer()
        core.check()
        if sent == n and not core.counts()["rows"]:
            break
    client.drain()
    answers = {task: (status, payload) for task, status, payload in client.answers}
    assert len(answers) == len(client.answers)
    for i in range(n):
        if i not in cancelled:
            assert answers.get(ids[i]) == (None if inner[i] else wanted[i])
    assert_empty(core)


def test_inputs_that_are_written_into_an_object_which_cannot_be_are_not_held(core, client, worker):
    """A store that gives out what is nowhere: the task is refused, and holds nothing of it."""
    freed = []

    class OddStore:
        def reserve(self, number, size):
            return core.own_tag << 40 | 1, 0, 0, size, 0

        def fill(self, number, offset, data):
            pass

        def place_of(self, number):
            return number, 0, 0, 42_072, 0

        def free(self, number):
            freed.append(number)

    core.edges.store = OddStore()
    first = client.submit()
    run_all(core, client, worker)
    late = client.node([first] * 6, expected=0)
    client.supply(first, bytes(7000))
    client.drain()
    assert [answer[:2] for answer in client.answers] == [(first, STATUS_OK), (late, STATUS_REFUSED)]
    assert freed == [core.own_tag << 40 | 1]
    assert len(core.objects) == 0
    assert_empty(core)


def finish_small(worker, answer=b""):
    """Answer with little, whatever the task was given."""
    worker.running = worker.running._replace(payload=answer)
    worker.finish()


def with_gone(quota_bytes, count=1):
    """A core with this quota, a client, and ids of tasks of its that have gone: what names one waits for a supply."""
    core = SchedulerCore()
    core.client_queue_bytes = quota_bytes
    client = GraphClient(core, 5)
    client.next = 1 + count
    return core, client, *[client.bits << 40 | number for number in range(1, 1 + count)]


def test_inputs_are_written_for_as_many_tasks_as_the_quota_allows_and_the_others_have_their_turn_later():
    core, client, gone = with_gone(400_000)
    worker = FakeWorker(core)
    tasks = [client.node([gone] * 4, expected=0) for _ in range(100)]
    client.supply(gone, bytes(6000))
    core.step(0)
    core.check()
    done = []
    while len(done) < len(tasks):
        assert core.kept_bytes(client.index) < 400_000
        done.append(worker.begin().task)
        finish_small(worker)
        core.step(0)
        client.drain()
        core.check()
    assert sorted(done) == tasks
    counts = core.counts()
    assert (counts["rows"], len(core.edges), core.edges.blobs) == (0, 0, 0)


def test_a_task_whose_inputs_alone_are_more_than_their_share_has_its_turn():
    core, client, gone = with_gone(60_000)
    worker = FakeWorker(core)
    tasks = [client.node([gone] * 3, expected=0) for _ in range(3)]
    client.supply(gone, bytes(7000))
    for _ in tasks:
        core.step(0)
        assert core.counts()["ready"] + (worker.begin() is not None) == 1
        finish_small(worker)
    core.step(0)
    assert core.counts()["rows"] == 0
    core.check()


@pytest.mark.parametrize("end", ["cancelled", "cleared", "left"])
def test_tasks_that_are_put_off_end_as_others_do(end):
    core, client, gone = with_gone(80_000)
    worker = FakeWorker(core)
    tasks = [client.node([gone] * 3, expected=0) for _ in range(9)]
    client.supply(gone, bytes(6000))
    core.step(0)
    assert worker.begin() is not None
    core.check()
    if end == "cancelled":
        for task in tasks:
            core.on_cancel(client.index, task, 0)
            core.check()
    elif end == "cleared":
        core.on_clear(client.index, 0)
    else:
        core.on_client_left(client.index, 0)
    core.check()
    finish_small(worker)
    core.step(0)
    core.check()
    assert (core.counts()["rows"], len(core.edges), core.edges.blobs) == (0, 0, 0)


def test_a_task_that_is_put_off_is_taken_up_though_the_one_taken_up_before_it_has_ended_at_once():
    core, client, *gone = with_gone(80_000, 3)
    written, next_up, last = (client.node([name] * 3, expected=0) for name in gone)
    for name in (gone[0], gone[2], gone[1]):  # so the last is put off before the one that is cleared, and behind it
        client.supply(name, bytes(6000))
        core.step(0)
        core.check()
    assert written < next_up < last
    core.on_clear(client.index, 0, last)  # what was written ends, the next is taken up, and ends in the same event
    core.step(0)
    core.check()
    worker = FakeWorker(core)
    core.step(0)
    assert worker.begin().task == last
    finish_small(worker)
    core.step(0)
    core.check()
    assert core.counts()["rows"] == 0


def test_a_task_that_is_put_off_is_not_passed_by_smaller_ones_that_come_later():
    core, client, gone = with_gone(80_000)
    worker = FakeWorker(core)
    small = [client.node([gone], expected=0) for _ in range(2)]
    client.supply(gone, bytes(6000))
    core.step(0)
    large = client.node([gone] * 3, expected=0)  # it has no room beside one of them
    client.supply(gone, bytes(6000))
    core.step(0)
    done = []
    while large not in done:
        assert len(done) < 4
        small.append(client.node([gone], expected=0))
        client.supply(gone, bytes(6000))
        core.step(0)
        core.check()
        done.append(worker.begin().task)
        finish_small(worker)
        core.step(0)
        core.check()
    for _ in small:
        core.step(0)
        if (begun := worker.begin()) is not None:
            done.append(begun[1])
            finish_small(worker)
    core.step(0)
    core.check()
    assert sorted(done) == sorted([*small, large])
    assert core.counts()["rows"] == 0


def test_tasks_that_are_put_off_are_written_in_the_order_in_which_they_came():
    core, client, *gone = with_gone(80_000, 6)
    worker = FakeWorker(core)
    tasks = [client.node([name] * 3, expected=0) for name in gone]
    for name in gone:
        client.supply(name, bytes(6000))
    done = []
    for _ in tasks:
        core.step(0)
        done.append(worker.begin().task)
        finish_small(worker)
        core.check()
    assert done == tasks


@pytest.mark.parametrize("count", range(30))
def test_if_memory_runs_out_while_inputs_are_written_the_task_holds_all_of_them_or_none(count):
    """The allocation of Python's with this number fails."""
    core = SchedulerCore()
    client, worker = GraphClient(core, 5), FakeWorker(core)
    tag = core.worker_tag(worker.index)
    inputs = [client.node(promised=1, inner=True) for _ in range(3)]
    for number in range(1, 4):
        core.step(0)
        given, worker.running = worker.begin(), None
        made = join_places([(tag << 40 | number, tag << 32 | 1, 0, 100, PLACE_NEW)])
        worker.results_out.write(
            RESULT, given.task, made, function=given.function, attempt=given.attempt, flags=FLAG_OBJECTS
        )
        core.feed_worker(worker.index, worker.results_in, 0)
    core.check()
    assert len(core.objects) == 3
    task = client.bits << 40 | client.next
    assert client.submits_out.write(TASK, task, pack_inputs(inputs, 3, 0, False) + b"do", flags=FLAG_INPUTS) is not None
    allocator = pytest.importorskip("_testcapi", reason="this Python comes without the allocator of its own tests")
    allocator.set_nomemory(count, count + 1)
    try:
        core.feed_client(client.index, client.submits_in)
    finally:
        allocator.remove_mem_hooks()
    core.step(0)
    core.check()
    if worker.begin() is not None:
        finish_small(worker)
    core.step(0)
    client.drain()
    assert [answer[0] for answer in client.answers] == [task]
    assert len(core.objects) == 0
    assert_empty(core)


def test_results_that_nobody_names_are_kept_up_to_the_quota():
    core = SchedulerCore()
    core.client_queue_bytes = 100_000
    client, worker = GraphClient(core, 5), FakeWorker(core)
    kept = [client.node(promised=1, inner=True) for _ in range(20)]
    for _ in kept:
        core.step(0)
        worker.begin()
        finish_small(worker, bytes(7000))
    core.step(0)
    core.check()
    assert 50_000 < core.edges.blob_bytes < core.kept_bytes(client.index) <= 62_500 + 25_000  # the shares of both
    late = [client.node([task]) for task in (kept[-1], kept[0])]  # the youngest have run first
    core.step(0)
    assert worker.begin().task == late[0]
    client.drain()
    assert [(task, status) for task, status, _ in client.answers] == [(late[1], STATUS_REFUSED)]
    core.check()
