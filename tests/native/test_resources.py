"""Tasks that ask for resources: events in, records out. Which worker has what, says a text as it travels."""

import random
from hashlib import blake2b

import pytest

from scaler._native import (
    FLAG_REQUEST,
    FLAG_RESENT,
    RingOutlet,
    SchedulerCore,
    TaskOptions,
    add_request,
    is_request,
    is_supply,
    missing_resources,
    standing_of,
)
from tests.effort import rounds
from tests.native.test_core import MS, RESULT, TASK, FakeClient, FakeWorker, ring_pair

RUN_HERE = 14


class Asking(FakeClient):
    """A client that announces each function with what its calls ask for."""

    def __init__(self, core, bits, **more):
        super().__init__(core, bits, **more)
        self.numbers = {b"": 0}

    def number_of(self, request):
        if request not in self.numbers:
            number = self.numbers[request] = len(self.numbers)
            code = b"function"
            digest = blake2b(code, digest_size=16).digest()
            self.core.on_function(self.index, number, digest, FLAG_REQUEST, add_request(code, request))
        return self.numbers[request]

    def ask(self, request=b"", **more):
        return self.submit(function=self.number_of(request), **more)


class Having(FakeWorker):
    """A worker that has something."""

    def __init__(self, core, supply=b"", host=0, is_picky=False):
        tasks, self.tasks = ring_pair()
        control, self.control = ring_pair()
        self.results_out, self.results_in = ring_pair()
        self.core, self.running = core, None
        self.index = core.on_worker_joined(
            RingOutlet(tasks), RingOutlet(control), supply=supply, host=host, is_picky=is_picky
        )

    def given(self):
        """The tasks it has not begun."""
        found = []
        while (record := self.tasks.read(claim=True)) is not None:
            found.append(record)
        return [record.task for record in found]


def step(core, now=0):
    core.step(now)
    core.check()


GPU = b"gpu=1000"
HALF = b"gpu=500"


@pytest.mark.parametrize("request_text", [b"gpu=1000", b"linux", b"gpu=1\nlinux\nmem=100000", b"x" * 64, b"\xff=1"])
def test_what_a_task_may_ask_for(request_text):
    assert is_request(request_text)


