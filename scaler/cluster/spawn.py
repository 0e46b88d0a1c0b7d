"""Starting processes: `python bootstrap.py <module>` with a socket to its creator, and with this interpreter's flags.

The socket carries the settings one way (one JSON packet) and reports the other; its hang-up tells either side that the
other has gone. A forked copy of this process lets go of it, so that it stands for this process alone. Never fork and
never multiprocessing's spawn, so no `__main__` guard is needed and `__main__` is not imported a second time. Each child
has a session of its own: a Ctrl-C in the creator's terminal is the creator's.

A worker need not be started so: a process that stands by may be asked to fork (template). The child is this process's
own all the same, and what is said here of children holds for it, too.

Rule 1: a process that ends takes along what it had started in its session (a task's own processes), unless that has
        made one of its own.
"""

import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from scaler.exceptions import ScalerError
from scaler.program import bootstrap
from scaler.program.creator import MOST_REPORT_BYTES
from scaler.program.descriptors import close_all, has_packet, message_in, receive_packet
from scaler.program.threads import no_more_threads

_log = logging.getLogger(__name__)
SIGNAL_GRACE_S = 2.0
POLL_S = 0.002
_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
_children: "weakref.WeakSet[Child]" = weakref.WeakSet()


class Forked:
    """What Popen is of a process that was started here, of one that another process has forked for this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its code was fetched by nobody knows whom. Popen says the same then."""
        if self.returncode is None:
            self.returncode = 0
        return self.returncode


