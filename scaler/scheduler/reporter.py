"""Reporter: what the scheduler says about itself, topic by topic, as values.

Numbers come from the core in columns (native/scheduler/snapshot.pyx); names, hosts and processes from whoever let the
peers in. Nothing is kept here from one report to the next but names that were made once.

Rule 1: what is a text here was written by somebody else: it is cut, and made printable where it is one line.
Rule 2: a table of five thousand workers holds the scheduler's thread for a millisecond at most (perf/monitor.py). So
        whatever is per worker is a column from the core, or was made when the worker came.
Not here: sockets and time (publisher), sentences about one task (explain).
"""

import os
import platform
import socket
import time
from array import array
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Protocol

from scaler._native import (
    STATUS_MISSING,
    STATUS_NO_WORKER,
    STATUS_OK,
    STATUS_RAISED,
    STATUS_REFUSED,
    STATUS_STOPPED,
    STATUS_UNREADABLE,
    STATUS_WORKER_DIED,
    FailureGroup,
    SchedulerCore,
    calls_in_place,
    client_columns,
    function_columns,
    function_payload,
    refusals,
    standing_of,
    totals,
    worker_columns,
    worker_indices,
)
from scaler.monitor.codec import PackedTexts
from scaler.monitor.events import EVENT_BYTES, OUTCOMES, read_events
from scaler.monitor.report import (
    Body,
    Clients,
    Counts,
    Events,
    Failures,
    Functions,
    Histograms,
    Hosts,
    Recorder,
    Summary,
    Tally,
    Task,
    Workers,
)
from scaler.scheduler.explain import explain
from scaler.scheduler.function_names import name_in, printable
from scaler.values.death_facts import read_facts
from scaler.values.usage import HostUsage, KnownClient, KnownHost, KnownWorker

MOST_EVENTS = 16384  # in one report
MOST_SEARCHED = 65536  # events, for how a task has ended
MANY_EVENTS = 4096  # that are said before the second is over
EVENTS_S = 0.95
MOST_TEXT = 16000
_VERSION = version("scaler")
_TASK_MASK = (1 << 64) - 1
_STATUS_NAMES = {
    STATUS_OK: "",
    STATUS_RAISED: "",
    STATUS_UNREADABLE: "",
    STATUS_WORKER_DIED: "scaler.exceptions.ProcessorDiedError",
    STATUS_REFUSED: "scaler.exceptions.TaskRefusedError",
    STATUS_NO_WORKER: "scaler.exceptions.NoWorkerError",
    STATUS_MISSING: "scaler.exceptions.MissingObjects",
    STATUS_STOPPED: "scaler.exceptions.ClientCancelledException",
}


class Peers(Protocol):
    """What has let peers in: PumpPeers on this host, RemotePeers for sessions of others."""

    def known_workers(self) -> dict[int, KnownWorker]: ...  # by index in the core
    def known_clients(self) -> dict[int, KnownClient]: ...  # by the 24 bits of their tasks
    def known_hosts(self) -> list[KnownHost]: ...
    def why_unable(self) -> Iterable[str]: ...


