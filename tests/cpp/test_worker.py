"""The worker in C++: what it serves, what it is not given, and how it comes and goes."""

import math
import signal
import statistics
import subprocess
import time

import pytest

from scaler import Client, NamedFunction, SchedulerClusterCombo
from scaler.exceptions import RemoteError, TaskTimeoutError
from scaler.keys.folder import make_folder
from tests.cpp.programs import Driver, Refused, program, run_example, start_worker
from tests.elsewhere import RemoteCluster, start_elsewhere
from tests.processes import wait_until
from tests.proxy import Proxy
from tests.restartable import Restartable


def end(worker, number=signal.SIGTERM):
    """Its exit code."""
    worker.send_signal(number)
    return worker.wait(20)


@pytest.fixture(scope="module", params=["rings", "wire"])
def mixed(request):
    """A cluster with two workers that run Python and one with two slots in C++."""
    program("serving")
    with SchedulerClusterCombo(2) if request.param == "rings" else RemoteCluster(2) as cluster:
        worker = start_worker(cluster.get_address(), 2)
        yield cluster
        assert end(worker) == 0


@pytest.fixture(params=["python", "cpp"])
def call(request, mixed):
    """call(name, args): the result, by a client in either language."""
    if request.param == "cpp":
        with Driver(mixed.get_address()) as driver:
            yield driver.call
    else:
        with Client(mixed.get_address(), timeout_seconds=20) as client:
            yield lambda name, args: client.submit(NamedFunction(name), *args).result(30)


def test_what_it_serves_is_called_by_its_name(call):
    assert call("price", [100, 90.5]) == 9.5
    given = [None, True, 2**53, -1.5, "\u00fc\0", [1, {"a": []}]]
    assert call("echo", given) == {"args": given, "kwargs": {}}


def test_what_it_throws_has_a_type_and_a_message(call):
    for name, args, kind, words in (
        ("root", [-1], "TooSmall", "no root of -1"),
        ("throws", [3], "unknown", "no std::exception"),
        ("price", [1], "std::invalid_argument", "price takes 2 arguments, without keywords"),
        ("price", ["a", "b"], "nlohmann", "must be number"),
    ):
        with pytest.raises((RemoteError, Refused), match=words) as raised:
            call(name, args)
        assert kind in str(raised.value)


def test_large_arguments_and_results_travel_as_objects(call):
    text = "0123456789" * 100_000
    assert call("length", [text]) == len(text)
    assert call("repeat", [text, 3]) == text * 3


def test_each_language_gets_what_is_its_own(mixed):
    with Client(mixed.get_address(), timeout_seconds=20) as client:
        named = [client.submit(NamedFunction("price"), number, 1) for number in range(1, 300)]
        plain = [client.submit(abs, -number) for number in range(300)]
        by_name = [client.submit(NamedFunction("math:sqrt"), 4) for _ in range(300)]
        assert [future.result(30) for future in named] == list(range(299))
        assert [future.result(30) for future in plain] == list(range(300))
        assert [future.result(30) for future in by_name] == [2] * 300
        assert client.map(pow, [(number, 2) for number in range(2000)]) == [number**2 for number in range(2000)]


def test_a_result_of_cpp_is_an_argument_of_python(mixed):
    with Client(mixed.get_address(), timeout_seconds=20) as client:
        small = client.submit(NamedFunction("price"), 100, 90)
        large = client.submit(NamedFunction("repeat"), "x", 500_000)
        assert client.submit(max, small, 3).result(20) == 10
        assert [client.submit(len, large).result(20) for _ in range(3)] == [500_000] * 3
        failed = client.submit(NamedFunction("root"), -1)
        with pytest.raises(RemoteError, match="no root of -1"):
            client.submit(abs, failed).result(20)


def test_so_many_calls_run_at_a_time_as_it_has_slots(mixed):
    with Client(mixed.get_address(), timeout_seconds=20) as client:
        futures = [client.submit(NamedFunction("sleep"), 0.1) for _ in range(8)]
        assert max(future.result(20) for future in futures) == 2


def test_what_has_not_begun_is_cancelled_and_what_runs_ends_by_itself(mixed, tmp_path):
    log = tmp_path / "log"
    with Client(mixed.get_address(), timeout_seconds=20) as client:
        futures = [client.submit(NamedFunction("append"), str(log), 0.5) for _ in range(6)]
        wait_until(lambda: log.exists() and log.read_text().count("begun") == 2)
        for future in futures:
            assert future.cancel()
        assert client.submit(NamedFunction("price"), 2, 1).result(20) == 1
        assert log.read_text().count("begun") == 2


def test_a_call_that_overran_its_limit_says_so_when_it_has_ended(mixed):
    with Client(mixed.get_address(), timeout_seconds=20) as client:
        future = client.options(timeout=0.1).submit(NamedFunction("sleep"), 0.4)
        with pytest.raises(RemoteError, match="ran longer than its limit of 100 ms") as raised:
            future.result(20)
        assert TaskTimeoutError.__name__ in str(raised.value)


def test_a_call_waits_for_a_worker_that_serves_it_and_nobody_waits_behind_it(mixed):
    with Client(mixed.get_address(), timeout_seconds=20) as client:
        future = client.submit(NamedFunction("nobody_serves_this"), 1)
        assert client.submit(abs, -1).result(20) == 1
        assert client.submit(NamedFunction("price"), 2, 1).result(20) == 1
        assert not future.done()
        assert future.cancel()


