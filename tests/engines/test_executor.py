"""Tasks that a pool runs which is not ours are what they are in workers. Real pools, behind the real command."""

import os
import signal
import time
from concurrent.futures import wait

import numpy as np
import pytest

from scaler import Client
from scaler.exceptions import DeserializeObjectError, ProcessorDiedError, TaskTimeoutError, WorkerDiedError
from tests.engines import calls
from tests.engines.conftest import engine_at_work
from tests.entry_points.commands import Command, SchedulerCommand, run
from tests.processes import assert_gone, tree, wait_until

RESULT_S = 40


def test_calls_get_their_arguments_and_give_their_results(client):
    assert client.submit(calls.add, 1, 2).result(RESULT_S) == 3
    assert client.submit(calls.add, 1, b=2, c=3).result(RESULT_S) == 6
    assert client.submit(max, [3, 9, 4]).result(RESULT_S) == 9
    assert client.submit(lambda x: x * 2, 21).result(RESULT_S) == 42
    assert client.submit(calls.later, "x").result(RESULT_S) == "x"
    for value in (None, True, -1, 2**40, 1.5, "text", b"bytes", (1, [2, {"a": 3}]), "x" * 100_000):
        assert client.submit(calls.same, value).result(RESULT_S) == value


def test_what_a_task_raises_comes_back_with_its_traceback(client):
    with pytest.raises(calls.OwnError, match="number 7") as caught:
        client.submit(calls.fail, 7).result(RESULT_S)
    assert caught.value.number == 7
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        client.submit(calls.same).result(RESULT_S)


def test_what_cannot_be_read_there_is_the_task_s_answer(client):
    with pytest.raises(DeserializeObjectError, match="ZeroDivisionError"):
        client.submit(calls.same, Unreadable()).result(RESULT_S)
    assert client.submit(calls.same, 1).result(RESULT_S) == 1


class Unreadable:
    def __reduce__(self):
        return divmod, (1, 0)


def test_a_class_of_the_program_stays_the_same_class(client):
    class Point:
        def __init__(self, x):
            self.x = x

    made = client.submit(Point, 3).result(RESULT_S)
    assert type(made) is Point
    assert made.x == 3


def test_maps_of_every_kind_of_value_come_back_in_order(client):
    assert client.map(calls.add, [(i, 1) for i in range(5000)]) == list(range(1, 5001))
    values = [None, True, False, -5, 70_000, 2**35, 1.25, "text", b"bytes", [1], "y" * 500] * 40
    assert client.map(calls.same, [(value,) for value in values]) == values
    assert client.map(calls.add, [(i, i, *()) for i in range(10)]) == [2 * i for i in range(10)]
    with pytest.raises(ValueError, match="1 is odd"):
        client.map(calls.fail_odd, [(i,) for i in range(100)])
    arrays = client.map(calls.twice, [(np.full(20_000, i),) for i in range(8)])
    assert [int(array[-1]) for array in arrays] == [2 * i for i in range(8)]


def test_arrays_come_and_go_and_references_are_read_only(client):
    array = np.arange(300_000.0)
    result = client.submit(calls.twice, array).result(RESULT_S)
    assert result[-1] == 2 * 299_999
    assert array[-1] == 299_999
    assert result.flags.writeable
    reference = client.send_object(array)
    totals = [client.submit(calls.total, reference) for _ in range(12)]
    assert {future.result(RESULT_S) for future in totals} == {float(array.sum())}


def test_results_of_tasks_are_arguments_of_others(client):
    first = client.submit(calls.add, 1, 2)
    assert client.submit(calls.add, first, first).result(RESULT_S) == 6
    large = client.submit(np.arange, 100_000)
    assert client.submit(len, large).result(RESULT_S) == 100_000
    graph = {"a": 2, "b": (calls.add, "a", 3), "c": (calls.same, "b"), "d": (calls.add, "b", "c")}
    assert client.get(graph, ["d", "b"]) == {"d": 10, "b": 5}


def test_tasks_may_wait_for_tasks_to_any_depth(client):
    assert client.submit(calls.fibonacci, client, 8).result(RESULT_S) == 21
    assert client.submit(calls.ambient, 20).result(RESULT_S) == 210
    parents = [client.submit(calls.nested_map, client, 50) for _ in range(6)]
    assert [future.result(RESULT_S) for future in parents] == [1275] * 6


def test_a_task_that_runs_too_long_is_stopped_and_its_slot_goes_on(client):
    limited = client.options(timeout=0.3)
    with pytest.raises(TaskTimeoutError, match=r"spin ran longer than its limit of 0\.3 s"):
        limited.submit(calls.spin, 30).result(RESULT_S)
    outcomes = [limited.submit(calls.spin, seconds) for seconds in (0.0, 30.0, 0.0)]
    wait(outcomes, RESULT_S)
    assert [type(future.exception(1)) for future in outcomes] == [type(None), TaskTimeoutError, type(None)]
    assert [client.submit(calls.same, i).result(RESULT_S) for i in range(4)] == [0, 1, 2, 3]


