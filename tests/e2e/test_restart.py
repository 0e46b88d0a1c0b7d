"""The scheduler is killed and started again where it was: everybody comes back, and nothing is lost or doubled."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from scaler import Client
from scaler.exceptions import DisconnectedError
from tests.e2e import array_calls, calls, nested_calls
from tests.processes import wait_until
from tests.restartable import LINKS, Restartable

STOPPED = """
import sys
from scaler import Client
from tests.e2e.calls import note_big
with Client(sys.argv[1], timeout_seconds=60) as client:
    futures = [client.submit(note_big, sys.argv[2], number, 100_000, 0.02) for number in range(20)]
    print("submitted", flush=True)
    sys.stdin.readline()
    print(*(len(future.result(60)) for future in futures), flush=True)
"""


@pytest.fixture
def client(stage: Restartable) -> Iterator[Client]:
    with Client(stage.address, timeout_seconds=40) as made:
        yield made


def test_open_tasks_are_finished_after_the_scheduler_was_killed(stage, client):
    futures = [client.submit(calls.sleep_for, 0.005 + i / 1e9) for i in range(300)]
    futures[20].result(20)
    stage.restart()
    assert [future.result(40) for future in futures] == [0.005 + i / 1e9 for i in range(300)]
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_client_that_waits_for_nothing_comes_back_too(stage, client):
    assert client.submit(calls.add_one, 1).result(20) == 2
    stage.restart()
    wait_until(lambda: client._rings.connection.is_connected and client._rings.count_workers() == 2, 40)
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_scheduler_stopped_by_a_signal_is_waited_for(stage, client):
    future = client.submit(calls.sleep_for, 0.3)
    stage.restart(signal.SIGTERM)
    assert future.result(40) == 0.3


def test_submitting_goes_on_meanwhile(stage, client):
    """Threads that submit while there is no scheduler wait, and nobody's task is lost; full rings included."""
    stop, results = threading.Event(), []

    def submit(first: int) -> None:
        futures = []
        while not stop.is_set() or len(futures) < 500:
            futures.append(client.submit(calls.add_one, first + len(futures)))
        results.append([future.result(40) for future in futures] == list(range(first + 1, first + len(futures) + 1)))

    threads = [threading.Thread(target=submit, args=(number * 10**7,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.1)
        stage.restart()
    wait_until(lambda: client._rings.connection.is_connected, 40)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 3


def test_a_map_goes_on(stage, client):
    killer = threading.Timer(0.3, stage.restart)
    killer.start()
    results = client.map(calls.sleep_for, ((0.002,) for _ in range(1000)))
    killer.join()
    assert results == [0.002] * 1000


def test_what_was_cancelled_stays_cancelled(stage, client, tmp_path):
    log = tmp_path / "log"
    blockers = [client.submit(calls.sleep_for, 1.0) for _ in range(4)]
    before = [client.submit(calls.note, str(log), number) for number in range(20)]
    assert all(future.cancel() for future in before)
    meant = client.submit(calls.note, str(log), 100)
    stage.end()
    stage.await_noticed(client)
    after = blockers.pop()
    assert after.cancel()
    stage.start()
    assert [future.result(40) for future in blockers] == [1.0] * 3
    assert meant.result(20) == 100
    assert all(future.cancelled() for future in (*before, after))
    assert log.read_text() == "100\n"


def test_arrays_and_references_go_on(stage, client):
    array = numpy.arange(100_000)
    reference = client.send_object(array + 1)
    assert client.submit(calls.total, reference).result(20) == array.sum() + array.size
    carried = calls.Adder(array)
    assert client.submit(carried.add, 1).result(20) == array.sum() + 1
    slow = [client.submit(calls.slow_total, array * i, 0.01) for i in range(50)]
    by_reference = [client.submit(calls.slow_total, reference, 0.01) for _ in range(20)]
    for _ in range(2):
        stage.restart()
        assert client.submit(calls.total, reference).result(40) == array.sum() + array.size
        assert client.submit(calls.total, array).result(20) == array.sum()
        assert client.submit(carried.add, 2).result(20) == array.sum() + 2
    assert [future.result(40) for future in slow] == [array.sum() * i for i in range(50)]
    assert {future.result(40) for future in by_reference} == {array.sum() + array.size}


def test_large_results_that_were_not_read_yet_can_be(stage, client):
    futures = [client.submit(numpy.full, size, 7) for size in (10_000, 1_000_000)]
    wait_until(lambda: all(future.done() for future in futures))
    stage.restart()
    assert client.submit(calls.add_one, 1).result(40) == 2
    for future, size in zip(futures, (10_000, 1_000_000), strict=True):
        result = future.result(20)
        result[0] = 1  # it is ours
        assert result.sum() == 7 * size - 6


def test_large_results_that_came_while_their_client_was_stopped(stage, client, tmp_path):
    """Whoever has taken over has removed them by the time that the client reads where they were."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", STOPPED, stage.address, str(log)]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "submitted\n"
        wait_until(lambda: read_numbers(str(log)))
        program.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(read_numbers(str(log))) >= 20)
        stage.restart()
        assert client.map(calls.sleep_for, [(0.01,)] * 20) == [0.01] * 20
        program.send_signal(signal.SIGCONT)
        assert program.communicate("\n", timeout=60)[0].split() == ["100000"] * 20
    finally:
        program.kill()
        program.communicate()


def test_restarted_several_times_in_a_row(stage, client):
    futures = [client.submit(calls.sleep_for, 0.001 + i / 1e9) for i in range(500)]
    for pause_s in (0.0, 0.0, 0.2):
        stage.restart(pause_s=pause_s)
    assert [future.result(60) for future in futures] == [0.001 + i / 1e9 for i in range(500)]


def test_functions_that_were_forgotten_while_their_tasks_were_open(stage, client):
    blockers = [client.submit(calls.sleep_for, 0.5) for _ in range(2)]
    futures = [client.submit(eval(f"lambda: {number}")) for number in range(1500)]
    stage.restart()
    assert [future.result(40) for future in futures] == list(range(1500))
    assert [future.result(20) for future in blockers] == [0.5] * 2


def test_the_time_limit_ends_everything_with_one_clear_error(stage):
    with Client(stage.address, timeout_seconds=1) as client:
        futures = [client.submit(calls.sleep_for, 30) for _ in range(5)]
        mapped = []
        mapper = threading.Thread(target=lambda: mapped.append(failure_of(client.map, calls.sleep_for, [(30,)] * 4)))
        mapper.start()
        wait_until(lambda: client._rings.open_tasks > 5)
        stage.end()
        errors = [failure_of(future.result, 20) for future in futures]
        mapper.join(20)
        errors += [*mapped, failure_of(client.submit, calls.add_one, 1)]
        assert len(errors) == 7
        for error in errors:
            assert isinstance(error, DisconnectedError)
            assert stage.address in str(error)
            assert "1 s" in str(error)
        stage.start()


def failure_of(function: Any, *arguments: Any) -> BaseException | None:
    try:
        function(*arguments)
    except Exception as error:
        return error
    return None


def test_who_connects_while_there_is_no_scheduler_waits_for_it(stage):
    stage.end()
    made: list[Client] = []
    thread = threading.Thread(target=lambda: made.append(Client(stage.address, timeout_seconds=40)))
    thread.start()
    time.sleep(0.2)
    stage.start()
    thread.join(40)
    with made[0] as client:
        assert client.submit(calls.add_one, 1).result(40) == 2


def test_a_client_can_leave_while_there_is_no_scheduler(stage):
    client = Client(stage.address, timeout_seconds=40)
    future = client.submit(calls.sleep_for, 30)
    stage.end()
    stage.await_noticed(client)
    started = time.monotonic()
    client.disconnect()
    assert future.cancelled()
    assert time.monotonic() - started < 10
    stage.start()


# what workers still have


@pytest.fixture(params=LINKS)
def here(request: pytest.FixtureRequest) -> Iterator[Restartable]:
    made = Restartable(request.param)
    yield made
    made.close()


def test_running_tasks_go_on_and_finished_ones_are_not_run_again(here, tmp_path):
    log, gate = str(tmp_path / "log"), str(tmp_path / "gate")
    with Client(here.address, timeout_seconds=40) as client:
        workers = here.workers()
        running = [client.submit(calls.note_and_wait, log, number, gate) for number in range(2)]
        wait_until(lambda: len(read_numbers(log)) == 2)
        behind = [client.submit(calls.note, log, number) for number in range(2, 20)]
        here.restart()
        wait_until(lambda: client._rings.connection.is_connected, 40)
        time.sleep(1.5)  # longer than a task is held back
        Path(gate).touch()
        assert [future.result(40) for future in running] == [0, 1]
        assert [future.result(20) for future in behind] == list(range(2, 20))
        assert sorted(read_numbers(log)) == list(range(20))
        assert here.workers() == workers


def test_a_task_whose_function_was_still_being_loaded_has_its_arguments(here, tmp_path):
    """It was begun under the scheduler before; by now its array has another name."""
    log, gate = str(tmp_path / "log"), str(tmp_path / "gate")
    array = numpy.arange(200_000)
    with Client(here.address, timeout_seconds=40) as client:
        future = client.submit(calls.SlowToLoad(log, gate), array)
        wait_until(lambda: read_numbers(log))
        here.restart()
        wait_until(lambda: client._rings.connection.is_connected, 40)
        time.sleep(0.2)
        Path(gate).touch()
        assert future.result(40) == array.sum()
        assert read_numbers(log) == [0]


def test_results_that_nobody_had_read_are_delivered(here, tmp_path):
    """They were made while there was no scheduler."""
    log = str(tmp_path / "log")
    with Client(here.address, timeout_seconds=40) as client:
        futures = [client.submit(calls.note_big, log, number, 100_000 * (number % 2), 0.3) for number in range(2)]
        wait_until(lambda: len(read_numbers(log)) == 2)
        here.end()
        wait_until(lambda: len(read_numbers(log)) == 4)
        here.start()
        assert [len(future.result(40)) for future in futures] == [0, 100_000]
        assert sorted(read_numbers(log)) == [0, 0, 1, 1]
        assert [client.submit(calls.add_one, number).result(20) for number in range(100)] == list(range(1, 101))


def looks_in(client, process):
    """What tasks in this process saw. Which worker runs a task nobody can choose, so some are tried."""
    seen = set()

    def has_looked():
        looks = [client.submit(array_calls.look_at_kept, "of before", process) for _ in range(20)]
        seen.update(look for is_it, look in (future.result(20) for future in looks) if is_it)
        return seen

    wait_until(has_looked)
    return seen


def test_a_view_that_a_worker_keeps_stays_right(here):
    """It is of an array that another task there has made, whose slot is free as far as the next scheduler knows."""
    with Client(here.address, timeout_seconds=40) as client:
        array = client.submit(calls.wait_and_fill, 4 << 20, 1)
        process = client.submit(array_calls.keep, "of before", array).result(20)
        del array
        here.restart()
        for value in (7, 8, 9):
            futures = [client.submit(calls.wait_and_fill, 4 << 20, value) for _ in range(6)]
            assert {int(future.result(60)[-1]) for future in futures} == {value}
            assert {look[:2] for look in looks_in(client, process)} == {(1, 1)}


def test_results_that_were_sent_and_not_taken_are_sent_again(here, tmp_path):
    """The scheduler hung before it died, so what was sent to it lies in sockets and rings."""
    log, sizes = str(tmp_path / "log"), (100_000, 3_000_000)
    with Client(here.address, timeout_seconds=40) as client:
        futures = [client.submit(calls.note_big, log, number, size, 0.3) for number, size in enumerate(sizes)]
        wait_until(lambda: len(read_numbers(log)) == 2)
        here.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: len(read_numbers(log)) == 4)
        time.sleep(0.5)
        here.restart()
        assert tuple(len(future.result(40)) for future in futures) == sizes
        assert sorted(read_numbers(log)) == [0, 0, 1, 1]
        assert [client.submit(calls.add_one, number).result(20) for number in range(100)] == list(range(1, 101))


def test_a_task_that_was_cancelled_meanwhile_is_stopped_and_its_worker_is_free_again(here, tmp_path):
    log, gate = str(tmp_path / "log"), str(tmp_path / "gate")
    with Client(here.address, timeout_seconds=40) as client:
        running = [client.submit(calls.note_and_wait, log, number, gate) for number in range(2)]
        wait_until(lambda: len(read_numbers(log)) == 2)
        here.restart()
        wait_until(lambda: client._rings.connection.is_connected, 40)
        assert all(future.cancel() for future in running)
        assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_worker_that_dies_after_it_went_over_is_replaced_and_its_task_is_run_again(here, tmp_path):
    log, gate = str(tmp_path / "log"), str(tmp_path / "gate")
    with Client(here.address, timeout_seconds=40) as client:
        running = client.submit(calls.note_and_wait, log, 7, gate)
        wait_until(lambda: len(read_numbers(log)) == 1)
        here.restart()
        wait_until(lambda: client._rings.connection.is_connected, 40)
        os.kill(int(Path(log + ".pid").read_text()), signal.SIGKILL)
        wait_until(lambda: len(read_numbers(log)) == 2)
        Path(gate).touch()
        assert running.result(20) == 7


def test_workers_go_over_several_times(here):
    with Client(here.address, timeout_seconds=40) as client:
        workers = here.workers()
        array = numpy.arange(50_000)
        for number in range(4):
            futures = [client.submit(calls.sleep_for, 0.002) for _ in range(100)]
            sums = [client.submit(calls.slow_total, array + number, 0.002) for _ in range(20)]
            here.restart()
            assert [future.result(40) for future in futures] == [0.002] * 100
            assert [future.result(40) for future in sums] == [array.sum() + number * array.size] * 20
            assert len(client.submit(calls.big, 200_000).result(20)) == 200_000
        assert here.workers() == workers


def test_tasks_of_tasks_do_not_wait_for_ever_on_workers_that_have_gone_over(here):
    """They have to know their scheduler by its next epoch: else a task's client is a stranger, and only blocks."""
    with Client(here.address, timeout_seconds=40) as client:
        workers = here.workers()
        futures = [client.submit(calls.sleep_for, 0.5) for _ in range(2)]
        here.restart()
        assert [future.result(40) for future in futures] == [0.5] * 2
        assert client.submit(nested_calls.fibonacci, client, 8).result(40) == 21
        assert client.submit(nested_calls.add_in_child, 1).result(20) == 2
        assert workers <= here.workers()


def test_functions_of_before_are_not_taken_for_those_of_after(here):
    """Numbers of functions begin anew with each scheduler."""
    with Client(here.address, timeout_seconds=40) as client:
        for number in range(20):
            assert client.submit(eval(f"lambda: {number}")).result(20) == number
    here.restart()
    with Client(here.address, timeout_seconds=40) as client:
        for number in range(100, 120):
            assert client.submit(eval(f"lambda: {number}")).result(20) == number


def read_numbers(log: str) -> list[int]:
    return [int(line) for line in Path(log).read_text().split()] if os.path.exists(log) else []


def test_a_task_that_waits_for_what_it_has_submitted_is_done_in_the_end(stage, client, tmp_path):
    """What it waits for may be lost with the scheduler: then it is run anew, and submits it again."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    parent = client.submit(nested_calls.wait_elsewhere, client, str(log), str(gate))
    wait_until(log.exists)
    stage.restart()
    gate.touch()
    assert parent.result(60) == 5
    assert client.submit(nested_calls.fibonacci, client, 8).result(40) == 21
