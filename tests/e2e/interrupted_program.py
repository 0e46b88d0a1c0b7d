"""Programs whose code is interrupted by code that uses the client, too: run by test_interruptions.py, one per process.

`python -m tests.e2e.interrupted_program ADDRESS WAY WAIT`. WAY is what interrupts what: a signal's handler every few
milliseconds, a finalizer, a tracing function, an audit hook, a `__reduce__`. WAIT is what the interrupting code does.
It ends with 0 if everything came back right; what hangs is ended by an alarm.
"""

import concurrent.futures
import contextlib
import faulthandler
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy

from scaler import Client
from tests.e2e import calls

INTERRUPTIONS = 25
PERIOD_S = 0.004
LARGE = 1 << 17


class Interruption:
    """What the interrupting code does. Never in the midst of itself."""

    def __init__(self, client: Client, wait: str) -> None:
        self.client, self.count, self.errors = client, 0, list[BaseException]()
        self._is_on = False
        self._wait: Callable[[], None] = getattr(self, f"wait_{wait}")
        self.shared = client.submit(calls.sleep_for, 0.05)  # which others wait for as well
        self.later: list[Any] = []

    def __call__(self, *_: Any) -> None:
        if self._is_on or self.count >= INTERRUPTIONS:
            return
        self._is_on = True
        self.count += 1
        try:
            self._wait()
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._is_on = False

    def wait_result(self) -> None:
        assert self.client.submit(calls.add_one, self.count).result() == self.count + 1
        assert self.shared.result() == 0.05

    def wait_large(self) -> None:
        assert self.client.submit(calls.echo, numpy.ones(LARGE)).result().sum() == LARGE

    def wait_map(self) -> None:
        assert self.client.map(calls.add_one, [(i,) for i in range(300)]) == list(range(1, 301))

    def wait_get(self) -> None:
        assert self.client.get({"a": (calls.add_one, 1), "b": (calls.add_one, "a")}, "b") == 3

    def wait_standard(self) -> None:
        futures: list[Any] = [self.client.submit(calls.add_one, i) for i in range(5)]
        assert not concurrent.futures.wait([*futures, self.shared]).not_done
        assert sorted(f.result() for f in concurrent.futures.as_completed(futures)) == [1, 2, 3, 4, 5]

    def wait_callback(self) -> None:
        called = threading.Event()
        self.client.submit(calls.add_one, 1).add_done_callback(lambda _: called.set())
        assert called.wait(20)

    def wait_flood(self) -> None:
        """More than fits the rings."""
        futures = [self.client.submit(calls.echo, b"x" * 200) for _ in range(1500)]
        assert all(len(future.result()) == 200 for future in futures)

    def wait_cancel(self) -> None:
        futures = [self.client.submit(calls.sleep_for, 30) for _ in range(4)]
        assert all(future.cancel() for future in futures)
        self.wait_result()

    def wait_time_out(self) -> None:
        future = self.client.submit(calls.sleep_for, 30)
        with contextlib.suppress(TimeoutError):
            future.result(0.01)
        future.cancel()


def work(client: Client, until: Callable[[], bool]) -> None:
    """What is interrupted: every way to wait, and to submit, again and again."""
    begun = time.monotonic()
    rounds = 0
    while not until():
        assert time.monotonic() - begun < 60, "the interruptions do not come"
        rounds += 1
        assert client.submit(calls.sleep_for, 0.01).result() == 0.01
        futures = [client.submit(calls.add_one, i) for i in range(600)]
        for future in futures[:20]:
            future.add_done_callback(lambda _: None)
        assert sum(f.result() for f in concurrent.futures.as_completed(futures[:20])) == sum(range(1, 21))
        assert [future.result() for future in futures] == list(range(1, 601))
        assert client.map(calls.add_one, [(i,) for i in range(200)]) == list(range(1, 201))
        assert client.submit(calls.echo, numpy.full(LARGE, rounds)).result()[-1] == rounds


def by_signal(client: Client, interruption: Interruption) -> None:
    signal.signal(signal.SIGALRM, interruption)
    signal.setitimer(signal.ITIMER_REAL, PERIOD_S, PERIOD_S)
    work(client, lambda: interruption.count >= INTERRUPTIONS)
    signal.setitimer(signal.ITIMER_REAL, 0)


