"""How clients, schedulers and workers end: on purpose, killed, forked. Each test has a cluster of its own."""

import concurrent.futures
import gc
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo, Serializer
from scaler._native import HEADERS_OFFSET, RING_HEADER_BYTES
from scaler.exceptions import (
    ClientQuitException,
    ClientShutdownException,
    DisconnectedError,
    ScalerError,
    SchedulerTimeoutError,
)
from tests.e2e import calls
from tests.processes import workers_of


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def own_descendants():
    return {process.pid for process in psutil.Process().children(recursive=True)}


def life_of(pid):
    """The epoch of the scheduler that this process is, as its bell page is named."""
    with open(f"/proc/{pid}/maps") as maps:
        found = re.search(r"/dev/shm/scaler-([0-9a-f]{16})-bell", maps.read())
    assert found, "it has mapped no bell page"
    return found[1]


def test_combo_leaves_no_process_and_no_segment():
    before = own_descendants()
    combo = SchedulerClusterCombo(2)
    epoch = life_of(combo._children[0].pid)
    with Client(combo.get_address()) as client:
        assert len(client.submit(calls.big, 10**6).result(10)) == 10**6
        assert own_descendants() - before
    combo.shutdown()
    combo.shutdown()
    assert own_descendants() == before
    assert not [name for name in os.listdir("/dev/shm") if epoch in name]


def test_killed_scheduler_fails_what_is_open_after_the_time_limit_and_says_so():
    with SchedulerClusterCombo(1) as combo:
        client = Client(combo.get_address(), timeout_seconds=1)
        future = client.submit(calls.sleep_for, 30)
        combo._children[0].process.kill()
        with pytest.raises(DisconnectedError, match=r"tcp://127.* for 1 s.*make a new Client"):
            future.result(10)
        with pytest.raises(DisconnectedError):
            client.submit(calls.add_one, 1)
        client.disconnect()


def test_killed_scheduler_is_noticed_though_nobody_waits():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address(), timeout_seconds=1) as client:
        future = client.submit(calls.sleep_for, 30)
        combo._children[0].process.kill()
        wait_until(lambda: future.is_over)
        assert isinstance(future.exception(1), DisconnectedError)


def test_a_scheduler_that_is_stopped_for_good_is_not_waited_for():
    with SchedulerClusterCombo(1) as combo:
        client = Client(combo.get_address(), timeout_seconds=60)
        future = client.submit(calls.sleep_for, 30)
    with pytest.raises(DisconnectedError, match="was stopped"):
        future.result(10)
    client.disconnect()


def test_killed_supervisor_takes_its_workers_along():
    with SchedulerClusterCombo(2) as combo:
        supervisor = psutil.Process(combo._children[1].pid)
        workers = supervisor.children()
        assert len(workers) == 3  # with what they were forked from
        supervisor.kill()
        _, alive = psutil.wait_procs(workers, 10)
        assert not alive


def test_processes_end_with_their_creator():
    code = (
        "import time; from scaler import SchedulerClusterCombo; c = SchedulerClusterCombo(1);"
        "print(*(child.pid for child in c._children), flush=True); time.sleep(60)"
    )
    creator = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert creator.stdout is not None
    processes = [psutil.Process(int(pid)) for pid in creator.stdout.readline().split()]
    processes += [child for process in processes for child in process.children()]
    assert len(processes) == 3
    creator.kill()
    creator.wait()
    _, alive = psutil.wait_procs(processes, 10)
    assert not alive
    creator.stdout.close()


def test_killed_worker_is_replaced():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        first = client.submit(calls.process_id).result(10)
        os.kill(first, signal.SIGKILL)
        assert client.submit(calls.process_id).result(20) != first


