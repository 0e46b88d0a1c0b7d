"""A run of the tests leaves nothing behind, or it fails and says what.

Looked for when the last test is over: processes, ports they listen on (this process too), and `scaler-*` files in
/dev/shm and the temporary folder. Each comes with the test that ran when it was made.

A process is of this run if it stands below this one, or has our variable in its environment (it was started by us,
however far down, whoever its parent is now), or holds our pipe (it was forked and has started no program since). So
other runs on the same host are not taken for ours. Files of other runs are not even seen, since a run has a /dev/shm
and a temporary folder of its own (tests.own_memory). Where that is not permitted, or with --shared-memory-of-the-host,
a file is not ours if it was there before, or if others have memory of the same epoch mapped (the epoch stands in its
name) and we have not.

Rule 1: what is about to go has some seconds to do so (--leaks-grace).
Rule 2: processes and their files are not put away here: what is left is there to be looked at.
Rule 3: where tests are spread over processes (pytest-xdist), the one that spreads them looks for processes and ports,
        after these have ended. Each of them has memory of its own, too, since a program under test sweeps away what
        another's test has left there; so each looks for its own files, and the one that spreads them is told.
Not here: what a single test says about its own processes (tests.processes).
"""

import gc
import glob
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.own_memory import OwnMemory

LOOK_EVERY_S = 0.1
_TIMES = "scaler-test-times"  # what processes of pytest-xdist are told, by this name
_LEFT = "scaler-left-behind"  # and what they tell
CLOCKS_DIFFER_S = 0.01  # the kernel counts in ticks; what a shorter test has made may be put down to the next one
_LIFE = re.compile(r"/scaler-([0-9a-z]+)-")


class Watch:
    """What there was when it was made, beside the times of tests that say during which one the rest came."""

    def __init__(self, times: "TestTimes") -> None:
        self._variable = f"SCALER_TESTS_{secrets.token_hex(8)}"
        os.environ[self._variable] = "1"
        self._pipe = os.pipe()
        self._pipe_name = f"pipe:[{os.fstat(self._pipe[0]).st_ino}]"
        self._files = {path for path, _ in _files()}
        self._ports = set(_ports(psutil.Process()))
        self._processes = set(self._processes_of_run())
        self._times = times

    def close(self) -> None:
        """Processes that are made from now on are not of this run."""
        del os.environ[self._variable]
        for descriptor in self._pipe:
            os.close(descriptor)

    def wait(self, grace_s: float) -> list[str]:
        """What is left, at the latest after `grace_s`; one line for each."""
        deadline = time.monotonic() + grace_s
        gc.collect()
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        return left

    def left(self) -> list[str]:
        """What is left now."""
        processes = [process for process in self._processes_of_run() if process not in self._processes]
        lines = [line for process in processes if (line := self._process_line(process)) is not None]
        lines += [f"this process listens on {port}" for port in _ports(psutil.Process()) if port not in self._ports]
        files = [(path, made_s) for path, made_s in _files() if path not in self._files]
        lives_of_others = self._lives_of_others(processes) if files else set()
        return lines + [
            f"{path}, made {self._times.when(made_s)}"
            for path, made_s in files
            if not lives_of_others & {*_LIFE.findall(path)}
        ]

    def _lives_of_others(self, processes: list[psutil.Process]) -> set[str]:
        """Lives that are gone on with elsewhere."""
        ours = {psutil.Process(), *processes}
        held = {process: lives_of(process) for process in {*psutil.process_iter(), *ours}}
        kept_by_ours = set().union(*(held[process] for process in ours))
        return set().union(*held.values()) - kept_by_ours

    def _processes_of_run(self) -> Iterator[psutil.Process]:
        """All but this one that live."""
        below = set(psutil.Process().children(recursive=True))
        for process in psutil.process_iter():
            try:
                is_ours = process.pid != os.getpid() and (process in below or self._has_mark(process))
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except (psutil.Error, OSError):
                continue  # it has gone, or is another user's

    def _has_mark(self, process: psutil.Process) -> bool:
        return self._variable in process.environ() or self._pipe_name in _open_files(process)

    def _process_line(self, process: psutil.Process) -> str | None:
        """What there is to say; None if it has gone meanwhile."""
        try:
            with process.oneshot():
                command, made_s, parent = " ".join(process.cmdline()), _start_s(process), process.ppid()
            ports = "".join(f", listens on {port}" for port in _ports(process))
        except psutil.Error:
            return None
        return f"process {process.pid} (parent {parent}){ports}, started {self._times.when(made_s)}: {command}"


class TestTimes:
    """When each test began: a file, to which each process that runs tests writes at that time."""

    __test__ = False  # to pytest

    def __init__(self, path: str) -> None:
        self.path = path

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with open(self.path, "a") as file:  # one write to the end of the file: no other process's comes between
            file.write(f"{time.time()} {os.getpid()} {nodeid}\n")

    def when(self, time_s: float) -> str:
        """In words, during which tests this was."""
        running = self.running_at(time_s + CLOCKS_DIFFER_S)
        return f"during {' or '.join(running)}" if running else "before the first test"

    def running_at(self, time_s: float) -> list[str]:
        """Of each process the last test that had begun by then: what its fixtures do after it counts as the test's."""
        running = {}
        if os.path.exists(self.path):
            with open(self.path) as file:
                for line in file:
                    began_s, pid, test = line.rstrip("\n").split(" ", 2)
                    if float(began_s) <= time_s:
                        running[pid] = test
        return list(running.values())


