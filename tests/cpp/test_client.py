"""Named functions, by the client in Python and by the one in C++: the same must hold for both."""

from concurrent.futures import CancelledError
from typing import Any

import pytest

from scaler import Client, NamedFunction, SchedulerClusterCombo
from scaler.exceptions import TaskTimeoutError, WorkerDiedError
from scaler.values.neutral import Failure
from tests.cpp.programs import Driver, Refused
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until

HERE = "tests.cpp.functions"


class FromPython:
    """What Driver is, by a client in Python."""

    def __init__(self, address: str) -> None:
        self.client = Client(address, timeout_seconds=20)
        self._futures: dict[int, Any] = {}

    def submit(self, name: str, args: Any, **options: Any) -> int:
        client = self.client.options(**options) if options else self.client
        args, kwargs = (args["args"], args["kwargs"]) if isinstance(args, dict) else (args, {})
        future = client.submit(NamedFunction(name), *args, **kwargs)
        self._futures[future.task_id] = future
        return future.task_id

    def get(self, call: int, timeout_s: float = 30) -> Any:
        return self._futures[call].result(timeout_s)

    def call(self, name: str, args: Any, **options: Any) -> Any:
        return self.get(self.submit(name, args, **options))

    def cancel(self, call: int) -> bool:
        return bool(self._futures[call].cancel())

    def close(self) -> None:
        self.client.disconnect()


class FromCpp(Driver):
    def cancel(self, call: int) -> bool:
        return bool(self.ask(do="cancel", id=call))


@pytest.fixture(scope="module", params=["rings", "wire"])
def cluster(request):
    with SchedulerClusterCombo(2) if request.param == "rings" else RemoteCluster(2) as made:
        yield made


@pytest.fixture(params=[FromPython, FromCpp], ids=["python", "cpp"])
def client(request, cluster):
    made = request.param(cluster.get_address())
    yield made
    made.close()


def failure_of(client: Any, name: str, args: Any, **options: Any) -> Failure:
    """What the call's failure says, in either language."""
    try:
        client.call(name, args, **options)
    except Refused as refused:
        said = refused.said
        assert said["error"] == "RemoteError", said
        return Failure(said["type"], said["message"], said["traceback"])
    except Exception as error:
        kind = type(error).__qualname__
        if type(error).__module__ != "builtins":
            kind = f"{type(error).__module__}.{kind}"
        return Failure(kind, str(error), str(error.__cause__))
    raise AssertionError("it has not failed")


def test_a_function_is_called_by_its_name(client):
    assert client.call("math:sqrt", [2.25]) == 1.5
    assert client.call(f"{HERE}:Shop.total", {"args": [[1, 2.5]], "kwargs": {"discount": 0.5}}) == 1.75


@pytest.mark.parametrize(
    "args",
    [
        [],
        [None, True, False, 0, -1, 2**53, 1.5, "", "text", "\u00fc\u4e2d\U0001f600\0", [], {}],
        [[[[1]], {"a": {"b": [2]}}]],
    ],
    ids=["none", "atoms", "nested"],
)
def test_what_json_has_arrives_as_it_was(client, args):
    assert client.call(f"{HERE}:echo", args) == {"args": args, "kwargs": {}}


def test_a_failure_has_its_type_its_message_and_its_traceback(client):
    failure = failure_of(client, f"{HERE}:divide", [1, 0])
    assert failure.kind == "ZeroDivisionError"
    assert failure.message == "division by zero"
    assert "in divide" in failure.traceback
    odd = failure_of(client, f"{HERE}:raise_odd", ["oh"])
    assert odd[:2] == (f"{HERE}.OddError", "oh")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("no_module_of_this_name:f", "ModuleNotFoundError", "no_module_of_this_name"),
        ("math:no", "AttributeError", "no"),
        (f"{HERE}:give_bytes", "TypeError", "takes and returns what JSON has"),
        (f"{HERE}:divide", "TypeError", "missing 2 required positional arguments"),
    ],
)
def test_what_cannot_be_called_or_said_fails_with_a_sentence(client, name, kind, words):
    failure = failure_of(client, name, [])
    assert failure.kind == kind
    assert words in failure.message