class Child:
    """A process that was started here, and the socket to it. It waits for its settings, now or by `tell`.

    `variables` are added to its environment; it has the descriptors `inherited` under the same numbers. If there is a
    `fork`, it is asked first: it has a process that runs the same module forked, gives it these descriptors (which get
    other numbers there), and says its number, or None if it cannot.
    """

    process: Any  # a Popen, or Forked

    def __init__(
        self,
        module: str,
        settings: dict[str, Any] | None = None,
        stderr: int | None = None,
        variables: dict[str, str] | None = None,
        inherited: Sequence[int] = (),
        fork: Callable[[Sequence[int]], int | None] | None = None,
    ) -> None:
        self.pid = 0  # not started yet
        self.error = ""  # what it has reported of why it cannot go on
        self.key = secrets.token_hex(8)  # what it is called where its number may mean another process
        self.descriptors: list[int] = []  # that came with the last report, and that nobody has taken
        if fork is None or stderr is None or not self._start_by(fork, [stderr, *inherited]):
            self._start(module, stderr, variables or {}, inherited)
        self.pid = self.process.pid
        self.peak_bytes = 0  # of memory, once it has ended
        if settings is not None:
            self.tell(settings)

    def _start_by(self, fork: Callable[[Sequence[int]], int | None], descriptors: Sequence[int]) -> bool:
        """With a socket of its own: one that was asked and has not answered may have given it to somebody."""
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        _children.add(self)
        with theirs:
            pid = fork([theirs.fileno(), *descriptors])
        if pid is None:
            self.link.close()
            return False
        self.process = Forked(pid)
        return True

    def _start(self, module: str, stderr: int | None, variables: dict[str, str], inherited: Sequence[int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link = ours
        _children.add(self)
        try:
            self.process = subprocess.Popen(
                [sys.executable, *interpreter_flags(), bootstrap.__file__, module, str(theirs.fileno())],
                pass_fds=[theirs.fileno(), *inherited],
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, **variables},
            )
        except BlockingIOError as error:
            ours.close()
            raise no_more_threads() from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def tell(self, message: dict[str, Any]) -> None:
        """Send one message; nothing if the child is gone."""
        try:
            self.link.send(json.dumps(message).encode())
        except OSError:
            pass

    def hear(self, timeout_s: float) -> dict[str, Any] | None:
        """The next report; None when the child is gone. TimeoutError if there is none in time."""
        if not has_packet(self.link, timeout_s):
            raise TimeoutError(f"process {self.pid} said nothing for {timeout_s:.1f} s")
        close_all(self.descriptors)
        self.descriptors = []
        try:
            packet, self.descriptors = receive_packet(self.link, MOST_REPORT_BYTES, 2)
            return message_in(packet) if packet else None
        except OSError:
            return None
        except ValueError as error:
            _log.warning("process %d reports what means nothing: %s", self.pid, error)
            return {}

    @property
    def has_report(self) -> bool:
        """`hear` would return at once."""
        return has_packet(self.link, 0.0)

    def take_descriptors(self) -> list[int]:
        """Those that came with the last report: the caller's from now on."""
        taken, self.descriptors = self.descriptors, []
        return taken

    def signal(self, number: int) -> None:
        """Nothing if it has ended. Not Popen's, which may fetch the exit code, and with that what it has left stays."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # not ours, in a forked copy
                os.kill(self.pid, number)  # nobody else's number before the code is fetched

    def find_code(self) -> int | None:
        """Its exit code, None while it runs. What it has started and left in its process group ends with it."""
        try:
            if self.process.returncode is None and os.waitid(os.P_PID, self.pid, _ENDED) is not None:
                os.killpg(self.pid, signal.SIGKILL)  # nobody else's number before the code is fetched
        except (ChildProcessError, ProcessLookupError, PermissionError):
            pass  # not ours, in a forked copy; or nothing is left, or nothing that is ours
        return self._fetch_code()

    def _fetch_code(self) -> int | None:
        """As Popen.poll, and how much memory it had."""
        if self.process.returncode is None:
            try:
                pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            except ChildProcessError:
                code: int | None = self.process.poll()
                return code
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.peak_bytes = usage.ru_maxrss * 1024
        code = self.process.returncode
        return code

    def end(self, grace_s: float = 5.0) -> int:
        """Hang up, so that the child stops; kill it if it has not after `grace_s`. Its exit code."""
        return end_all([self], grace_s)[0]


def end_all(children: Sequence[Child], grace_s: float) -> list[int]:
    """End them all at once: the time it takes does not grow with their number. Their exit codes."""
    for child in children:
        child.link.close()
        close_all(child.take_descriptors())
    deadline = time.monotonic() + grace_s
    for number in (signal.SIGTERM, signal.SIGKILL):
        if _have_ended(children, deadline):
            break
        for child in children:
            child.signal(number)
        deadline = time.monotonic() + SIGNAL_GRACE_S
    while not all([child.find_code() is not None for child in children]):
        time.sleep(POLL_S)
    return [child.process.returncode for child in children]


def how_it_ended(code: int) -> str:
    """In words."""
    if code >= 0:
        return f"ended with exit code {code}"
    known = -code in signal.valid_signals()
    return f"was ended by {signal.Signals(-code).name if known and -code < signal.SIGRTMIN else f'signal {-code}'}"


def _have_ended(children: Sequence[Child], deadline: float) -> bool:
    """Whether all have ended by then."""
    while not all([child.find_code() is not None for child in children]):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def own_children() -> set[int]:
    """The numbers of those that were started here and whose exit codes are still to be fetched."""
    return {child.pid for child in _children if child.pid and child.process.returncode is None}


def _let_go() -> None:
    """In a forked copy of this process: the children are not its own."""
    for child in list(_children):
        child.link.close()


os.register_at_fork(after_in_child=_let_go)


def interpreter_flags() -> list[str]:
    """What this interpreter was started with (-W, -O, -X, -I and so on), as multiprocessing hands it on.

    By a function of the standard library's that is not public, since nothing else says it; multiprocessing uses it too.
    """
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return flags


def await_report(child: Child, key: str, deadline: float, what: str) -> Any:
    """The value of the first report that has `key`. ScalerError if the child fails or ends first."""
    while True:
        try:
            report = child.hear(deadline - time.monotonic())
        except TimeoutError as error:
            raise ScalerError(f"{what} did not start in time: {error}") from None
        if report is None:
            code = child.end()
            raise ScalerError(f"{what} {how_it_ended(code)} before it was ready; its log says why")
        if "error" in report:
            child.end()
            raise ScalerError(f"{what} could not start: {report['error']}")
        if key in report:
            return report[key]