def _start_s(process: psutil.Process) -> float:
    """When it was started. psutil counts from the second in which the host was, which is not exact enough."""
    since_boot_s = process.create_time() - psutil.boot_time()
    return since_boot_s + time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _ports(process: psutil.Process) -> list[str]:
    """Addresses on which it listens for TCP."""
    connections = process.net_connections if hasattr(process, "net_connections") else process.connections
    return [f"{at.laddr.ip}:{at.laddr.port}" for at in connections("tcp") if at.status == psutil.CONN_LISTEN]


def _open_files(process: psutil.Process) -> Iterator[str]:
    """Where its descriptors lead; nothing if it has gone or is another user's."""
    folder = f"/proc/{process.pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield os.readlink(f"{folder}/{descriptor}")
        except OSError:
            continue  # closed meanwhile


def _files() -> Iterator[tuple[str, float]]:
    """This user's, with the time of their last change."""
    for folder in ("/dev/shm", tempfile.gettempdir()):
        for path in glob.glob(f"{folder}/scaler-*"):
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if status.st_uid == os.geteuid():
                yield path, status.st_ctime


def lives_of(process: psutil.Process) -> set[str]:
    """Of which schedulers and relays it has memory mapped, be it unlinked or not; none if it has gone."""
    try:
        with open(f"/proc/{process.pid}/maps") as maps:
            return set(_LIFE.findall(maps.read()))
    except OSError:
        return set()


# what pytest calls


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "how many seconds processes, ports and files have to go after the last test before they count as left behind"
    parser.addoption("--leaks-grace", type=float, default=10.0, metavar="SECONDS", help=text)
    text = "use the /dev/shm and the temporary folder that all on this host share"
    parser.addoption("--shared-memory-of-the-host", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    own_memory = None if config.getoption("--shared-memory-of-the-host") else OwnMemory()
    if hasattr(config, "workerinput"):  # rule 3
        times = TestTimes(config.workerinput[_TIMES])
        config.pluginmanager.register(times, "scaler-test-times")
        if own_memory is not None:
            look = OwnFiles(config.getoption("--leaks-grace"), own_memory, times)
            config.pluginmanager.register(look, "scaler-leak-check")
        return
    descriptor, path = tempfile.mkstemp(prefix="test-times-")
    os.close(descriptor)
    times = TestTimes(path)
    if not config.getoption("numprocesses", None):
        config.pluginmanager.register(times, "scaler-test-times")
    config.pluginmanager.register(LeakCheck(config.getoption("--leaks-grace"), own_memory, times), "scaler-leak-check")


class OwnFiles:
    """One process of pytest-xdist, with its own memory, or its own temporary folder where no more is permitted."""

    def __init__(self, grace_s: float, own_memory: OwnMemory, times: TestTimes) -> None:
        self._grace_s, self._own_memory, self._times = grace_s, own_memory, times
        self._before = {path for path, _ in _files()}  # of the host, where its own is not permitted

    @pytest.hookimpl(trylast=True)  # after the last fixtures are torn down
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        deadline = time.monotonic() + self._grace_s
        gc.collect()
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY_S)
        session.config.workeroutput[_LEFT] = left  # type: ignore[attr-defined]

    def _left(self) -> list[str]:
        """One line for each file. Without memory of its own, the process that spreads the tests sees the rest."""
        mine = tempfile.gettempdir() if self._own_memory.why_not else ""
        return [
            f"{path}, made {self._times.when(made_s)}"
            for path, made_s in _files()
            if path not in self._before and path.startswith(mine)
        ]

    def pytest_unconfigure(self) -> None:
        self._own_memory.leave()


class LeakCheck:
    """One run of pytest."""

    def __init__(self, grace_s: float, own_memory: OwnMemory | None, times: TestTimes) -> None:
        self._grace_s = grace_s
        self._own_memory = own_memory
        self._times = times
        self._watch = Watch(times)
        self._left: list[str] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """A process of pytest-xdist is about to be started."""
        node.workerinput[_TIMES] = self._times.path

    def pytest_report_header(self) -> str:
        if self._own_memory is None:
            return "/dev/shm: the host's, as asked for"
        if self._own_memory.why_not:
            return f"/dev/shm: the host's, since one of its own is not to be had ({self._own_memory.why_not})"
        return "/dev/shm: its own"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A process of pytest-xdist has ended. One that was killed has told nothing, and the run fails anyway."""
        self._left += getattr(node, "workeroutput", {}).get(_LEFT, [])

    @pytest.hookimpl(trylast=True)  # after the last fixtures are torn down
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._left += self._watch.wait(self._grace_s)
        if self._left and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._left:
            terminalreporter.section("left behind", red=True, bold=True)
            for line in [*self._left, f"the run fails, since it left {len(self._left)} behind"]:
                terminalreporter.line(line, red=True)

    def pytest_unconfigure(self) -> None:
        self._watch.close()
        os.unlink(self._times.path)
        if self._own_memory is not None:
            self._own_memory.leave()