def by_signal_beside_threads(client: Client, interruption: Interruption) -> None:
    """The main thread follows most of the time."""
    is_over = threading.Event()
    threads = [threading.Thread(target=work, args=(client, is_over.is_set)) for _ in range(2)]
    for thread in threads:
        thread.start()
    by_signal(client, interruption)
    is_over.set()
    for thread in threads:
        thread.join()


class Finalized:
    """Garbage in a cycle, so that the collector ends it wherever it likes."""

    interruption: Callable[[], None]

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        self.interruption()


def by_finalizer(client: Client, interruption: Interruption) -> None:
    main = threading.get_ident()
    Finalized.interruption = lambda self: interruption() if threading.get_ident() == main else None  # type: ignore
    gc.set_threshold(1, 1, 1)

    def is_over() -> bool:
        Finalized()
        return interruption.count >= INTERRUPTIONS

    futures: list[Any] = []
    while not is_over():
        Finalized()
        futures.append(client.submit(calls.add_one, len(futures)))
        Finalized()
        if len(futures) % 50 == 0:
            futures[-1].add_done_callback(lambda _: None)
            assert client.submit(calls.echo, numpy.ones(LARGE)).result().size == LARGE
    assert [future.result() for future in futures] == list(range(1, len(futures) + 1))
    gc.set_threshold(700, 10, 10)


def by_profile(client: Client, interruption: Interruption) -> None:
    calls_seen = 0

    def on_event(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls_seen
        calls_seen += 1
        if calls_seen % 7 == 0:
            interruption()

    sys.setprofile(on_event)
    work(client, lambda: interruption.count >= INTERRUPTIONS)
    sys.setprofile(None)


def by_audit_hook(client: Client, interruption: Interruption) -> None:
    main = threading.get_ident()

    def hook(event: str, arguments: Any) -> None:
        if threading.get_ident() == main and event in ("open", "os.rename", "object.__getattr__", "sys._getframe"):
            interruption()

    sys.addaudithook(hook)

    def is_over() -> bool:
        with open("/dev/null"):
            return interruption.count >= INTERRUPTIONS

    work(client, is_over)


class Reduced:
    """Pickling it uses the client."""

    def __init__(self, client: Client, interruption: Interruption) -> None:
        self._client, self._interruption = client, interruption

    def __reduce__(self) -> Any:
        self._interruption()
        return calls.echo, (self._client.send_object(numpy.ones(LARGE)),)


def by_reduce(client: Client, interruption: Interruption) -> None:
    for i in range(INTERRUPTIONS):
        value = Reduced(client, interruption)
        large, number = client.submit(calls.echo, (value, i)).result()
        assert (large.size, number) == (LARGE, i)
    assert interruption.count == INTERRUPTIONS


def inside(client: Client, way: str, wait: str) -> int:
    """Have code interrupted that uses the client."""
    interruption = Interruption(client, wait)
    globals()[f"by_{way}"](client, interruption)
    if interruption.errors:
        raise interruption.errors[0]
    return interruption.count


@contextlib.contextmanager
def ended_if_it_hangs(seconds: float) -> Iterator[None]:
    faulthandler.dump_traceback_later(seconds, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def main(address: str, way: str, wait: str) -> None:
    with ended_if_it_hangs(90), Client(address, timeout_seconds=20) as client:
        if way.startswith("inside_"):
            from tests.e2e import interrupted_program  # as the worker has it, too

            count = client.submit(interrupted_program.inside, client, way.removeprefix("inside_"), wait).result(80)
        elif wait == "disconnect":
            leave_in_handler(client)
            return
        else:
            count = inside(client, way, wait)
    assert count >= INTERRUPTIONS, count


def leave_in_handler(client: Client) -> None:
    """A handler may leave, whatever its thread waits for."""
    signal.signal(signal.SIGALRM, lambda *_: client.disconnect())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    future = client.submit(calls.sleep_for, 60)
    try:
        future.result()
    except concurrent.futures.CancelledError:
        return
    raise AssertionError("it was not cancelled")


if __name__ == "__main__":
    main(*sys.argv[1:])