def test_a_slot_whose_task_cannot_be_stopped_is_given_up_until_that_has_ended():
    with (
        engine_at_work("threads", "--stop-grace-seconds", "0", slots=1) as (scheduler, _),
        Client(scheduler.address, timeout_seconds=20) as client,
    ):
        began_s = time.monotonic()
        with pytest.raises(TaskTimeoutError, match="cannot stop it: it keeps its slot until it ends"):
            client.options(timeout=0.2).submit(time.sleep, 8).result(RESULT_S)
        assert client.submit(calls.same, 1).result(RESULT_S) == 1
        assert time.monotonic() - began_s >= 8


def test_what_is_cancelled_before_it_began_never_runs(client, tmp_path):
    busy = [client.submit(calls.note, str(tmp_path), f"busy{i}", 0.5) for i in range(2)]
    waiting = [client.submit(calls.note, str(tmp_path), f"waiting{i}") for i in range(6)]
    assert all(future.cancel() for future in waiting)
    assert [future.result(RESULT_S) for future in busy] == ["busy0", "busy1"]
    assert client.submit(calls.same, 1).result(RESULT_S) == 1
    assert not list(tmp_path.glob("waiting*"))


def test_ten_thousand_small_tasks_are_few_jobs(client):
    futures = [client.submit(calls.same, i) for i in range(10_000)]
    assert [future.result(RESULT_S) for future in futures] == list(range(10_000))


@pytest.mark.parametrize("engine", ["processes", "loky"])
def test_a_task_whose_process_dies_is_run_again_and_one_that_kills_each_fails(engine, tmp_path):
    if engine == "loky":
        pytest.importorskip("loky", reason="loky is not installed: `pip install loky`")
    with engine_at_work(engine) as (scheduler, _), Client(scheduler.address, timeout_seconds=20) as client:
        innocent = [client.submit(calls.note, str(tmp_path), f"task{i}", 0.05) for i in range(20)]
        assert client.submit(calls.die_once, str(tmp_path)).result(RESULT_S) == "alive"
        with pytest.raises(WorkerDiedError) as caught:
            client.submit(calls.die).result(RESULT_S)
        assert isinstance(caught.value, ProcessorDiedError)
        assert caught.value.tries == 4
        assert "Broken" in str(caught.value) or "Terminated" in str(caught.value)
        assert [future.result(RESULT_S) for future in innocent] == [f"task{i}" for i in range(20)]
        assert client.submit(calls.fibonacci, client, 5).result(RESULT_S) == 5  # clients of its tasks are still let in


def test_a_signal_ends_the_command_and_all_its_processes_though_tasks_run():
    with (
        SchedulerCommand() as scheduler,
        Command("scaler_engine", scheduler.address, "-n", "2") as command,
        Client(scheduler.address, timeout_seconds=20) as client,
    ):
        client.submit(calls.same, 1).result(RESULT_S)
        running = client.submit(time.sleep, 60)
        wait_until(lambda: running.running())
        processes = tree(command.process.pid)
        assert len(processes) > 2
        assert command.stop(signal.SIGINT) == 0
        assert_gone(processes)
        assert scheduler.stop() == 0


def test_the_processes_of_a_command_that_is_killed_end_too():
    with SchedulerCommand() as scheduler, Command("scaler_engine", scheduler.address, "-n", "2") as killed:
        with Client(scheduler.address, timeout_seconds=20) as client:
            assert client.submit(os.getppid).result(RESULT_S) == killed.process.pid
        processes = tree(killed.process.pid)
        assert len(processes) > 1
        killed.process.kill()
        killed.process.wait()
        assert_gone(processes)
        assert scheduler.stop() == 0


def test_an_engine_works_for_the_next_scheduler(tmp_path):
    address = f"ipc://{tmp_path}/scheduler"
    with Command("scaler_scheduler", address) as first:
        first.await_line("scheduler")
        with Command("scaler_engine", address, "--engine", "threads", "-n", "2") as engine:
            engine.await_line("works for the scheduler")
            with Client(address, timeout_seconds=20) as client:
                assert client.submit(calls.same, 1).result(RESULT_S) == 1
            first.process.kill()
            first.process.wait()
            with Command("scaler_scheduler", address) as second, Client(address, timeout_seconds=20) as client:
                assert client.submit(calls.same, 2).result(RESULT_S) == 2
                assert engine.stop() == 0
                assert second.stop() == 0


def test_a_client_that_stops_the_scheduler_stops_the_engine():
    with SchedulerCommand() as scheduler, Command("scaler_engine", scheduler.address, "--engine", "threads") as command:
        client = Client(scheduler.address, timeout_seconds=20)
        client.submit(calls.same, 1).result(RESULT_S)
        client.shutdown()
        assert command.process.wait(20) == 0


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("nonsense", "is none of processes, threads, loky, ray, dask, and no MODULE:FUNCTION"),
        ("tests.engines.calls:nothing", "is not to be found"),
    ],
)
def test_an_engine_that_there_is_not_is_one_line(engine, said):
    ended = run("scaler_engine", "tcp://127.0.0.1:1", "--engine", engine)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
