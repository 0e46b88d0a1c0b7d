"""Where a task stands and why it does not run: each state is brought about in a core, and said in a sentence."""

from scaler._native import SchedulerCore, TaskOptions, standing_of
from scaler.scheduler.explain import explain
from tests.native.test_core import MS, FakeClient, FakeWorker
from tests.native.test_edges import GraphClient

SECOND = 1_000_000_000


def ask(core, task, now=SECOND, unable="", ended=""):
    core.check()
    return explain(
        task, standing_of(core, task), now, name_of_function=lambda number: f"f{number}",
        name_of_worker=lambda index: f"w{index}", unable=unable, ended=ended,
    )  # fmt: skip


def test_a_task_of_nobody():
    said = ask(SchedulerCore(), 5 << 40 | 1)
    assert (said.state, said.sentence) == ("unknown", "is not here: no client of this scheduler has such tasks")


def test_a_task_that_was_not_sent_yet():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    client.submit()
    assert "has not been sent to the scheduler yet" in ask(core, 5 << 40 | 2).sentence


def test_a_task_that_has_ended():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit()
    core.step(0)
    worker.begin()
    worker.finish()
    client.drain()
    assert ask(core, task, ended="succeeded 1.0 s ago").sentence == "has ended: succeeded 1.0 s ago"


def test_a_task_for_which_there_is_no_worker():
    core = SchedulerCore()
    task = FakeClient(core, 5).submit()
    assert ask(core, task).sentence == "waits for a worker: there is none"
    assert "none can start (no such folder)" in ask(core, task, unable="no such folder").sentence


def test_a_task_behind_others_of_its_client_and_of_higher_priority():
    core = SchedulerCore()
    client, other, worker = FakeClient(core, 5), FakeClient(core, 6), FakeWorker(core)
    client.submit()
    core.step(0)
    worker.begin()
    for _ in range(3):
        client.submit()
    task = client.submit()
    other.submit()
    urgent = 5 << 40 | client.next
    client.next += 1
    client.submits_out.write(1, urgent, b"args", options=TaskOptions(priority=3))
    core.feed_client(client.index, client.submits_in)
    said = ask(core, task)
    assert said.state == "ready"
    assert said.function_name == "f1"
    facts = said.facts.as_dict()
    assert (facts["ahead"], facts["ahead_of_higher_priority"], facts["priority"], facts["workers"]) == (3, 1, 0, 1)
    assert said.sentence.startswith(
        "waits for a worker with room, behind 1 task of a higher priority and 3 tasks of its own client, in turn with "
        "1 other client"
    )


def test_a_task_whose_client_does_not_read_its_results():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5, capacity=1024), FakeWorker(core)
    tasks = [client.submit(b"x" * 60) for _ in range(200)]
    while core.call_counts()["unread"] == 0:
        core.step(0)
        if worker.begin() is None:
            break
        worker.finish(duration_ns=MS)
    states = {ask(core, task).state: ask(core, task).sentence for task in tasks}
    assert "does not read its results" in states["unread"]
    assert "does not read the results that wait for it" in states["ready"]


def test_a_task_that_runs_and_one_behind_it():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for _ in range(20):  # quick ones, so that several are placed
        client.submit()
        core.step(0)
        worker.begin()
        worker.finish(duration_ns=1000)
    first, second = client.submit(), client.submit()
    core.step(SECOND)
    worker.begin()
    said = ask(core, first, 3 * SECOND)
    assert (said.state, said.worker, said.worker_name) == ("placed", 1, "w0")
    assert said.sentence == "runs on worker w0, for 2.0 s so far"
    said = ask(core, second, 3 * SECOND)
    assert said.sentence == f"is number 2 on worker w0, behind f1 (task {first:#x}), which has run there for 2.0 s"
    assert said.facts.as_dict()["ahead"] == 1


def test_a_cancelled_task_that_still_runs():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit()
    core.step(0)
    worker.begin()
    core.on_cancel(client.index, task, 0)
    assert ask(core, task).sentence == "was cancelled, and is still on worker w0, which is told to stop it"


def test_a_task_that_waits_for_others_names_them():
    core = SchedulerCore()
    client = GraphClient(core, 5)
    first = client.node()
    second = client.node([first])
    said = ask(core, second)
    assert said.state == "waiting"
    assert list(said.inputs) == [first]
    assert said.sentence == f"waits for the results of 1 other task: {first:#x}"


def test_a_task_that_is_held_back_after_a_restart():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    task = 5 << 40 | 1
    client.submits_out.write(1, task, b"args", flags=128)
    core.feed_client(client.index, client.submits_in)
    assert "held back" in ask(core, task).sentence


def test_a_task_that_is_lent_to_the_task_that_waits_for_it():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    task = client.submit()
    core.on_wait(client.index, task, 0)
    assert ask(core, task).sentence == "is run by the task that waits for it, in the same process"


def test_a_task_whose_worker_died_once_too_often():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = 5 << 40 | 1
    client.submits_out.write(1, task, b"args", options=TaskOptions(retries=0))
    core.feed_client(client.index, client.submits_in)
    core.step(0)
    worker.begin()
    core.on_worker_left(worker.index, 0, more_comes=True)
    assert ask(core, task).state == "doomed"


def test_a_low_priority_is_a_fact_too():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    FakeWorker(core)
    client.submit()
    core.step(0)
    task = 5 << 40 | client.next
    client.submits_out.write(1, task, b"args", options=TaskOptions(priority=-7))
    core.feed_client(client.index, client.submits_in)
    assert ask(core, task).facts.as_dict()["priority_below_zero"] == 7
