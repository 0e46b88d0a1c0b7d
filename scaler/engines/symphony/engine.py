"""SymphonyEngine: has a Symphony session run jobs, by way of a child process that speaks with Symphony.

The child may die at any time, and is started again, with a pause if it dies at once. Its jobs are lost with it: they
are run again, each of those by itself, so that one which kills the child is found.

Rule 1: every job is answered once: by the child, or as lost or interrupted when the child or its session has gone.
Not here: Symphony (child), which jobs are submitted when (engines.seats).
"""

import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from scaler.engines.engine import Done, Engine, Handle, JobInterrupted, JobLost
from scaler.exceptions import EngineError
from scaler.program.threads import new_thread

_log = logging.getLogger(__name__)
FIRST_PAUSE_S, MOST_PAUSE_S, STEADY_S = 0.1, 10.0, 5.0  # before a child is started again; after which one is steady
CLOSE_S = 4.0
START_S = 10.0
CHILD = "scaler.engines.symphony.child"


class _Sent(Handle):
    """Symphony has no call that ends one task: it keeps its slot until it has answered."""

    def take_back(self) -> bool:
        return False

    def stop(self) -> None:
        """Nothing can be done."""


class SymphonyEngine(Engine):
    """`base_concurrency` Symphony tasks at a time, and nested ones beyond."""

    name = "symphony"
    shares_fate = True
    most_tasks = 1

    def __init__(
        self,
        service_name: str,
        base_concurrency: int,
        *,
        user: str = "Guest",
        password: str = "Guest",
        session_type: str = "RecoverableAllHistoricalData",
    ) -> None:
        self.base_concurrency = base_concurrency
        self._settings = {
            "service_name": service_name, "user": user, "password": password, "session_type": session_type,
            "session_name": f"scaler-{socket.gethostname()}-{secrets.token_hex(4)}",
            "sys_path": [*sys.path[1:], os.getcwd()],
        }  # fmt: skip
        self._lock = threading.Lock()
        self._jobs: dict[int, Done] = {}
        self._unsent: dict[int, bytes] = {}  # jobs that no child has been handed yet
        self._next = 0
        self._is_closed = False
        self._trouble = "Symphony has not been reached yet"
        self._began_s, self._pause_s = 0.0, FIRST_PAUSE_S
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._is_up, self._unusable, self._was_up = threading.Event(), "", False
        self._start()

    def await_up(self) -> None:
        """Wait for the first session, or what Symphony says instead: that is tried again. EngineError if IBM's library
        cannot be used."""
        self._is_up.wait(START_S)
        if self._unusable:
            self.close()
            raise EngineError(f"IBM's soamapi cannot be used here: {self._unusable}")

    def capacity(self) -> int:
        """Twice as many seats as run at a time: what waits in the others starts at once, and nested tasks have room."""
        assert self.base_concurrency is not None
        return 2 * self.base_concurrency

    def trouble(self) -> str:
        return self._trouble

    def submit(self, payload: bytes, done: Done) -> Handle:
        with self._lock:
            self._next += 1
            number, connection = self._next, self._connection
            self._jobs[number] = done
            self._unsent[number] = payload
        self._send(connection)
        return _Sent()

    def _send(self, connection: Connection | None) -> None:
        """Hand over what is there. What cannot be, since the child has died, is for the next one."""
        while connection is not None:
            with self._lock:
                if not self._unsent:
                    return
                number, payload = self._unsent.popitem()
            try:
                connection.send(("job", number, payload))
            except OSError:
                with self._lock:
                    self._unsent[number] = payload
                return

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            process, connection = self._process, self._connection
        if connection is not None:
            try:
                connection.send(("stop",))
            except OSError:
                pass
        if process is not None:
            try:
                process.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # the child

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", CHILD, str(theirs.fileno())], pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        connection = Connection(ours.detach())
        self._began_s = time.monotonic()
        with self._lock:
            self._process, self._connection = process, connection
        new_thread("scaler-symphony", partial(self._read, process, connection)).start()
        try:
            connection.send(self._settings)
        except OSError:
            return  # it has died: the thread sees that
        self._send(connection)

    def _read(self, process: "subprocess.Popen[bytes]", connection: Connection) -> None:
        try:
            while True:
                self._on_said(*connection.recv())
        except (EOFError, OSError):
            pass
        code = process.wait()
        with self._lock:
            self._connection = None
            lost = {number: done for number, done in self._jobs.items() if number not in self._unsent}
            self._jobs = {number: self._jobs[number] for number in self._unsent}
            is_closed = self._is_closed
        connection.close()
        if is_closed:
            return
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        why = f"the process that speaks with Symphony ended {how}"
        self._trouble = why
        _log.warning("%s; another is started", why)
        for done in lost.values():
            done(JobLost(why))
        if self._unusable and not self._was_up:
            return  # it is said, and the command ends
        self._pause_s = FIRST_PAUSE_S if time.monotonic() - self._began_s > STEADY_S else self._pause_s
        time.sleep(self._pause_s)
        self._pause_s = min(MOST_PAUSE_S, self._pause_s * 2)
        if not self._is_closed:
            self._start()

    def _on_said(self, what: str, *about: Any) -> None:
        if what == "done":
            self._finish(about[0], about[1])
        elif what == "interrupted":
            self._finish(about[0], JobInterrupted(about[1]))
        elif what == "up":
            self._trouble, self._was_up = "", True
            self._is_up.set()
            _log.info("a Symphony session of service %s is open", self._settings["service_name"])
        elif what == "down":
            self._trouble = f"Symphony: {about[0]}"
            self._is_up.set()
            _log.warning("%s", self._trouble)
        elif what == "warning":
            _log.warning("Symphony: %s", about[0])
        elif what == "unusable":
            self._unusable = about[0]
            self._is_up.set()

    def _finish(self, number: int, outcome: "bytes | BaseException") -> None:
        with self._lock:
            done = self._jobs.pop(number, None)
        if done is not None:
            done(outcome)
