"""The core against a model: any order of events, and after each of them everything is where it must be."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scaler._native import SchedulerCore
from tests.effort import rounds, seeds
from tests.native.model import MS, LocalWorker, Model, ModelClient, RemoteWorker

MOST_CLIENTS, MOST_WORKERS, MOST_FUNCTIONS = 4, 4, 30
DURATIONS_NS = st.sampled_from([0, 20_000, MS - 1, MS, 3 * MS, 5000 * MS])


class CoreMachine(RuleBasedStateMachine):
    """Rules do one thing to the core and tell the model what follows from it."""

    def __init__(self):
        super().__init__()
        self.model = Model(SchedulerCore(epoch=9))
        self.core = self.model.core
        self.bits = 0

    @property
    def remote_workers(self):
        return [worker for worker in self.model.workers if isinstance(worker, RemoteWorker)]

    def one_of(self, data, things):
        return things[data.draw(st.integers(0, len(things) - 1))]

    # who is there

    @initialize(is_small=st.booleans(), is_remote=st.booleans())
    def somebody_is_there(self, is_small, is_remote):
        self.client_joins(is_small)
        self.worker_joins(is_remote, 1000)

    @precondition(lambda self: len(self.model.clients) < MOST_CLIENTS and self.model.workers)
    @rule(data=st.data(), is_small=st.booleans())
    def task_makes_a_client(self, data, is_small):
        self.bits += 1
        worker = self.one_of(data, self.model.workers)
        self.model.clients.append(ModelClient(self.model, self.bits, 1024 if is_small else 65536, worker))

    @precondition(lambda self: len(self.model.clients) < MOST_CLIENTS)
    @rule(is_small=st.sampled_from([True, True, False]))
    def client_joins(self, is_small):
        self.bits += 1
        self.model.clients.append(ModelClient(self.model, self.bits, 1024 if is_small else 65536))

    @precondition(lambda self: self.model.clients)
    @rule(data=st.data())
    def client_leaves(self, data):
        client = self.one_of(data, self.model.clients)
        for number, task in self.model.tasks.items():
            if task.client is client:
                self.model.on_unwanted(number)
        self.model.on_client_left(client)

    @precondition(lambda self: len(self.model.workers) < MOST_WORKERS)
    @rule(is_remote=st.booleans(), queue_size=st.sampled_from([1, 3, 1000]))
    def worker_joins(self, is_remote, queue_size):
        made = (RemoteWorker if is_remote else LocalWorker)(self.model, queue_size)
        self.model.workers.append(made)

    @precondition(lambda self: self.model.workers)
    @rule(data=st.data())
    def worker_dies(self, data):
        self.model.on_worker_died(self.one_of(data, self.model.workers))

    @precondition(lambda self: self.remote_workers)
    @rule(data=st.data())
    def host_dies(self, data):
        self.model.on_worker_died(self.one_of(data, self.remote_workers), with_its_host=True)

    @precondition(lambda self: any(worker.set_aside for worker in self.remote_workers))
    @rule(data=st.data())
    def objects_come(self, data):
        self.one_of(data, [worker for worker in self.remote_workers if worker.set_aside]).objects_come()

    @rule(data=st.data(), times=st.integers(1, 5), is_remote=st.booleans())
    def workers_come_begin_and_die(self, data, times, is_remote):
        for _ in range(times):
            made = (RemoteWorker if is_remote else LocalWorker)(self.model, 1000)
            self.model.workers.append(made)
            self.model.settle()
            made.claim()
            self.model.on_worker_died(made)

    # clients

    @precondition(lambda self: self.model.clients)
    @rule(
        data=st.data(), n=st.integers(1, 30), function=st.integers(1, MOST_FUNCTIONS), size=st.integers(0, 72),
        objects=st.sampled_from(["none", "none", "new", "held", "old"]), priority=st.sampled_from([0, 0, 0, -15, 7]),
    )  # fmt: skip
    def submit(self, data, n, function, size, objects, priority):
        client = self.one_of(data, self.model.clients)
        root, depth = None, 0
        if client.is_nested:
            root, depth = self.one_of(data, [None, *self.model.clients]), data.draw(st.sampled_from([0, 2]))
        for _ in range(n):
            client.submit(function, size, objects, max(priority, 0) if client.is_nested else priority, root, depth)

    @precondition(lambda self: any(client.numbers for client in self.model.clients))
    @rule(data=st.data(), most=st.integers(1, 5))
    def forget(self, data, most):
        client = self.one_of(data, [client for client in self.model.clients if client.numbers])
        for function in list(client.numbers)[:most]:
            client.forget(function)

    @precondition(lambda self: any(client.held_objects for client in self.model.clients))
    @rule(data=st.data())
    def release_an_object(self, data):
        self.one_of(data, [client for client in self.model.clients if client.held_objects]).release_held()

    @precondition(lambda self: any(client.next > 1 for client in self.model.clients))
    @rule(data=st.data())
    def cancel(self, data):
        client = self.one_of(data, [client for client in self.model.clients if client.next > 1])
        client.read_ring()
        number = client.id_of(data.draw(st.integers(1, client.next)))  # the last of these was never submitted
        self.core.on_cancel(client.index, number, self.model.now)
        if number in self.model.tasks:
            self.model.on_unwanted(number)

    @precondition(lambda self: self.model.clients)
    @rule(data=st.data(), later=st.integers(0, 5))
    def clear(self, data, later):
        client = self.one_of(data, self.model.clients)
        client.read_ring()
        before = max(1, client.next - later)
        self.core.on_clear(client.index, self.model.now, client.id_of(before))
        for number in range(1, before):
            self.model.on_unwanted(client.id_of(number))

    @precondition(lambda self: self.model.clients)
    @rule(data=st.data())
    def read(self, data):
        self.one_of(data, self.model.clients).drain()

    @precondition(lambda self: any(client.read for client in self.model.clients))
    @rule(data=st.data())
    def release_result(self, data):
        client = self.one_of(data, [client for client in self.model.clients if client.read])
        client.release_result(self.one_of(data, sorted(client.read)))

    @rule()
    def everybody_hears(self):
        self.model.hear()

    @precondition(lambda self: any(client.numbers for client in self.model.clients))
    @rule(data=st.data())
    def submit_an_open_task_again(self, data):
        client = self.one_of(data, [client for client in self.model.clients if client.numbers])
        held = {number for worker in self.model.workers for number in worker.held}
        waiting = set(client.undelivered())
        open_tasks = [
            number
            for number, task in self.model.tasks.items()
            if task.client is client and (number in held or number in waiting or (task.wanted and not task.result))
        ]
        if open_tasks:
            client.submit_again(self.one_of(data, open_tasks))

    # workers

    @precondition(lambda self: self.model.workers)
    @rule(data=st.data())
    def claim(self, data):
        worker = self.one_of(data, self.model.workers)
        if worker.running is None:
            worker.claim()

    @precondition(lambda self: any(worker.running for worker in self.model.workers))
    @rule(
        data=st.data(), duration_ns=DURATIONS_NS, makes_object=st.sampled_from([False, False, False, True]),
        keeps=st.booleans(),
    )  # fmt: skip
    def finish(self, data, duration_ns, makes_object, keeps):
        worker = self.one_of(data, [worker for worker in self.model.workers if worker.running])
        worker.finish(duration_ns, makes_object, keeps)

    @precondition(lambda self: any(worker.runs_unwanted() for worker in self.model.workers))
    @rule(data=st.data(), is_killed=st.sampled_from([False, False, True]))
    def what_nobody_wants_is_stopped(self, data, is_killed):
        worker = self.one_of(data, [worker for worker in self.model.workers if worker.runs_unwanted()])
        if is_killed:
            self.model.on_worker_killed(worker)
        else:
            worker.stop()

    @precondition(lambda self: self.model.workers)
    @rule(data=st.data())
    def worker_releases(self, data):
        self.one_of(data, self.model.workers).release()

    @precondition(lambda self: self.model.workers)
    @rule(data=st.data(), most=st.integers(1, 40), makes_object=st.booleans())
    def work_quickly(self, data, most, makes_object):
        """Often enough for a client that does not read to have its ring full."""
        worker = self.one_of(data, self.model.workers)
        for _ in range(most):
            if worker.running is None and worker.claim() is None:
                break
            worker.finish(1000, makes_object)
            self.model.settle()

    @precondition(lambda self: any(worker.last_result for worker in self.model.workers))
    @rule(data=st.data())
    def a_result_comes_twice(self, data):
        worker = self.one_of(data, [worker for worker in self.model.workers if worker.last_result])
        late = self.core.counts()["late"]
        worker.send_late(*worker.last_result)
        assert self.core.counts()["late"] == late + 1

    @precondition(lambda self: len(self.model.workers) > 1 and any(worker.running for worker in self.model.workers))
    @rule(data=st.data())
    def a_result_comes_from_somebody_else(self, data):
        owner = self.one_of(data, [worker for worker in self.model.workers if worker.running])
        other = self.one_of(data, [worker for worker in self.model.workers if worker is not owner])
        late = self.core.counts()["late"]
        other.send_late(owner.running.task, b"not mine", owner.running.function, owner.running.attempt)
        assert self.core.counts()["late"] == late + 1

    @precondition(lambda self: any(worker.running for worker in self.model.workers))
    @rule(data=st.data(), other=st.sampled_from([-1, 1, 1 << 32]))
    def a_result_comes_from_another_attempt(self, data, other):
        worker = self.one_of(data, [worker for worker in self.model.workers if worker.running])
        late = self.core.counts()["late"]
        worker.send_late(worker.running.task, b"old", worker.running.function, worker.running.attempt + other)
        assert self.core.counts()["late"] == late + 1

    @precondition(lambda self: any(getattr(worker, "asks", None) for worker in self.model.workers))
    @rule(data=st.data())
    def relay_answers(self, data):
        self.one_of(data, [worker for worker in self.model.workers if getattr(worker, "asks", None)]).answer()

    @rule(ms=st.sampled_from([0, 1, 20, 200, 100_000]))
    def time_passes(self, ms):
        self.model.on_time(ms)

    @invariant()
    def everything_is_where_it_must_be(self):
        self.model.settle()
        self.model.check()

    def teardown(self):
        model = self.model
        if not model.workers:
            model.workers.append(LocalWorker(model, 1000))
        for _ in range(10_000):
            model.settle()
            model.check()
            for client in model.clients:
                client.drain()
            for worker in model.workers:
                while isinstance(worker, RemoteWorker) and worker.asks:
                    worker.answer()
                    model.settle()  # what came back may have gone to somebody else at once
                if worker.running or worker.claim():
                    worker.finish(1000, False)
            if not self.core.counts()["rows"]:
                break
        model.settle()
        for client in model.clients:
            client.drain()
        model.check()
        for client in model.clients:
            while client.held_objects:
                client.release_held()
            for number in client.read:
                client.release_result(number)
        for worker in model.workers:
            worker.release()
        model.check()
        model.check_empty()


TestCoreAgainstModel = CoreMachine.TestCase
TestCoreAgainstModel.settings = settings(max_examples=rounds(60), stateful_step_count=40)


@pytest.mark.parametrize("seed", seeds(12))
def test_clients_that_flood_take_turns_whatever_workers_do(seed):
    """What any order of events has too seldom: several clients that all have tasks waiting, nearly always."""
    chance = random.Random(seed)
    model = Model(SchedulerCore(epoch=9))
    model.clients += [ModelClient(model, bits, 65536) for bits in (1, 2, 3)]
    kinds: list[type[LocalWorker] | type[RemoteWorker]] = [LocalWorker, RemoteWorker]
    model.workers += [chance.choice(kinds)(model, chance.choice([2, 1000])) for _ in range(3)]
    programs = list(model.clients)
    model.clients += [ModelClient(model, bits, 65536, model.workers[bits & 1]) for bits in (4, 5)]
    durations = [chance.choice([2_000, 50_000, 700_000, 3 * MS, 50 * MS]) for _ in range(6)]
    passed = 0
    for _ in range(250):
        what = chance.random()
        client, worker = chance.choice(model.clients), chance.choice(model.workers)
        if what < 0.2:
            function, priority = chance.randint(1, 6), chance.choice([0, 0, 0, 0, 5])
            root, depth = (chance.choice(programs), chance.choice([0, 0, 3])) if client.is_nested else (None, 0)
            for _ in range(chance.randint(1, 12)):
                client.submit(function, chance.randint(0, 72), "none", priority, root, depth)
        elif what < 0.23:
            model.on_time(chance.choice([1, 20]))
        elif what < 0.25:
            client.read_ring()
            number = client.id_of(chance.randint(1, client.next))
            model.core.on_cancel(client.index, number, model.now)
            if number in model.tasks:
                model.on_unwanted(number)
        elif isinstance(worker, RemoteWorker) and worker.asks:
            worker.answer()
        elif worker.running is None:
            worker.claim()
        else:
            worker.finish(durations[model.tasks[worker.running.task].code - 1], False)
        model.settle()
        model.check()
        passed += any(model.turns.passed.values())
        if what > 0.9:
            client.drain()
    assert passed > 10  # or there were no turns to be seen


def test_credit_comes_back_with_results():
    model = Model(SchedulerCore())
    client, worker = ModelClient(model, 5, 65536), LocalWorker(model, 1000)
    model.clients.append(client)
    model.workers.append(worker)
    for _ in range(100):  # together more than a worker may hold at a time
        client.submit(1, 8, "none")
        model.settle()
        assert worker.claim()
        worker.finish(MS // 10, False)
        client.drain()
    for _ in range(6):
        client.submit(1, 8, "none")
    model.settle()
    assert len(worker.held) == 6