class Reporter:
    """`usage` says what supervisors have said of hosts (None: nothing), `tallies` what the shell has counted."""

    def __init__(
        self,
        core: SchedulerCore,
        *,
        address: str,
        monitor_address: Callable[[], str],
        peers: Iterable[Peers],
        usage: "Usages",
        lag_ns: Callable[[], int],
        messages: Callable[[], dict[str, int]],
        warnings: Callable[[], list[str]],
    ) -> None:
        self._core, self._peers, self._usage = core, list(peers), usage
        self._address, self._monitor_address = address, monitor_address
        self._lag_ns, self._messages, self._warnings = lag_ns, messages, warnings
        self._started_ns = time.time_ns()
        self._host_name = socket.gethostname()
        self._process = OwnProcess()
        self._worker_texts: tuple[int, list[int], PackedTexts] = (-1, [], PackedTexts.of(()))
        self._function_names: dict[int, str] = {}
        self._next_event = max(0, core.recorder.written - MOST_EVENTS)
        self._lost_events = 0
        self._events_due_s = 0.0

    def make(self, topic: str) -> Body | None:
        """The body of a report on this topic; None if there is none of that name."""
        maker = _MAKERS.get(topic)
        if maker is not None:
            return maker(self)
        kind, _, task = topic.partition("/")
        return self.task(int(task, 16)) if kind == "task" else None

    # tables

    def summary(self) -> Summary:
        core = self._core
        what = totals(core)
        cpu_share, rss_bytes = self._process.look()
        shared_total, shared_free = shared_memory_bytes()
        segment = core.recorder.memory
        return Summary(
            scheduler_version=_VERSION,
            python_version=platform.python_version(),
            address=self._address,
            monitor_address=self._monitor_address(),
            host_name=self._host_name,
            pid=os.getpid(),
            started_ns=self._started_ns,
            counts=Counts(**core.call_counts(), in_place=calls_in_place(core)),
            hosts=len({host.number for each in self._peers for host in each.known_hosts()}),
            cpu_share=cpu_share,
            rss_bytes=rss_bytes,
            lag_ns=self._lag_ns(),
            shared_memory_total_bytes=shared_total,
            shared_memory_free_bytes=shared_free,
            messages=Tally.of(self._messages()),
            refusals=Tally.of({name: count for name, count in refusals(core).items() if count}),
            restarts=Tally.of(self._usage.restarts()),
            warnings=[printable(text, 1000) for text in self._warnings()],
            recorder=Recorder(
                "" if segment is None else segment.name, core.recorder.room, core.recorder.written
            ),
            **what,
        )  # fmt: skip

    def workers(self) -> Workers:
        made = Workers(**worker_columns(self._core), name=[])
        made.name = self._names_of_workers()  # type: ignore[assignment]
        return made

    def _names_of_workers(self) -> PackedTexts:
        changes, _, texts = self._worker_texts
        if changes != self._core.pool.changes:
            known = self._known_workers()
            order = worker_indices(self._core)
            texts = PackedTexts.of(printable(known[index].name) if index in known else "" for index in order)
            self._worker_texts = self._core.pool.changes, order, texts
        return texts

    def _known_workers(self) -> dict[int, KnownWorker]:
        return {index: one for each in self._peers for index, one in each.known_workers().items()}

    def functions(self) -> Functions:
        columns, durations, queued, payloads = function_columns(self._core)
        names = [
            self._name_of_function(number, payload)
            for number, payload in zip(columns["number"], payloads, strict=True)
        ]  # fmt: skip
        here = set(columns["number"])
        self._function_names = {number: name for number, name in self._function_names.items() if number in here}
        return Functions(**columns, name=names, durations=Histograms(*durations), queued=Histograms(*queued))

    def _name_of_function(self, number: int, payload: bytes) -> str:
        if not number:
            return "(other functions)"
        name = self._function_names.get(number)
        if name is None:
            name = self._function_names[number] = name_in(payload, number)
        return name

    def find_function(self, number: int) -> str:
        """What the function of this number is called."""
        return self._function_names.get(number) or name_in(function_payload(self._core, number), number)

    def clients(self) -> Clients:
        columns = client_columns(self._core)
        known = {bits: one for each in self._peers for bits, one in each.known_clients().items()}
        rows = [known.get(bits) for bits in columns["bits"]]
        now_ns = time.monotonic_ns()
        return Clients(
            **columns,
            name=[printable(row.name) if row else "" for row in rows],
            host_name=[printable(row.host_name) if row else "" for row in rows],
            pid=array("I", [row.pid & 0xFFFFFFFF if row else 0 for row in rows]),
            heard_ns=array("Q", [(row.heard_ns or now_ns) if row else 0 for row in rows]),
        )

    def hosts(self) -> Hosts:
        """One row for each host, with all of its clusters in it."""
        made = Hosts()
        columns, what = worker_columns(self._core), totals(self._core)
        workers: dict[int, int] = {}
        for host in columns["host"]:
            workers[host] = workers.get(host, 0) + 1
        by_number: dict[int, list[KnownHost]] = {0: [KnownHost(0, self._host_name)]}
        for each in self._peers:
            for one in each.known_hosts():
                by_number.setdefault(one.number, []).append(one)
        now_ns = time.monotonic_ns()
        for number, known in sorted(by_number.items()):
            usage = self._usage.host(number)
            shared_total, shared_free = shared_memory_bytes() if number == 0 else (
                usage.shared_memory_total_bytes, usage.shared_memory_free_bytes
            )  # fmt: skip
            made.number.append(number)
            made.name.append(printable(known[-1].name))
            made.cluster.append(printable(",".join(one.cluster for one in known if one.cluster)))
            made.cores.append(usage.cores or (os.cpu_count() or 1 if number == 0 else 0))
            made.workers.append(workers.get(number, 0))
            made.agent_pid.append((usage.agent_pid or known[-1].agent_pid) & 0xFFFFFFFF)
            made.agent_cpu_share.append(usage.agent_cpu_share)
            made.agent_rss_bytes.append(usage.agent_rss_bytes)
            made.memory_total_bytes.append(usage.memory_total_bytes)
            made.memory_free_bytes.append(usage.memory_free_bytes)
            made.shared_memory_total_bytes.append(shared_total)
            made.shared_memory_free_bytes.append(shared_free)
            made.objects.append(what["objects"] if number == 0 else 0)
            made.object_bytes.append(what["object_bytes"] if number == 0 else 0)
            made.lag_ns.append(known[-1].lag_ns)
            made.heard_ns.append(known[-1].heard_ns or now_ns)
        return made

    def failures(self) -> Failures:
        made = Failures()
        for group in reversed(self._core.failure_groups()):
            kind, message, text = self._texts_of(group)
            made.exception.append(kind)
            made.message.append(message)
            made.place.append(printable(group.place.decode("utf-8", "replace")))
            made.function.append(group.function)
            made.count.append(group.count)
            made.first_ns.append(group.first_ns)
            made.last_ns.append(group.last_ns)
            made.task.append(group.task)
            made.worker.append(group.worker)
            made.traceback.append(text)
        return made

    def _texts_of(self, group: FailureGroup) -> tuple[str, str, str]:
        """Exception, message and traceback of a group."""
        text = group.text.decode("utf-8", "replace")[-MOST_TEXT:]
        kind = _STATUS_NAMES.get(group.status, "")
        if not kind:
            known = printable(group.kind.decode("utf-8", "replace")) or "an exception that could not be read here"
            return known, group.message.decode("utf-8", "replace"), text
        if group.status == STATUS_WORKER_DIED:
            text = _how_it_died(read_facts(group.text)) or text
        return kind, text[:1000], text

    def events(self) -> Events | None:
        """What has ended since this was last said: once a second, or as soon as there is much."""
        recorder, now_s = self._core.recorder, time.monotonic()
        if recorder.written - self._next_event < MANY_EVENTS and now_s < self._events_due_s:
            return None
        self._events_due_s = now_s + EVENTS_S
        first, data = recorder.read(self._next_event, MOST_EVENTS)
        self._lost_events += max(0, first - self._next_event)
        self._next_event = first + len(data) // EVENT_BYTES
        return Events(first, self._lost_events, data)

    # one task

    def task(self, task: int) -> Task:
        standing = standing_of(self._core, task & _TASK_MASK)
        unable = [why for each in self._peers for why in each.why_unable()]
        names = self._known_workers()
        return explain(
            task,
            standing,
            time.monotonic_ns(),
            name_of_function=self.find_function,
            name_of_worker=lambda index: printable(names[index].name) if index in names else str(index),
            unable=printable(unable[0]) if unable and all(unable) else "",
            ended=self._how_ended(task) if standing["state"] == "UNKNOWN" else "",
        )

    def _how_ended(self, task: int) -> str:
        """As the recorder has it; it is looked for among the last that have ended."""
        _, data = self._core.recorder.read(0, MOST_SEARCHED)
        at = data.rfind(task.to_bytes(8, "little"))
        while at >= 0 and at % EVENT_BYTES:
            at = data.rfind(task.to_bytes(8, "little"), 0, at + 7)
        if at < 0:
            return ""
        (event,) = read_events(data[at : at + EVENT_BYTES])
        ago_s = (time.monotonic_ns() - event.end_ns) / 1e9
        ran = f", after {event.duration_s * 1000:.3g} ms" if event.duration_s else ""
        return f"{OUTCOMES[event.outcome]} {ago_s:.1f} s ago{ran}"