def break_own_ring(mark):
    """Have the scheduler find nonsense in this worker's result ring; the second time do nothing."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "elsewhere"
    frame: Any = sys._getframe()
    while (
        frame.f_globals["__name__"] != "scaler.worker.main"
    ):  # a client of this worker's tasks has an LocalConnection, too
        frame = frame.f_back
    entry = frame.f_locals["entry"]
    memory, at = memoryview(entry.memory).cast("B"), HEADERS_OFFSET + RING_HEADER_BYTES
    (head,) = struct.unpack_from("<Q", memory, at)
    struct.pack_into("<Q", memory, at, head + 7)
    while entry.connection.recv(1):  # until it is hung up on
        pass
    return "here"


def test_a_worker_whose_ring_makes_no_sense_is_replaced_and_its_task_is_run_again(client, tmp_path):
    assert client.submit(break_own_ring, str(tmp_path / "mark")).result(30) == "elsewhere"
    assert client.submit(calls.add_one, 1).result(20) == 2
    wait_until(lambda: client._rings.count_workers() == 2, 20)


def test_clear_cancels_what_is_open():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        futures = [client.submit(calls.sleep_for, 0.2) for _ in range(20)]
        client.clear()
        assert all(future.cancelled() for future in futures)
        started = time.monotonic()
        assert client.submit(calls.add_one, 1).result(10) == 2
        assert time.monotonic() - started < 2  # 20 of them would take 4 s


def test_protected_scheduler_refuses_to_stop():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        with pytest.raises(ValueError, match="protected"):
            client.shutdown()
        assert client.submit(calls.add_one, 1).result(10) == 2


def test_shutdown_stops_scheduler_and_workers():
    with SchedulerClusterCombo(1, protected=False) as combo:
        client = Client(combo.get_address())
        client.shutdown()
        client.shutdown()
        with pytest.raises(ClientShutdownException, match="has shut its scheduler down"):
            client.submit(calls.add_one, 1)
        client.disconnect()
        with pytest.raises(ClientQuitException):  # which it is, too
            client.send_object(1)
        wait_until(lambda: combo._children[0].process.poll() is not None)
        assert combo._children[0].process.returncode == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # to fork with threads is the point
def test_forked_child_may_make_a_client_of_its_own_and_not_use_its_parents():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        futures = [client.submit(calls.sleep_for, 0.1) for _ in range(4)]
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                futures[0].done()
                futures[1].cancel()
                concurrent.futures.wait(futures, 10)
                client.submit(calls.add_one, 1)
            except ClientQuitException:
                with Client(combo.get_address()) as own:
                    status = 0 if own.submit(calls.add_one, 1).result(10) == 2 else 2
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert [future.result(10) for future in futures] == [0.1] * 4
        assert client.submit(calls.add_one, 1).result(10) == 2


def test_nobody_at_the_address_is_a_timeout_that_names_it():
    with pytest.raises(SchedulerTimeoutError, match=r"tcp://127\.0\.0\.1:9"):
        Client("tcp://127.0.0.1:9", timeout_seconds=0.2)


def test_client_may_be_started_before_its_scheduler(tmp_path):
    address = f"ipc://{tmp_path}/scheduler"
    code = (
        "import sys; from scaler import Client; from tests.e2e import calls\n"
        f"with Client({address!r}, timeout_seconds=20) as c: print(c.submit(calls.add_one, 1).result(20))"
    )
    early = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    with SchedulerClusterCombo(1, address):
        assert early.communicate(timeout=30)[0] == "2\n"


def test_address_in_use_is_a_clear_error():
    with SchedulerClusterCombo(1) as combo, pytest.raises(ScalerError, match="in use"):
        SchedulerClusterCombo(1, combo.get_address())


def test_forgotten_client_and_combo_go_by_themselves():
    before = own_descendants()
    combo = SchedulerClusterCombo(1)
    client = Client(combo.get_address())
    future = client.submit(calls.sleep_for, 0.1)
    del client, combo
    gc.collect()
    wait_until(future.done)
    wait_until(lambda: own_descendants() == before)


def test_a_forgotten_client_goes_though_its_tasks_name_each_other():
    def start(client):
        first = client.submit(calls.add_one, 1)
        again = client.submit(calls.add_one, first)
        return first, again, client.submit(calls.describe_call, first, again)

    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as other:
        busy = other.submit(calls.sleep_for, 60)
        wait_until(busy.running)
        client = Client(combo.get_address())
        rings, futures = client._rings, start(client)
        last = futures[-1]
        del client, futures
        gc.collect()
        assert rings.is_awaited()
        last.cancel()
        del last
        gc.collect()
        wait_until(lambda: not rings.is_awaited())


class Shouting(Serializer):
    @staticmethod
    def serialize(obj):
        return b"SHOUT" + pickle.dumps(obj)

    @staticmethod
    def deserialize(payload):
        assert payload.startswith(b"SHOUT")
        return pickle.loads(payload[5:])


class ShoutingMore(Shouting):
    pass


def bits_of(client):
    return client._rings.bits


def test_in_a_worker_each_serializer_class_has_a_client_of_its_own():
    found = set()
    with SchedulerClusterCombo(1) as combo:
        for serializer in (Shouting, ShoutingMore, Shouting(), ShoutingMore()):
            with Client(combo.get_address(), serializer=serializer) as client:
                found.add(client.submit(bits_of, client).result(20))
    assert len(found) == 2


def test_serializer_is_used_for_functions_arguments_and_results():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address(), serializer=Shouting()) as client:
        assert client.submit(calls.add_one, 1).result(10) == 2
        assert client.submit(calls.describe_call, 1, k=[2]).result(10) == ((1,), {"k": [2]})
        assert client.map(calls.add_one, [(i,) for i in range(500)]) == list(range(1, 501))
        with pytest.raises(ValueError, match="no"):
            client.submit(calls.fail, "no").result(10)


def test_submit_waits_while_the_scheduler_has_enough():
    with SchedulerClusterCombo(1, client_queue_bytes=200_000) as combo, Client(combo.get_address()) as client:
        futures = [client.submit(calls.add_one, i) for i in range(20_000)]
        assert [future.result(30) for future in futures] == list(range(1, 20_001))
        futures = [client.submit(len, b"x" * 3000) for i in range(1000)]
        assert {future.result(30) for future in futures} == {3000}


def test_workers_that_are_killed_again_and_again_all_come_back():
    with SchedulerClusterCombo(3) as combo, Client(combo.get_address()) as client:
        supervisor, gone = combo._children[1].pid, set()

        def there():
            return {worker.pid for worker in workers_of(supervisor)} - gone

        for _ in range(2):  # the second time each starts after a pause of its own
            wait_until(lambda: client._rings.count_workers() == 3 and len(there()) == 3)
            for pid in there():
                gone.add(pid)
                os.kill(pid, signal.SIGKILL)
                time.sleep(0.04)
        wait_until(lambda: client._rings.count_workers() == 3 and len(there()) == 3)
