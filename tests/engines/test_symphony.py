"""The real scaler_symphony_cluster, with a stand-in for IBM's library that runs the service of docs/symphony.md."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scaler import Client
from scaler.exceptions import DeserializeObjectError, EngineError, TaskTimeoutError
from tests.engines import calls
from tests.entry_points.commands import Command, SchedulerCommand, run
from tests.processes import assert_gone, tree, wait_until

ROOT = Path(__file__).parents[2]
STANDIN = Path(__file__).parent / "standin"
OLD_SERVICE = """
import array, cloudpickle, soamapi
class Message(soamapi.Message):
    def set_payload(self, payload): self._payload = payload
    def get_payload(self): return self._payload
    def on_serialize(self, stream):
        numbers = array.array("b", self._payload)
        stream.write_byte_array(numbers, 0, len(numbers))
    def on_deserialize(self, stream): self._payload = stream.read_byte_array("b")
class Service(soamapi.ServiceContainer):
    def on_invoke(self, task_context):
        message = Message()
        task_context.populate_task_input(message)
        fn, *args = cloudpickle.loads(message.get_payload())
        output = Message()
        output.set_payload(cloudpickle.dumps(fn(*args)))
        task_context.set_task_output(output)
Service().run()
"""
RESULT_S = 60


def service_of_docs() -> str:
    text = (ROOT / "docs" / "symphony.md").read_text()
    (code,) = (code for code in re.findall(r"```python[^\n]*\n(.*?)```", text, re.DOTALL) if "ServiceContainer" in code)
    return code


class Symphony:
    """The command at work, its log, and what the stand-in has written."""

    def __init__(self, client: Client, command: Command, scheduler: SchedulerCommand, log: Path, folder: Path) -> None:
        self.client, self.command, self.scheduler, self._log, self.folder = client, command, scheduler, log, folder

    def lines(self, what: str) -> list[list[str]]:
        return [line.split() for line in self._log.read_text().splitlines() if line.split()[0] == what]

    @property
    def most_at_a_time(self) -> int:
        return max(int(line[2]) for line in self.lines("begin"))


@contextmanager
def symphony(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str, base: int = 2, service: str = "", **trouble: Any
) -> Iterator[Symphony]:
    path, log = folder / "service.py", folder / "soam.log"
    path.write_text(service or service_of_docs())
    log.touch()
    places = [str(STANDIN), str(ROOT)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    monkeypatch.setenv("SOAM_SERVICE", str(path))
    monkeypatch.setenv("SOAM_LOG", str(log))
    monkeypatch.setenv("SOAM_ABORT", str(folder / "abort"))
    monkeypatch.setenv("SOAM_TROUBLE", json.dumps(trouble))
    about = (*options, "-n", str(base))
    with (
        SchedulerCommand() as scheduler,
        Command("scaler_symphony_cluster", *about, scheduler.address, "service") as command,
    ):
        command.await_line("works for the scheduler")
        with Client(scheduler.address, timeout_seconds=20) as client:
            yield Symphony(client, command, scheduler, log, folder)
        if command.process.poll() is None:
            assert command.stop() == 0, command.err
        assert scheduler.stop() == 0


@pytest.mark.parametrize("service", ["", OLD_SERVICE], ids=["the service of the docs", "one written for 1.9.9"])
def test_tasks_of_every_kind_run_and_answer(monkeypatch, tmp_path, service):
    with symphony(monkeypatch, tmp_path, service=service) as made:
        client = made.client
        assert client.submit(calls.add, 1, 2).result(RESULT_S) == 3
        assert client.submit(calls.add, 1, b=2, c=3).result(RESULT_S) == 6
        assert client.submit(lambda x: x * 2, 21).result(RESULT_S) == 42
        assert client.submit(calls.later, "x").result(RESULT_S) == "x"
        assert client.submit(calls.same, "y" * 200_000).result(RESULT_S) == "y" * 200_000
        assert client.map(calls.add, [(i, 1) for i in range(300)]) == list(range(1, 301))
        with pytest.raises(calls.OwnError, match="number 7") as caught:
            client.submit(calls.fail, 7).result(RESULT_S)
        assert caught.value.number == 7
        with pytest.raises(ValueError, match="1 is odd"):
            client.map(calls.fail_odd, [(i,) for i in range(10)])
        first = client.submit(calls.add, 1, 2)
        assert client.submit(calls.add, first, first).result(RESULT_S) == 6

        class Point:
            def __init__(self, x):
                self.x = x

        point = client.submit(Point, 3).result(RESULT_S)
        assert (type(point).__name__, point.x) == ("Point", 3)
        assert made.lines("connect")[0][1:] == ["service", "Guest", "Guest"]
        assert made.lines("session")[0][1] == "RecoverableAllHistoricalData"


def test_the_input_is_the_function_and_its_arguments():
    program = """
