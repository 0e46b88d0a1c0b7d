"""Template: the supervisor's side of the process from which workers are forked.

It is started once, as any process is (spawn), and then asked for each worker. It may be killed, stopped, or unable to
fork where it runs. Then workers are started by `exec`, as they were before there was a template; one that had worked is
started again for those to come.

Rule 1: nobody waits for it but once, at the start of a cluster, and then no longer than READY_S: a worker that is
        started by `exec` would take as long.
Rule 2: one that does not answer a request within ANSWER_S is killed: nobody is to ask it again.
Not here: what it does (scaler.worker.template), why forking is safe there.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Sequence

from scaler.cluster.spawn import Child, how_it_ended

_log = logging.getLogger(__name__)
READY_S = 5.0
ANSWER_S = 5.0
MOST_FAILURES = 3  # in a row, before it was ready
_FOR_WANT_OF_SOMETHING = (errno.EAGAIN, errno.ENOMEM)  # which `exec` would want as well


class Template:
    """`start` it, and `fork` gives processes once it is ready. `variables` are added to its environment."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        self._loop = asyncio.get_running_loop()
        self._child: Child | None = None
        self._pidfd = -1
        self._failures = 0
        self.ready = asyncio.Event()  # or there will be none soon

    @property
    def pid(self) -> int:
        """Of its process; 0 if there is none."""
        return self._child.pid if self._child is not None else 0

    def start(self) -> None:
        """Have one, unless there is one or it is of no use here."""
        if self._child is not None or self._failures >= MOST_FAILURES:
            return
        try:
            child = Child("scaler.worker.template", {"supervisor": os.getpid()}, variables=self._variables)
        except (OSError, RuntimeError) as error:
            self._fail(f"it could not be started: {error}")
            return
        try:
            self._pidfd = os.pidfd_open(child.pid)
        except OSError as error:
            self._loop.run_in_executor(None, child.end, 0.0)
            self._fail(f"it cannot be watched: {error}")
            return
        self._child = child
        self.ready.clear()
        self._loop.add_reader(self._pidfd, self._on_end)
        self._loop.add_reader(child.link, self._on_report)

    def _fail(self, why: str, *, for_good: bool = False) -> None:
        self._failures = MOST_FAILURES if for_good else self._failures + 1
        self.ready.set()
        level = logging.INFO if self._failures >= MOST_FAILURES else logging.DEBUG
        _log.log(level, "workers are not forked from a template: %s", why)

    def _on_report(self) -> None:
        """The first one. After that it says something only if it is asked."""
        assert self._child is not None
        self._loop.remove_reader(self._child.link)
        report = self._child.hear(0)
        if report is not None and report.get("ready"):
            self._failures = 0
            self.ready.set()
        elif report is not None and "error" in report:
            self._fail(str(report["error"]), for_good=True)

    def fork(self, descriptors: Sequence[int]) -> int | None:
        """The number of a new process, which has these descriptors: the socket to this one, its stderr, and others.

        None if there is none to be had from here.
        """
        child = self._child
        if child is None or not self.ready.is_set():
            return None
        try:
            socket.send_fds(child.link, [b"fork"], list(descriptors))
            report = child.hear(ANSWER_S)
        except TimeoutError as error:
            _log.warning("the template of workers (process %d) is killed: %s", child.pid, error)
            child.signal(signal.SIGKILL)
            report = None
        except OSError:  # it has ended
            report = None
        if report is None:
            self.ready.clear()  # it ends, and that is noticed
            return None
        pid, number = report.get("pid"), report.get("number")
        if isinstance(pid, int):
            return pid
        if number not in _FOR_WANT_OF_SOMETHING:
            self._fail(str(report.get("error")), for_good=True)
            self.ready.clear()
            child.link.close()  # which ends it
        return None

    def _on_end(self) -> None:
        child = self._child
        assert child is not None
        code = child.find_code()
        if code is None:
            return
        if not self.ready.is_set() and self._failures < MOST_FAILURES:
            self._fail(f"it {how_it_ended(code)}")
        else:
            _log.debug("the template of workers (process %d) %s", child.pid, how_it_ended(code))
        self.take_leave()

    def take_leave(self) -> Child | None:
        """Its process, if there is one, which is to be ended by the caller. It can be started again."""
        child, self._child = self._child, None
        if child is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            if child.link.fileno() >= 0:
                self._loop.remove_reader(child.link)
                child.link.close()
        return child
