"""scaler_scheduler and scaler_cluster as a user starts and stops them: real processes, loopback, ports of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from scaler import Client
from scaler.exceptions import DisconnectedError
from tests.e2e import calls, stoppable
from tests.entry_points.commands import Command, SchedulerCommand, run
from tests.processes import segments_of, tree, wait_until

LOCAL = "tcp://127.0.0.1:0"
READY = r"cluster is ready: (\d+) workers"


def cluster_of(scheduler: SchedulerCommand, *arguments: str, **more: Any) -> Command:
    return Command("scaler_cluster", scheduler.address, *arguments, **more)


@pytest.mark.parametrize("event_loop", ["builtin", "uvloop"])
@pytest.mark.parametrize("scheduler_first", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_tasks_run_and_signals_stop_everything_in_either_order(number, scheduler_first, event_loop):
    loop = ("-e", event_loop)
    with SchedulerCommand(*loop) as scheduler, cluster_of(scheduler, "-n", "2", *loop) as cluster:
        assert cluster.await_line(READY) == "2"
        with Client(scheduler.address, timeout_seconds=20) as client:
            assert client.map(calls.add_one, [(i,) for i in range(2000)]) == list(range(1, 2001))
            futures = [client.submit(calls.add_one, i) for i in range(2000)]
            assert [future.result(20) for future in futures] == list(range(1, 2001))
        both = (scheduler, cluster) if scheduler_first else (cluster, scheduler)
        assert [each.stop(number) for each in both] == [0, 0]
        assert (scheduler.err, cluster.err) == ("", "")
        assert "scheduler stops" in scheduler.out
        assert "cluster stops" in cluster.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_signal_that_ends_the_commands_takes_along_what_tasks_have_started(number, tmp_path):
    with SchedulerCommand() as scheduler, cluster_of(scheduler, "-n", "1") as cluster:
        cluster.await_line(READY)
        client = Client(scheduler.address, timeout_seconds=5)
        client.submit(stoppable.leave_a_process, str(tmp_path))
        wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().endswith("\n"))
        child = int((tmp_path / "child").read_text())
        segments = segments_of({each.process.pid for each in (scheduler, cluster)})
        assert child in {process.pid for process in tree(cluster.process.pid)}
        assert segments
        assert [cluster.stop(number), scheduler.stop(number)] == [0, 0]
        assert (scheduler.err, cluster.err) == ("", "")
        assert not [path for path in segments if os.path.exists(path)]
        client.disconnect()


def test_a_hang_up_that_is_ignored_at_the_start_stays_ignored():
    nohup = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    with Command("scaler_scheduler", LOCAL, before=nohup) as scheduler:
        address = scheduler.await_line(r"scheduler listens at (\S+)")
        with Command("scaler_cluster", address, "-n", "1", before=nohup) as cluster:
            cluster.await_line(READY)
            for each in (scheduler, cluster):
                each.process.send_signal(signal.SIGHUP)
            with Client(address, timeout_seconds=20) as client:
                assert client.submit(calls.add_one, 1).result(20) == 2
            assert [cluster.stop(), scheduler.stop()] == [0, 0]


def test_busy_workers_do_not_hold_up_the_end():
    with SchedulerCommand() as scheduler, cluster_of(scheduler, "-n", "3") as cluster:
        client = Client(scheduler.address, timeout_seconds=5)
        futures = [client.submit(calls.sleep_for, 60) for _ in range(3)]
        cluster.await_line(READY)
        assert cluster.stop() == 0
        assert scheduler.stop() == 0
        with pytest.raises(DisconnectedError):
            futures[0].result(20)
        client.disconnect()


def test_segments_and_ports_are_gone_afterwards():
    with SchedulerCommand() as scheduler, cluster_of(scheduler, "-n", "1") as cluster:
        cluster.await_line(READY)
        pids = {process.pid for each in (scheduler, cluster) for process in tree(each.process.pid)}
        segments = segments_of(pids)
        assert segments
        assert cluster.stop() == 0
        assert scheduler.stop() == 0
        assert not [path for path in segments if os.path.exists(path)]
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(scheduler.address.rpartition(":")[2])))


def test_cluster_waits_for_its_scheduler_and_for_the_next_one(tmp_path):
    address = f"ipc://{tmp_path}/scheduler"
    with Command("scaler_cluster", address, "-n", "1") as cluster:
        cluster.await_line("cluster of 1 workers")
        for _ in range(2):
            with SchedulerCommand(address=address) as scheduler, Client(address, timeout_seconds=20) as client:
                assert client.submit(calls.add_one, 1).result(20) == 2
                assert scheduler.stop() == 0
            assert not os.path.exists(tmp_path / "scheduler")
        assert cluster.stop() == 0


@pytest.mark.parametrize("event_loop", ["builtin", "uvloop"])
def test_cluster_that_waits_for_a_scheduler_stops_when_told(event_loop):
    with Command("scaler_cluster", "tcp://127.0.0.1:9", "-n", "1", "-el", event_loop) as cluster:
        cluster.await_line("cluster of 1 workers")
        assert cluster.stop() == 0
        assert cluster.err == ""


def test_cluster_ends_when_the_scheduler_stays_away():
    ended = run("scaler_cluster", "tcp://127.0.0.1:9", "-n", "1", "-ds", "0.3")
    assert ended.returncode == 1
    why = "nothing listens there (connection refused)"
    assert ended.stderr == f"scaler_cluster: no scheduler answered at tcp://127.0.0.1:9 within 0.3 s: {why}\n"
    with SchedulerCommand() as scheduler, cluster_of(scheduler, "-n", "1", "-ds", "0.3") as cluster:
        cluster.await_line(READY)
        processes = tree(cluster.process.pid)
        assert scheduler.stop() == 0
        assert cluster.await_end(processes) == 1
        assert cluster.err.count("\n") == 1


@pytest.mark.parametrize("event_loop", ["builtin", "uvloop"])
def test_a_client_stops_scheduler_and_clusters(event_loop):
    with SchedulerCommand("-e", event_loop) as scheduler, cluster_of(scheduler, "-n", "1") as cluster:
        cluster.await_line(READY)
        processes = tree(cluster.process.pid)
        Client(scheduler.address, timeout_seconds=20).shutdown()
        assert scheduler.await_end() == 0
        assert cluster.await_end(processes) == 0


def test_a_protected_scheduler_is_not_stopped_by_a_client():
    with SchedulerCommand("--protected") as scheduler, cluster_of(scheduler, "-n", "1") as cluster:
        cluster.await_line(READY)
        with Client(scheduler.address, timeout_seconds=20) as client:
            with pytest.raises(ValueError, match="protected"):
                client.shutdown()
            assert client.submit(calls.add_one, 1).result(20) == 2
        assert [cluster.stop(), scheduler.stop()] == [0, 0]


def test_number_of_workers_is_the_number_of_cores_or_of_names():
    with SchedulerCommand() as scheduler:
        cores = os.sched_getaffinity(0)
        one = {min(cores)}
        os.sched_setaffinity(0, one)
        try:
            with cluster_of(scheduler) as cluster:
                assert cluster.await_line(READY) == "1"
                assert cluster.stop() == 0
        finally:
            os.sched_setaffinity(0, cores)
        with cluster_of(scheduler, "--worker-names", "left,right,middle") as cluster:
            assert cluster.await_line(READY) == "3"
            assert scheduler.await_line(r"worker (middle) joined") == "middle"
            assert cluster.stop() == 0


def test_workers_import_from_their_working_directory(tmp_path):
    (tmp_path / "only_here_0.py").write_text("def where():\n    import os\n    return os.getcwd()\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[2]); import only_here_0; from scaler import Client\n"
        "with Client(sys.argv[1], timeout_seconds=20) as client: print(client.submit(only_here_0.where).result(20))"
    )
    with SchedulerCommand() as scheduler, cluster_of(scheduler, "-n", "1", cwd=str(tmp_path)):
        program = [sys.executable, "-c", code, scheduler.address, str(tmp_path)]
        shown = subprocess.run(program, capture_output=True, text=True, timeout=30)
        assert (shown.stdout.strip(), shown.stderr) == (str(tmp_path), "")


def test_port_in_use(tmp_path):
    log = tmp_path / "scheduler.log"
    with SchedulerCommand() as scheduler:
        why = f"cannot listen at {scheduler.address}: it is in use, another program listens there\n"
        ended = run("scaler_scheduler", scheduler.address)
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"scaler_scheduler: {why}")
        ended = run("scaler_scheduler", scheduler.address, "-lp", str(log))
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"scaler_scheduler: {why}")
        assert log.read_text().endswith(why)
        assert scheduler.stop() == 0


@pytest.mark.parametrize("event_loop", ["builtin", "uvloop"])
def test_what_keeps_the_scheduler_from_listening_is_one_line_and_status_1(event_loop):
    for address, why in (("tcp://192.0.2.1:0", "no interface"), ("ipc:///nonexistent/s", "does not exist")):
        ended = run("scaler_scheduler", "--insecure", address, "-e", event_loop)
        # What another test that runs just now has had killed may be swept here, and is said.
        said = [line for line in ended.stdout.splitlines() if "segments of schedulers that were killed" not in line]
        assert (ended.returncode, said) == (1, [])
        assert ended.stderr.count("\n") == 1
        assert why in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["scaler_scheduler"], "the address is missing"),
        (["scaler_scheduler", "tcp://127.0.0.1:80000"], "a port is a number"),
        (["scaler_scheduler", "tcp://0.0.0.0:0"], "--insecure"),
        (["scaler_scheduler", LOCAL, "--protectde"], "did you mean --protected?"),
        (["scaler_scheduler", LOCAL, "-qs", "none"], "--per-worker-queue-size must be"),
        (["scaler_scheduler", LOCAL, "-lp", "/nonexistent/log"], "cannot log to /nonexistent/log"),
        (["scaler_cluster", LOCAL], "leaves the port"),
        (["scaler_cluster", "tcp://127.0.0.1:9", "-n", "3", "-wn", "a,b"], "2 worker names for 3 workers"),
        (["scaler_cluster", "tcp://127.0.0.1:9", "-lc", "/nonexistent"], "/nonexistent cannot be read"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(arguments, why):
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert why in ended.stderr
    assert ended.stderr.startswith(f"{arguments[0]}: ")


@pytest.mark.parametrize("name", ["scaler_scheduler", "scaler_cluster"])
def test_help(name):
    ended = run(name, "-h")
    assert (ended.returncode, ended.stderr) == (0, "")
    word = "address" if name == "scaler_scheduler" else "[address]"
    assert ended.stdout.startswith(f"usage: {name} [options] {word}\n")


def test_on_one_machine_no_command_needs_an_address(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "connections"))
    ended = run("scaler_cluster", "-n", "1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no scheduler of this user has left a file" in ended.stderr
    assert ended.stderr.count("\n") == 1
    with SchedulerCommand() as scheduler, Command("scaler_cluster", "-n", "1") as cluster:
        cluster.await_line(READY)
        with Client(timeout_seconds=20) as client:
            assert client.submit(calls.add_one, 1).result(20) == 2
        shown = run("scaler_top", "--once", "--json")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert scheduler.address in shown.stdout
        assert [cluster.stop(), scheduler.stop()] == [0, 0]


def test_options_come_from_the_environment(tmp_path, monkeypatch):
    address = f"ipc://{tmp_path}/scheduler"
    monkeypatch.setenv("SCALER_SCHEDULER_ADDRESS", address)
    monkeypatch.setenv("SCALER_CLUSTER_WORKER_NAMES", "left,right")
    monkeypatch.setenv("SCALER_ADDRESS", address)
    with Command("scaler_scheduler") as scheduler, Command("scaler_cluster") as cluster:
        assert cluster.await_line(READY) == "2"
        assert [scheduler.stop(), cluster.stop()] == [0, 0]
    monkeypatch.setenv("SCALER_CLUSTER_NUM_OF_WORKRS", "2")
    ended = run("scaler_cluster")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "did you mean SCALER_CLUSTER_NUM_OF_WORKERS?" in ended.stderr


def test_options_come_from_a_file(tmp_path):
    path = tmp_path / "scaler.toml"
    path.write_text(
        f'[scheduler]\naddress = "ipc://{tmp_path}/scheduler"\nlogging-level = "ERROR"\n\n'
        f'[cluster]\naddress = "ipc://{tmp_path}/scheduler"\nworker-names = ["a", "b"]\n'
    )
    options = ("--config", str(path))
    with Command("scaler_scheduler", *options) as scheduler, Command("scaler_cluster", *options) as cluster:
        assert cluster.await_line(READY) == "2"
        assert [scheduler.stop(), cluster.stop()] == [0, 0]
        assert scheduler.out == ""
    path.write_text("[scheduler]\nprotectde = true\n")
    ended = run("scaler_cluster", "tcp://127.0.0.1:9", *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("there is no option protectde in [scheduler]; did you mean protected?\n")


def test_options_without_effect_are_announced_in_the_log():
    with SchedulerCommand("-ls", "5", "--object-retention-seconds", "5") as scheduler:
        assert scheduler.stop() == 0
        assert scheduler.out.count("[WARNING]") == 2
        assert "--load-balance-seconds is deprecated and has no effect" in scheduler.out
        assert "--object-retention-seconds is deprecated and has no effect" in scheduler.out


def test_a_missing_uvloop_is_named_with_what_to_install():
    code = (
        "import sys; sys.modules['uvloop'] = None; sys.argv[1:] = ['tcp://127.0.0.1:9', '-el', 'uvloop']\n"
        "from scaler.entry_points.{} import main; sys.exit(main())"
    )
    for name in ("scheduler", "cluster"):
        ended = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, timeout=30)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "pip install scaler[uvloop]" in ended.stderr
        assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["scaler_scheduler", "scaler_cluster"])
def test_a_signal_at_any_moment_of_the_start_leaves_neither_traceback_nor_segment(name):
    for step in range(8):
        with Command(name, "tcp://127.0.0.1:0" if name == "scaler_scheduler" else "tcp://127.0.0.1:9") as command:
            time.sleep(0.04 * step)
            pid = command.process.pid
            segments = segments_of({pid}) if psutil.pid_exists(pid) else set()
            command.process.send_signal(signal.SIGINT)
            try:
                status = command.process.wait(5)
            except subprocess.TimeoutExpired:  # Python swallows a KeyboardInterrupt in a callback of its imports
                command.process.send_signal(signal.SIGINT)
                status = command.process.wait(20)
            assert not [path for path in segments if os.path.exists(path)]
            # Before the command's first line runs, the interpreter answers by itself.
            assert status == 0 or "in run_command" not in command.err, command.err


def test_killed_scheduler_is_swept_by_the_next_one():
    with SchedulerCommand() as killed:
        segments = segments_of({killed.process.pid})
        assert segments
        killed.process.kill()
        killed.process.wait()
        with SchedulerCommand() as scheduler:
            wait_until(lambda: not [path for path in segments if os.path.exists(path)])
            assert scheduler.stop() == 0