import cloudpickle, pickle
from scaler.engines.job import Context, Job, JobFunction, JobTask
from scaler.engines.symphony.payloads import pack_call
sent = JobFunction(b"", 0, pickle.dumps(divmod))
task = JobTask(1 << 40, 1, 0, 0, 0, 0, 0, pickle.dumps((7, 2)))
print(cloudpickle.loads(pack_call(Job(Context("", 1, b"", "", 0), {1: sent}, {}, [task]), {})))
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout == "(<built-in function divmod>, 7, 2)\n"


@pytest.mark.parametrize("base", [1, 2])
def test_no_more_than_the_base_concurrency_run_at_a_time(monkeypatch, tmp_path, base):
    with symphony(monkeypatch, tmp_path, base=base) as made:
        futures = [made.client.submit(time.sleep, 0.02) for _ in range(20)]
        assert [future.result(RESULT_S) for future in futures] == [None] * 20
        assert made.most_at_a_time == base


def test_nested_tasks_do_not_deadlock_at_a_base_concurrency_of_1(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=1) as made:
        assert made.client.submit(calls.fibonacci, made.client, 7).result(RESULT_S) == 13
        assert made.client.submit(calls.ambient, 6).result(RESULT_S) == 21
        parents = [made.client.submit(calls.nested_map, made.client, 5) for _ in range(4)]
        assert [future.result(RESULT_S) for future in parents] == [15] * 4


def test_answers_may_come_early_twice_for_nobody_and_in_any_order_and_sessions_end(monkeypatch, tmp_path):
    trouble: dict[str, Any] = {"early": 0.3, "twice": 0.3, "unknown": 0.2, "reconnects": 0.2, "ends_after": 60}
    with symphony(monkeypatch, tmp_path, base=2, **trouble) as made:
        futures = [made.client.submit(calls.same, i) for i in range(400)]
        nested = made.client.submit(calls.fibonacci, made.client, 5)
        assert [future.result(RESULT_S) for future in futures] == list(range(400))
        assert nested.result(RESULT_S) == 5
        assert len(made.lines("on_exception")) > 3
        assert len(made.lines("session")) > len(made.lines("on_exception"))


@pytest.mark.at_night
@pytest.mark.timeout(900)
@pytest.mark.parametrize("base", [1, 4])
def test_ten_thousand_tasks_in_trouble_are_each_answered_once(monkeypatch, tmp_path, base):
    trouble: dict[str, Any] = {"early": 0.2, "twice": 0.2, "unknown": 0.1, "reconnects": 0.1, "ends_after": 700}
    with symphony(monkeypatch, tmp_path, base=base, **trouble) as made:
        futures = [made.client.submit(calls.same, i) for i in range(10_000)]
        nested = [made.client.submit(calls.fibonacci, made.client, 4) for _ in range(20)]
        assert [future.result(600) for future in futures] == list(range(10_000))
        assert [future.result(600) for future in nested] == [3] * 20


def test_a_task_that_the_service_fails_without_an_exception_fails_with_what_is_known(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, service=OLD_SERVICE, embedded=False) as made:
        with pytest.raises(EngineError, match="the Symphony service failed: it gives no reason"):
            made.client.submit(divmod, 7, 0).result(RESULT_S)
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1


class Unreadable:
    """Cannot be unpickled where its result goes."""

    def __reduce__(self):
        return divmod, (1, 0)


def test_a_result_that_cannot_be_unpickled_is_an_error_and_its_slot_goes_on(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=1) as made:
        with pytest.raises(EngineError, match="cannot be unpickled: ZeroDivisionError"):
            made.client.submit(Unreadable).result(RESULT_S)
        with pytest.raises(DeserializeObjectError, match="ZeroDivisionError"):
            made.client.submit(calls.same, Unreadable()).result(RESULT_S)
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1


def test_a_profile_without_the_session_type_gets_its_default(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, no_types=True) as made:
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1
        assert made.lines("session")[0][1] == "None"
        assert "there is no session of type RecoverableAllHistoricalData" in made.command.out