def test_it_finishes_what_it_has_begun_when_it_is_told_to_go(tmp_path):
    log = tmp_path / "log"
    with RemoteCluster(1) as cluster, Client(cluster.get_address(), timeout_seconds=20) as client:
        worker = start_worker(cluster.get_address())
        futures = [client.submit(NamedFunction("append"), str(log), 0.3) for _ in range(5)]
        wait_until(lambda: log.exists())
        other = start_worker(cluster.get_address())
        assert end(worker) == 0
        assert [future.result(30) for future in futures] == [None] * 5
        assert sorted(log.read_text().split()) == ["begun"] * 5 + ["done"] * 5
        assert end(other) == 0


def test_what_ran_in_one_that_was_killed_runs_again_in_another(tmp_path):
    log = tmp_path / "log"
    with RemoteCluster(1) as cluster, Client(cluster.get_address(), timeout_seconds=20) as client:
        worker = start_worker(cluster.get_address())
        future = client.submit(NamedFunction("append"), str(log), 1)
        wait_until(lambda: log.exists())
        assert end(worker, signal.SIGKILL) == -signal.SIGKILL
        other = start_worker(cluster.get_address())
        assert future.result(40) is None
        assert log.read_text().split() == ["begun", "begun", "done"]
        assert end(other) == 0


def test_nothing_is_lost_or_doubled_when_its_connection_breaks(tmp_path):
    log = tmp_path / "log"
    program("serving")
    scheduler, address = start_elsewhere(insecure=True)
    with Proxy(address) as proxy, Client(address, timeout_seconds=20) as client:
        worker = start_worker(proxy.address, 2)
        futures, cuts = [], 0
        for number in range(200):
            futures.append(client.submit(NamedFunction("append"), str(log), 0.002))
            if number % 40 == 20:
                cuts += proxy.cut()
                time.sleep(0.1)
        large = client.submit(NamedFunction("repeat"), "x", 3_000_000)
        assert [future.result(40) for future in futures] == [None] * 200
        assert large.result(40) == "x" * 3_000_000
        assert cuts >= 3
        assert log.read_text().split().count("begun") == 200
        assert end(worker) == 0
    scheduler.communicate(timeout=20)


def test_it_goes_on_with_a_scheduler_that_was_killed_and_started_again(tmp_path):
    log = tmp_path / "log"
    program("serving")
    cluster = Restartable("wire", 1)
    try:
        worker = start_worker(cluster.address, 2)
        with Client(cluster.address, timeout_seconds=30) as client:
            futures = [client.submit(NamedFunction("append"), str(log), 0.5) for _ in range(6)]
            wait_until(lambda: log.exists())
            cluster.restart(signal.SIGKILL)
            assert [future.result(40) for future in futures] == [None] * 6
            assert log.read_text().split().count("done") == 6
            assert client.submit(NamedFunction("price"), 3, 1).result(20) == 2
        assert end(worker) == 0
    finally:
        cluster.close()


def test_it_shows_a_workers_key_and_is_refused_with_another(tmp_path, monkeypatch):
    program("serving")
    keys, others = make_folder(tmp_path / "keys"), make_folder(tmp_path / "others")
    with RemoteCluster(1, keys=str(keys), workers={"keys": str(keys)}) as cluster:
        monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "none"))
        worker = start_worker(cluster.get_address(), 1, str(keys))
        with Client(cluster.get_address(), keys=str(keys), timeout_seconds=20) as client:
            assert client.submit(NamedFunction("price"), 3, 1).result(20) == 2
        assert end(worker) == 0
        assert start_worker(cluster.get_address(), 1, str(others)).wait(20) == 1


def test_it_ends_when_the_scheduler_wants_no_workers_any_more():
    program("serving")
    cluster = RemoteCluster(1)
    worker = start_worker(cluster.get_address(), stderr=subprocess.PIPE)
    with Client(cluster.get_address(), timeout_seconds=20) as client:
        assert client.submit(NamedFunction("price"), 3, 1).result(20) == 2
    cluster.shutdown()
    assert worker.wait(20) == 1
    assert worker.stderr is not None
    assert b"the scheduler said goodbye" in worker.stderr.read()


def test_the_example_prices_a_book(mixed):
    def price(strike, spot=100.0, rate=0.02, volatility=0.25):  # of a year
        normal = statistics.NormalDist().cdf
        d1 = (math.log(spot / strike) + rate + volatility**2 / 2) / volatility
        return spot * normal(d1) - strike * math.exp(-rate) * normal(d1 - volatility)

    worker = subprocess.Popen([program("price_worker"), mixed.get_address(), "2"])
    lines = run_example(["price_client", mixed.get_address(), "book"]).splitlines()
    said = [float(line.split()[0]) for line in lines]
    assert said == pytest.approx([price(80), price(100), price(120)], rel=1e-4)
    assert end(worker) == 0


def test_it_ends_when_it_is_told_to_while_there_is_no_scheduler(tmp_path):
    worker = subprocess.Popen([program("price_worker"), f"ipc://{tmp_path}/nobody", "1"])
    time.sleep(0.5)
    assert end(worker) == 0