def test_thousands_of_calls_come_back_in_order(client):
    calls = [client.submit(f"{HERE}:echo", [number]) for number in range(3000)]
    assert [client.get(call)["args"] for call in calls] == [[number] for number in range(3000)]


def test_large_arguments_and_results_travel_as_objects(client):
    text = "0123456789\u00fc" * 100_000
    assert client.call(f"{HERE}:repeat", [text, 2]) == text * 2
    assert client.call("builtins:len", [text]) == len(text)
    assert client.call(f"{HERE}:repeat", ["x", 3_000_000]) == "x" * 3_000_000


def test_what_is_cancelled_is_over_at_once_and_others_go_on(client, tmp_path):
    log = tmp_path / "log"
    log.touch()
    calls = [client.submit(f"{HERE}:note", [str(log), number, 0.5]) for number in range(6)]
    wait_until(lambda: log.read_text())
    last = calls.pop()
    assert client.cancel(last)
    with pytest.raises((CancelledError, Refused)) as raised:
        client.get(last)
    assert not isinstance(raised.value, Refused) or raised.value.said["error"] == "CancelledError"
    assert [client.get(call) for call in calls] == list(range(5))
    assert client.cancel(last)
    assert not client.cancel(calls[0])
    assert "5" not in log.read_text().split()


def test_a_worker_that_dies_of_a_call_is_an_error_of_its_own(client):
    with pytest.raises((WorkerDiedError, Refused), match="SIGKILL") as raised:
        client.call(f"{HERE}:die", [], retries=0)
    assert not isinstance(raised.value, Refused) or raised.value.said["error"] == "WorkerDiedError"


def test_a_time_limit_ends_a_call_and_says_so(client):
    failure = failure_of(client, f"{HERE}:sleep", [30], timeout=0.3)
    assert failure.kind.endswith(TaskTimeoutError.__name__)
    assert "ran longer than its limit of 0.3 s" in failure.message


def test_a_coroutine_function_is_awaited(client):
    assert client.call(f"{HERE}:later", [0.01, {"a": 1}]) == {"a": 1}


def test_an_odd_name_is_refused_where_it_is_written(client):
    with pytest.raises((ValueError, Refused), match="1 to 255 bytes"):
        client.submit("", [])


# by the client in Python only


@pytest.fixture
def python(cluster):
    with Client(cluster.get_address(), timeout_seconds=20) as made:
        yield made


def test_a_named_functions_result_is_an_argument_of_other_tasks(python):
    named = python.submit(NamedFunction(f"{HERE}:echo"), 1, two=[2])
    assert python.submit(lambda said: said["kwargs"]["two"], named).result(20) == [2]
    large = python.submit(NamedFunction(f"{HERE}:repeat"), "x", 1_000_000)
    assert python.submit(len, large).result(20) == 1_000_000
    failed = python.submit(NamedFunction(f"{HERE}:divide"), 1, 0)
    with pytest.raises(ZeroDivisionError):
        python.submit(abs, failed).result(20)


def test_what_is_no_json_is_a_type_error_at_once(python):
    for argument in (b"bytes", python.submit(abs, 1), object()):
        with pytest.raises(TypeError, match="takes and returns what JSON has"):
            python.submit(NamedFunction("math:sqrt"), argument)
    with pytest.raises(TypeError, match="is called by `submit` only"):
        python.map(NamedFunction("math:sqrt"), [(1,)])


def test_a_named_function_runs_in_place_of_waiting_for_it(cluster):
    with Client(cluster.get_address(), timeout_seconds=20) as client:

        def parent(inner: Client) -> Any:
            futures = [inner.submit(NamedFunction(f"{HERE}:divide"), number, 2) for number in range(4)]
            failed = inner.submit(NamedFunction(f"{HERE}:divide"), 1, 0)
            return [future.result() for future in futures], type(failed.exception()).__name__

        futures = [client.submit(parent, client) for _ in range(4)]
        assert [future.result(30) for future in futures] == [([0, 0.5, 1, 1.5], "ZeroDivisionError")] * 4