def _how_it_died(facts: dict[str, Any]) -> str:
    """What is known of a worker's death, in words."""
    if not facts:
        return ""
    code = facts.get("code", 0)
    how = "by exit code" if code >= 0 else "by signal"
    text = f"worker {facts.get('worker') or '?'} on {facts.get('host') or '?'} ended {how} {abs(code)}"
    text += ": the kernel had no memory left" if facts.get("oom") else ""
    return text + (f"\n{facts['output']}" if facts.get("output") else "")


_MAKERS: dict[str, Callable[[Reporter], Body | None]] = {
    "summary": Reporter.summary,
    "workers": Reporter.workers,
    "functions": Reporter.functions,
    "clients": Reporter.clients,
    "hosts": Reporter.hosts,
    "failures": Reporter.failures,
    "events": Reporter.events,
}


# this process and this host


class OwnProcess:
    """CPU and memory of the scheduler's own process."""

    def __init__(self) -> None:
        self._cpu_s, self._at_s = time.process_time(), time.monotonic()

    def look(self) -> tuple[float, int]:
        """(share of a core since the last look, resident bytes)."""
        cpu_s, at_s = time.process_time(), time.monotonic()
        share = (cpu_s - self._cpu_s) / max(at_s - self._at_s, 1e-3)
        self._cpu_s, self._at_s = cpu_s, at_s
        return share, rss_bytes()


def rss_bytes() -> int:
    """Of this process; 0 if the kernel does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def shared_memory_bytes() -> tuple[int, int]:
    """(total, free) of /dev/shm here."""
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return 0, 0
    return room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize


# what supervisors say


class Usages:
    """What the supervisors have said of their hosts, and how many of their workers have ended and why."""

    def __init__(self) -> None:
        self._hosts: dict[int, HostUsage] = {}
        self._restarts: dict[object, dict[str, int]] = {}  # by who has said so

    def note(self, host: int, teller: object, usage: HostUsage) -> None:
        """A supervisor, which counts since it began, has said this of its host."""
        self._hosts[host] = usage
        self._restarts[teller] = usage.restarts

    def host(self, number: int) -> HostUsage:
        return self._hosts.get(number) or HostUsage()

    def restarts(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for counts in self._restarts.values():
            for reason, count in counts.items():
                total[printable(reason)] = total.get(printable(reason), 0) + count
        return total