@pytest.mark.parametrize(
    "request_text",
    [b"", b"\n", b"gpu=", b"=1", b"gpu=0", b"gpu=-1", b"gpu=01", b"gpu=1.5", b"gpu=nan", b"b\na", b"a\na", b"x" * 65,
     b"gpu=1@a", b"gpu=" + b"9" * 19, b"\n".join(b"%02d" % i for i in range(17)), b"a=1=2"],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(request_text):
    assert not is_request(request_text)
    core = SchedulerCore()
    client = Asking(core, 5)
    Having(core, b"gpu=1000@a")
    core.on_function(client.index, 9, bytes(16), FLAG_REQUEST, add_request(b"function", request_text))
    task = client.submit(function=9)
    step(core)
    client.drain()
    assert [(answer[0], answer[1]) for answer in client.answers] == [(task, 3)]
    assert core.counts()["refused"] == 2


@pytest.mark.parametrize("supply", [b"gpu=1000", b"gpu=1000@", b"gpu@a", b"gpu=0@a", b"b\na", b"gpu=1000@" + b"a" * 65])
def test_a_worker_that_has_what_makes_no_sense_is_not_taken(supply):
    assert not is_supply(supply)
    with pytest.raises(ValueError, match="makes no sense"):
        Having(SchedulerCore(), supply)


def test_a_payload_that_is_shorter_than_it_says_is_refused():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    for payload in (b"", b"x", b"\xff\xff", b"abc\x04\x00", b"abc\x00\x00"):
        core.on_function(client.index, 7, bytes(16), FLAG_REQUEST, payload)
    assert core.counts()["refused"] == 5
    core.check()


def test_a_task_goes_to_a_worker_that_has_the_tag():
    core = SchedulerCore()
    client = Asking(core, 5)
    workers = [Having(core), Having(core, b"linux"), Having(core, b"windows")]
    tasks = [client.ask(b"windows"), client.ask(b"linux"), client.ask(b"linux\nwindows")]
    step(core)
    assert [worker.given() for worker in workers] == [[], [tasks[1]], [tasks[0]]]
    both = Having(core, b"linux\nwindows")
    step(core)
    assert both.given() == [tasks[2]]


def test_a_task_that_cannot_be_placed_is_in_nobodys_way():
    core = SchedulerCore()
    client, worker = Asking(core, 5), Having(core)
    client.ask(GPU)
    plain = client.ask()
    step(core)
    assert worker.given() == [plain]
    assert core.counts()["ready"] == 1


def test_an_account_is_shared_by_the_workers_that_name_it():
    core = SchedulerCore()
    client = Asking(core, 5)
    workers = [Having(core, b"gpu=1000@a") for _ in range(3)]
    tasks = [client.ask(HALF) for _ in range(3)]
    step(core)
    given = [worker for worker in workers if worker.begin()]
    assert len(given) == 2
    given[0].finish()
    step(core)
    assert sum(worker.begin() is not None for worker in workers) == 2
    for worker in workers:
        if worker.running:
            worker.finish()
    step(core)
    client.drain()
    assert {task for task, _, _ in client.answers} == set(tasks)


def test_the_same_name_on_another_host_or_of_another_resource_is_another_account():
    core = SchedulerCore()
    client = Asking(core, 5)
    host = core.objects.add_host()
    workers = [Having(core, b"gpu=1000@a\nmem=1000@a"), Having(core, b"gpu=1000@a\nmem=1000@a", host=host)]
    for request in (GPU, GPU, b"mem=1000"):
        client.ask(request)
    step(core)
    assert [len(worker.given()) for worker in workers] == [1, 1]
    assert core.counts()["ready"] == 1  # a worker has but one task at a time that holds any


def test_what_asks_for_the_same_is_given_ahead_and_holds_it_once():
    core = SchedulerCore()
    client, worker = Asking(core, 5), Having(core, b"gpu=1000@a")
    client.ask(GPU)
    step(core)
    worker.begin()
    worker.finish(duration_ns=1000)  # it is known to be quick
    tasks = [client.ask(GPU) for _ in range(5)]
    step(core)
    assert worker.given() == tasks[:2]  # and the next answer will say so again


@pytest.mark.parametrize("how", ["worker dies", "cancelled", "client leaves", "taken back"])
def test_what_is_held_is_given_back(how):
    core = SchedulerCore()
    client, other = Asking(core, 5), Asking(core, 6)
    worker, second = Having(core, b"gpu=1000@a"), Having(core, b"gpu=1000@a")
    task = client.ask(GPU)
    step(core)
    holder, idle = (worker, second) if worker.begin() else (second, worker)
    holder.begin()
    waiting = other.ask(GPU)
    step(core)
    assert idle.begin() is None
    if how == "worker dies":
        core.on_worker_left(holder.index, 0)
        core.check()
        assert idle.begin().task in (task, waiting)
        return
    if how == "taken back":
        core.on_worker_leaves(holder.index, 0)
    elif how == "cancelled":
        core.on_cancel(client.index, task, 0)
    else:
        core.on_client_left(client.index, 0)
    core.check()
    assert idle.begin() is None  # it runs there still
    holder.finish()
    step(core)
    assert (idle.begin() or holder.begin()).task == waiting


def test_what_is_cancelled_before_it_was_begun_holds_nothing():
    core = SchedulerCore()
    client, worker = Asking(core, 5), Having(core, b"gpu=1000@a")
    task, second = client.ask(GPU), client.ask(HALF)
    step(core)
    core.on_cancel(client.index, task, 0)
    step(core)
    assert worker.given() == [second]


def test_a_large_request_is_not_passed_by_small_ones_for_ever():
    core = SchedulerCore()
    client = Asking(core, 5)
    workers = [Having(core, b"mem=4000@a") for _ in range(4)]
    for _ in range(4):
        client.ask(b"mem=1000")
    step(core)
    assert all(worker.begin() for worker in workers)
    large = client.ask(b"mem=4000")
    for _ in range(20):
        client.ask(b"mem=1000")
    placed = []
    for number in range(12):
        for worker in workers:
            if (ran := worker.begin()) is not None:
                placed.append(ran.task)
                worker.finish(now=number * MS, duration_ns=MS)
        step(core, number * MS)
    assert placed.index(large) <= 5
    assert len(placed) > 12


def test_what_comes_from_two_clients_takes_turns_whatever_it_asks_for():
    """One client asks for many different things that all workers have; the other for nothing."""
    core = SchedulerCore()
    many, plain = Asking(core, 5), Asking(core, 6)
    tags = [b"t%02d" % number for number in range(15)]
    worker = Having(core, b"\n".join(tags))
    for _ in range(20):
        for tag in tags:
            many.ask(tag)
    wanted = [plain.ask() for _ in range(20)]
    order = []
    now = 0
    while len(order) < 60:
        step(core, now)
        while (ran := worker.begin()) is not None:
            order.append(ran.task)
            now += 10 * MS
            worker.finish(now=now, duration_ns=10 * MS)
    assert max(order.index(task) for task in wanted) < 50


def test_a_higher_priority_goes_first_whatever_it_asks_for():
    core = SchedulerCore()
    client, worker = Asking(core, 5), Having(core, b"linux\nmem=1000@a")
    client.ask()
    step(core)
    worker.begin()
    tasks = [
        client.ask(request, options=TaskOptions(priority=priority))
        for request, priority in ((b"linux", 0), (b"", 1), (b"mem=1000", 2), (b"linux", 3))
    ]
    order = []
    while worker.running:
        worker.finish(duration_ns=10 * MS)
        step(core)
        if worker.begin():
            order.append(worker.running.task)
    assert order == tasks[::-1]


def test_what_asks_for_nothing_goes_rather_to_a_worker_that_has_nothing():
    core = SchedulerCore()
    client = Asking(core, 5)
    workers = [Having(core, b"linux"), Having(core), Having(core, b"linux")]
    task = client.ask()
    step(core)
    assert workers[1].given() == [task]


def test_functions_that_ask_for_different_things_are_different_ones():
    core = SchedulerCore()
    client, other = Asking(core, 5), Asking(core, 6)
    for one in (client, other):
        for request in (GPU, HALF, b"linux"):
            one.number_of(request)
    assert core.counts()["functions"] == 4
    core.check()
    for number in (1, 2, 3):
        core.on_forget(client.index, number)
    core.on_client_left(other.index, 0)
    core.check()
    assert core.counts()["functions"] == 1
    assert client.ask(GPU)  # the number is not known any more
    client.drain()
    assert client.answers[0][1] == 3


def test_a_request_counts_for_its_client():
    core = SchedulerCore()
    client = Asking(core, 5)
    core.client_queue_bytes = 1 << 20
    before = core.kept_bytes(client.index)
    client.number_of(GPU)
    assert core.kept_bytes(client.index) - before > 8192
    for number in range(2000):
        client.number_of(b"gpu=%d" % (number + 1))
    core.check()
    assert core.counts()["functions"] < 200


def test_it_is_said_what_is_missing():
    core = SchedulerCore()
    client = Asking(core, 5)
    Having(core, b"gpu=1000@a")
    tasks = [client.ask(b"gpu=2000"), client.ask(b"linux"), client.ask(GPU), client.ask(b"gpu=1000")]
    step(core)
    assert standing_of(core, tasks[0])["asks"] == [("gpu", 2.0)]
    assert standing_of(core, tasks[0])["most"] == [1.0]
    assert standing_of(core, tasks[1])["most"] == [None]
    assert not standing_of(core, tasks[1])["fits"]
    assert standing_of(core, tasks[3])["fits"]
    assert missing_resources(core, 4_000_000_000, 5_000_000_000) == []
    found = sorted(missing_resources(core, 6_000_000_000, 5_000_000_000))
    assert found == [(client.index, [("gpu", 2.0)], [1.0]), (client.index, [("linux", None)], [None])]


class Nested(Asking):
    """The client of a worker's tasks."""

    def __init__(self, core, bits, worker):
        self.submits_in, self.submits_out = ring_pair()
        results, self.results = ring_pair()
        control, self.control = ring_pair()
        self.core, self.bits, self.next, self.answers, self.numbers = core, bits, 1, [], {}
        tag = core.worker_tag(worker.index)
        self.index = core.on_client_joined(bits, RingOutlet(results), RingOutlet(control), tag)

    def number_of(self, request):
        if request not in self.numbers:
            self.numbers[request] = len(self.numbers) + 1
            if not request:
                digest = blake2b(b"function", digest_size=16).digest()
                self.core.on_function(self.index, self.numbers[b""], digest, 0, b"function")
                return self.numbers[b""]
            code = b"function"
            self.core.on_function(
                self.index, self.numbers[request], blake2b(code, digest_size=16).digest(), FLAG_REQUEST,
                add_request(code, request),
            )  # fmt: skip
        return self.numbers[request]

    def lent(self):
        found = []
        while (said := self.control.read()) is not None:
            if said.kind == RUN_HERE:
                found.append(said.task)
        return found


def waiting_parent(core, supply, request=b"", bits=5):
    """A worker with this supply that runs a task with this request, and the client of its tasks."""
    client, worker = Asking(core, bits), Having(core, supply)
    client.ask(request)
    step(core)
    assert worker.begin()
    return worker, Nested(core, bits + 100, worker)


def test_a_child_runs_in_place_only_where_its_worker_has_what_it_asks_for():
    core = SchedulerCore()
    _, nested = waiting_parent(core, b"linux")
    fits, does_not = nested.ask(b"linux"), nested.ask(b"windows")
    for task in (fits, does_not):
        core.on_wait(nested.index, task, 0)
    core.check()
    assert nested.lent() == [fits]
    other = Having(core, b"windows")
    step(core)
    assert other.given() == [does_not]


def test_a_child_runs_in_place_within_what_its_parent_holds():
    core = SchedulerCore()
    _, nested = waiting_parent(core, b"gpu=1000@a", GPU)
    child = nested.ask(GPU)
    core.on_wait(nested.index, child, 0)
    core.check()
    assert nested.lent() == [child]
    core.on_return(nested.index, child, True, 0)
    core.check()


def test_a_child_in_place_holds_what_its_parent_does_not():
    core = SchedulerCore()
    _, nested = waiting_parent(core, b"gpu=1000@a")
    other, client = Having(core, b"gpu=1000@a"), Asking(core, 6)
    child = nested.ask(HALF)
    step(core)
    assert other.begin().task == child  # it is not waited for yet
    core.on_wait(nested.index, child, 0)
    other.finish()
    child = nested.ask(HALF)
    core.on_wait(nested.index, child, 0)
    core.check()
    assert nested.lent() == [child]
    client.ask(GPU)
    step(core)
    assert other.begin() is None
    core.on_return(nested.index, child, True, 0)
    step(core)
    assert other.begin() is not None


def test_a_child_in_place_waits_for_what_runs_elsewhere_and_not_for_what_waits_itself():
    core = SchedulerCore()
    _, nested = waiting_parent(core, b"gpu=1000@a", HALF)
    _, other = waiting_parent(core, b"gpu=1000@a", HALF, bits=6)
    child = nested.ask(GPU)
    core.on_wait(nested.index, child, 0)
    core.check()
    assert nested.lent() == []  # the other one runs, and will give its half back
    grandchild = other.ask(GPU)
    core.on_wait(other.index, grandchild, 0)
    core.check()
    assert other.lent() == [grandchild]  # now both wait: nobody else would ever give anything back
    core.on_return(other.index, grandchild, True, 0)
    core.check()


def test_a_worker_that_dies_with_a_child_in_place_gives_all_back():
    core = SchedulerCore()
    worker, nested = waiting_parent(core, b"gpu=1000@a")
    core.on_wait(nested.index, nested.ask(GPU), 0)
    core.check()
    core.on_client_left(nested.index, 0)
    core.check()
    core.on_worker_left(worker.index, 0)
    core.check()
    other, client = Having(core, b"gpu=1000@a"), Asking(core, 7)
    task = client.ask(GPU)
    step(core)
    assert other.begin().task != task  # what ran there is run again first
    other.finish()
    step(core)
    assert other.begin().task == task


@pytest.mark.parametrize("first", ["the worker", "the task"])
@pytest.mark.parametrize("end", ["it answers", "it is idle", "it dies"])
def test_what_runs_for_a_scheduler_before_holds_what_it_asks_for(first, end):
    core = SchedulerCore()
    client = Asking(core, 5)
    worker, other = Having(core, b"gpu=1000@a"), Having(core, b"gpu=1000@a")
    task, attempt = 5 << 40 | 99, 7 << 32 | 1

    def send_again():
        number = client.number_of(GPU)
        assert client.submits_out.write(TASK, task, b"args", function=number, flags=FLAG_RESENT) is not None
        core.feed_client(client.index, client.submits_in)

    if first == "the task":
        send_again()
    core.on_survivor(worker.index, (task, attempt))
    if first == "the worker":
        send_again()
    core.check()
    waiting = client.ask(GPU)
    step(core)
    assert other.begin() is None
    if end == "it answers":
        worker.results_out.write(RESULT, task, b"done", attempt=attempt)
        core.feed_worker(worker.index, worker.results_in, 0)
    elif end == "it is idle":
        core.on_survivor_idle(worker.index, task, attempt)
    else:
        core.on_worker_left(worker.index, 0)
    step(core)
    given = other.begin() or worker.begin()
    assert given is not None
    assert given.task in (waiting, task)


@pytest.mark.parametrize("seed", range(rounds(20)))
def test_whatever_happens_everything_is_done_and_given_back(seed):
    """Clients, workers that come and die, cancels, different requests: at the end all is answered, and all is free."""
    chance = random.Random(seed)
    core = SchedulerCore()
    requests = [
        b"",
        b"linux",
        GPU,
        HALF,
        b"gpu=2000",
        b"linux\nmem=1000",
        b"mem=3000",
        b"gpu=500\nmem=2000",
        b"nowhere",
    ]
    supplies = [
        b"",
        b"linux",
        b"gpu=1000@a\nmem=4000@c",
        b"gpu=1000@b\nlinux\nmem=4000@c",
        b"gpu=2000@d",
        b"mem=3000@e",
    ]
    clients = [Asking(core, 5 + number) for number in range(3)]
    workers = [Having(core, supply) for supply in supplies]
    wanted = {client: set() for client in clients}
    now = 0
    for _ in range(300):
        now += chance.randrange(3 * MS)
        client = chance.choice(clients)
        action = chance.randrange(12)
        if action < 4:
            options = TaskOptions(priority=chance.choice([0, 0, 0, 1]), retries=100)
            wanted[client].add(client.ask(chance.choice(requests), options=options))
        elif action < 8:
            worker = chance.choice(workers)
            if worker.begin():
                worker.finish(now, chance.choice([1000, MS, 20 * MS]))
        elif action == 8 and wanted[client]:
            task = chance.choice(sorted(wanted[client]))
            wanted[client].discard(task)
            core.on_cancel(client.index, task, now)
        elif action == 9 and chance.random() < 0.3:
            worker = chance.choice(workers)
            workers.remove(worker)
            core.on_worker_left(worker.index, now)
            workers.append(Having(core, chance.choice(supplies)))
        elif action == 10:
            core.on_tick(now)
        core.step(now)
        core.check()
        client.drain()
    workers += [Having(core, supply) for supply in supplies]
    while True:
        now += 5 * MS
        core.on_tick(now)
        core.check()
        began = [worker for worker in workers if worker.begin()]
        if not began:
            break
        for worker in began:
            worker.finish(now, MS)
    left = core.counts()["ready"]
    for client in clients:
        client.drain()
        answered = {task for task, status, _ in client.answers if status == 0}
        missing = wanted[client] - answered
        for task in missing:
            assert standing_of(core, task)["asks"] == [("nowhere", None)]
        left -= len(missing)
    assert left == 0
    for client in clients:
        core.on_client_left(client.index, now)
    core.check()
    assert core.counts()["rows"] == core.counts()["functions"] == 0


def test_a_worker_that_reads_no_pickles_is_given_only_what_asks_for_what_it_has():
    core = SchedulerCore()
    client = Asking(core, 5)
    picky = Having(core, b"f:price", is_picky=True)
    plain = [client.ask() for _ in range(3)]
    step(core)
    assert picky.given() == []
    asking = client.ask(b"f:price")
    client.ask(b"f:other")
    step(core)
    assert picky.given() == [asking]
    worker = Having(core)
    step(core)
    assert worker.given() == plain[:1]
    other = Having(core, b"f:other\nf:price", is_picky=True)
    step(core)
    assert len(other.given()) == 1
    for one in (picky, worker, other):
        core.on_worker_left(one.index, 0)
        core.check()