def test_a_send_that_waits_holds_up_no_answer(monkeypatch, tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    with symphony(monkeypatch, tmp_path, base=2, slow_send=str(gate)) as made:
        slow = made.client.submit(calls.same, "slow")
        assert [made.client.submit(calls.same, i).result(RESULT_S) for i in range(5)] == [0, 1, 2, 3, 4]
        gate.unlink()
        assert slow.result(RESULT_S) == "slow"


def test_a_result_that_waits_while_it_is_unpickled_holds_up_no_other(monkeypatch, tmp_path):
    gate = tmp_path / "gate"
    with symphony(monkeypatch, tmp_path, base=2) as made:
        slow: Any = made.client.submit(calls.Gate, str(gate))
        wait_until(lambda: made.lines("end"))
        assert [made.client.submit(calls.same, i).result(RESULT_S) for i in range(5)] == [0, 1, 2, 3, 4]
        gate.touch()
        assert slow.result(RESULT_S) == str(gate)


def test_a_cancelled_task_keeps_its_slot_until_it_has_answered_and_no_slot_is_lost(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=1) as made:
        for number in range(3):
            running = made.client.submit(calls.note, str(tmp_path), f"running{number}", 0.3)
            wait_until((tmp_path / f"running{number}-0").exists)
            assert running.cancel()
            assert made.client.submit(calls.same, 1).result(RESULT_S) == 1
        assert made.most_at_a_time == 1


def test_what_waits_can_be_cancelled_and_never_runs(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=1) as made:
        first = made.client.submit(calls.note, str(tmp_path), "first", 0.3)
        waiting = [made.client.submit(calls.note, str(tmp_path), "waiting") for _ in range(5)]
        assert all(future.cancel() for future in waiting)
        assert first.result(RESULT_S) == "first"
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1
        assert not list(tmp_path.glob("waiting*"))


def test_a_task_with_a_time_limit_is_stopped(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=1) as made:
        with pytest.raises(TaskTimeoutError, match=r"longer than its limit of 0\.5 s"):
            made.client.options(timeout=0.5).submit(calls.spin, 30).result(RESULT_S)
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1


def test_a_library_that_aborts_is_started_again_and_nothing_is_lost(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=2) as made:
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1
        (tmp_path / "abort").touch()
        futures = [made.client.submit(calls.same, i) for i in range(50)]
        assert [future.result(RESULT_S) for future in futures] == list(range(50))
        assert "ended by signal 6; another is started" in made.command.out


def test_a_task_that_kills_its_service_fails_and_others_go_on(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, base=2) as made:
        with pytest.raises(Exception, match="the service has ended"):  # an exception of Symphony's, which it embeds
            made.client.submit(calls.die).result(RESULT_S)
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_all_that_it_has_started_though_tasks_run(monkeypatch, tmp_path, number):
    with symphony(monkeypatch, tmp_path, base=1) as made:
        running = made.client.submit(time.sleep, 30)
        wait_until(lambda: made.lines("begin"))
        processes = tree(made.command.process.pid)
        assert len(processes) > 1
        made.command.process.send_signal(number)
        assert made.command.process.wait(20) == 0
        for process in processes:  # a service that runs a task is Symphony's, and hears of the end when it has ended
            if process.is_running() and "service.py" in " ".join(process.cmdline()):
                process.kill()
        assert_gone(processes)
        running.cancel()


def test_credentials_come_from_options(monkeypatch, tmp_path):
    with symphony(monkeypatch, tmp_path, "--symphony-user", "me", "--symphony-password", "secret") as made:
        assert made.client.submit(calls.same, 1).result(RESULT_S) == 1
        assert made.lines("connect")[0][2:] == ["me", "secret"]


def test_help_works_without_ibm_s_library_and_a_missing_one_is_one_line():
    shown = run("scaler_symphony_cluster", "-h")
    assert shown.returncode == 0
    assert "usage: scaler_symphony_cluster [options] address service_name" in shown.stdout
    for flag in ("-n, --base-concurrency", "-w, --worker-name", "-hi, --heartbeat-interval", "-ds, --death-timeout"):
        assert flag in shown.stdout
    ended = run("scaler_symphony_cluster", "tcp://127.0.0.1:1", "service")
    assert ended.returncode == 1
    assert "there is no soamapi here: it comes with IBM Spectrum Symphony" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
