"""The child: the one process that loads IBM's library. Jobs come through a connection, and answers go back.

The library is proprietary, compiled for some Pythons only, and may abort the process, hang, or end by a signal when it
is unloaded. So it has a process of its own, which may die: its parent starts another.

| thread | what it does |
| --- | --- |
| main | reads what the parent says; its end is the end of this process |
| scaler-send | some: unpickle a job, pickle the call, `send_task_input`, which blocks until Symphony has it |
| scaler-answers | some: unpickle what came back: users' code, which may wait or fail |
| scaler-session | makes a session, and the next when one is over |
| Symphony's own | call back: they copy bytes, and never wait for anything but a short lock |

Rule 1: nothing of IBM's is called with the lock held, and nothing of a user's in a thread of Symphony's.
Rule 2: a session that is over gives its jobs back, and another one is made, for as long as this process lives.
Rule 3: it ends by _exit: the library is not unloaded.
Not here: what a job looks like to the service (payloads), which task is which job (open_tasks).
"""

import array
import contextlib
import importlib
import os
import queue
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from scaler.engines.job import Job, JobResult, Missing, pack_answer, unpack_job
from scaler.engines.run import all_objects
from scaler.engines.symphony.open_tasks import OpenTasks
from scaler.engines.symphony.payloads import failed, pack_call, read_output, unreadable
from scaler.exceptions import EngineError
from scaler.program.threads import new_thread

SENDERS = 4
FIRST_PAUSE_S, MOST_PAUSE_S = 0.1, 10.0  # before a session is tried again
LEAVE_S = 2.0  # for closing the session at the end


def bytes_of(read: Any) -> bytes:
    """What `read_byte_array` has given: bytes, an array, or a sequence of signed numbers."""
    if isinstance(read, bytes | bytearray | memoryview | array.array):
        return bytes(read)
    return bytes(number & 0xFF for number in read)


def message_class(soamapi: Any) -> Any:
    """The kind of message in which pickles travel."""

    class Message(soamapi.Message):  # type: ignore[misc]
        def __init__(self, payload: bytes = b"") -> None:
            super().__init__()
            self.payload = payload

        def set_payload(self, payload: bytes) -> None:
            self.payload = payload

        def get_payload(self) -> bytes:
            return self.payload

        def on_serialize(self, stream: Any) -> None:
            numbers = array.array("b", self.payload)
            stream.write_byte_array(numbers, 0, len(numbers))

        def on_deserialize(self, stream: Any) -> None:
            self.payload = bytes_of(stream.read_byte_array("b"))

    return Message


def callback_class(soamapi: Any) -> Any:
    """What Symphony calls, in threads of its own."""

    class Callback(soamapi.SessionCallback):  # type: ignore[misc]
        def __init__(self, child: "SymphonyChild", session: int) -> None:
            super().__init__()
            self._child, self._session = child, session

        def on_response(self, task_output_handle: Any) -> None:
            with contextlib.suppress(Exception):
                self._child.on_response(self._session, task_output_handle)

        def on_exception(self, exception: Any) -> None:
            with contextlib.suppress(Exception):
                self._child.on_session_over(self._session, f"{type(exception).__name__}: {exception}")

    return Callback


class SymphonyChild:
    """`soamapi` is the module; `connection` leads to the parent."""

    def __init__(self, soamapi: Any, connection: Connection, settings: dict[str, Any]) -> None:
        self._soamapi, self._connection, self._settings = soamapi, connection, settings
        self._Message, self._Callback = message_class(soamapi), callback_class(soamapi)
        self._lock = threading.Condition()
        self._said = threading.Lock()
        self._open: OpenTasks[tuple[bool, Any]] = OpenTasks()
        self._tasks: dict[int, Any] = {}  # the JobTask of each job
        self._session: Any = None
        self._session_number = -1  # whose that is: it may be over, and its successor not there yet
        self._symphony: Any = None  # the connection
        self._to_send: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, tuple[bool, Any]]] = queue.SimpleQueue()

    def run(self) -> None:
        """Until the parent wants no more, or has gone."""
        self._start("scaler-session", self._keep_session)
        for _ in range(SENDERS):
            self._start("scaler-answers", self._read_answers)
            self._start("scaler-send", self._send_jobs)
        with contextlib.suppress(EOFError, OSError):
            while (said := self._connection.recv())[0] == "job":
                self._to_send.put((said[1], said[2]))
        self._leave()

    def _start(self, name: str, body: Any) -> None:
        """A thread without which nothing would get on: if it fails, the process ends, and its parent starts another."""
        new_thread(name, body, lambda error: os._exit(1), runs_others=True).start()

    def _say(self, *what: Any) -> None:
        with self._said, contextlib.suppress(OSError):
            self._connection.send(what)

    def _answer(self, job: int, result: "JobResult | Missing") -> None:
        self._tasks.pop(job, None)
        self._say("done", job, pack_answer(result if isinstance(result, Missing) else [result]))

    # sessions

    def _keep_session(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            number = self._open.session
            try:
                session = self._new_session(number)
            except Exception as error:
                self._say("down", f"{type(error).__name__}: {error}")
                time.sleep(pause_s)
                pause_s = min(MOST_PAUSE_S, pause_s * 2)
                continue
            pause_s = FIRST_PAUSE_S
            with self._lock:
                if self._open.session == number:  # else it was over before it was there
                    self._session, self._session_number = session, number
                    self._lock.notify_all()
            self._say("up")
            with self._lock:
                self._lock.wait_for(lambda: self._open.session != number)  # noqa: B023
                self._session = None
            with contextlib.suppress(Exception):
                session.close()
            with contextlib.suppress(Exception):
                self._symphony.close()
            self._symphony = None

    def _new_session(self, number: int) -> Any:
        soamapi, settings = self._soamapi, self._settings
        if self._symphony is None:
            security = soamapi.DefaultSecurityCallback(settings["user"], settings["password"])
            self._symphony = soamapi.connect(settings["service_name"], security)
        try:
            return self._create_session(number, settings["session_type"])
        except Exception as error:
            try:
                session = self._create_session(number, None)
            except Exception:
                with contextlib.suppress(Exception):
                    self._symphony.close()
                self._symphony = None
                raise error from None
            kind = settings["session_type"]
            self._say("warning", f"there is no session of type {kind} ({error}): it has the profile's default")
            return session

    def _create_session(self, number: int, kind: str | None) -> Any:
        attributes = self._soamapi.SessionCreationAttributes()
        if kind is not None:
            attributes.set_session_type(kind)
        attributes.set_session_name(self._settings["session_name"])
        attributes.set_session_flags(self._soamapi.SessionFlags.PARTIAL_ASYNC)
        attributes.set_session_callback(self._Callback(self, number))
        return self._symphony.create_session(attributes)

    def on_session_over(self, session: int, why: str) -> None:
        """In a thread of Symphony's."""
        with self._lock:
            jobs = self._open.on_session_over(session)
            if jobs is not None:  # said before the next session can be said to be there
                self._say("down", f"the session is over: {why}")
            self._lock.notify_all()
        for job in jobs or ():
            self._tasks.pop(job, None)
            self._say("interrupted", job, why)

    # sending

    def _send_jobs(self) -> None:
        while True:
            number, data = self._to_send.get()
            try:
                job = unpack_job(data)
                objects = all_objects(job)
                if isinstance(objects, Missing):
                    self._answer(number, objects)
                    continue
                call = pack_call(job, objects)
            except BaseException as error:
                self._answer(number, unreadable(error))
                continue
            self._tasks[number] = job.tasks[0]
            self._send(number, job, call)

    def _send(self, number: int, job: Job, call: bytes) -> None:
        attributes = self._soamapi.TaskSubmissionAttributes()
        attributes.set_task_input(self._Message(call))
        with self._lock:
            self._lock.wait_for(lambda: self._session is not None and self._session_number == self._open.session)
            session, in_session = self._session, self._open.begin(number)
        try:
            task = str(session.send_task_input(attributes).get_id())
        except Exception as error:
            with self._lock:
                is_open = self._open.on_not_sent(number)
            if is_open:
                self._tasks.pop(number, None)
                self._say("interrupted", number, f"it could not be sent: {type(error).__name__}: {error}")
                self.on_session_over(in_session, f"{type(error).__name__}: {error}")
            return
        with self._lock:
            early = self._open.on_sent(number, task)
        if early is not None:
            self._answers.put((number, early))

    # answers

    def on_response(self, session: int, handle: Any) -> None:
        """In a thread of Symphony's, and perhaps of several at a time: copy what it says."""
        task = str(handle.get_id())
        try:
            if handle.is_successful():
                message = self._Message()
                filled = handle.populate_task_output(message)
                answer = True, (filled if filled is not None and hasattr(filled, "payload") else message).payload
            else:
                answer = False, _why_failed(handle)
        except Exception as error:
            answer = False, EngineError(f"Symphony's answer could not be read: {type(error).__name__}: {error}")
        with self._lock:
            job = self._open.on_answer(session, task, answer)
        if job is not None:
            self._answers.put((job, answer))

    def _read_answers(self) -> None:
        while True:
            job, (is_output, what) = self._answers.get()
            task = self._tasks.get(job)
            if task is not None:
                self._answer(job, read_output(task, what) if is_output else failed(what))

    def _leave(self) -> None:
        """Close the session, if that does not take long. The library is not unloaded: that may abort."""
        session = self._session
        if session is not None:
            closing = new_thread("scaler-close", partial(_close_quietly, session, self._symphony), runs_others=True)
            closing.start()
            closing.join(LEAVE_S)


def _close_quietly(*what: Any) -> None:
    for one in what:
        with contextlib.suppress(Exception):
            one.close()


def _why_failed(handle: Any) -> BaseException:
    """What the service has raised, if Symphony has it; else what it says instead."""
    said, embedded = None, None
    with contextlib.suppress(Exception):
        said = handle.get_exception()
    with contextlib.suppress(Exception):
        embedded = said.get_embedded_exception()  # type: ignore[union-attr]
    if isinstance(embedded, BaseException):
        return embedded
    words = [str(one) for one in (embedded, said) if one is not None and str(one)]
    return EngineError(f"the Symphony service failed: {words[0] if words else 'it gives no reason'}")


def main(descriptor: int) -> None:
    """The process."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent says when to end
    connection = Connection(descriptor)
    settings = connection.recv()
    sys.path[:] = settings["sys_path"]
    try:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("soamapiversion")  # it says where the library's parts are
        soamapi = importlib.import_module("soamapi")

        soamapi.initialize()
    except BaseException as error:
        connection.send(("unusable", f"{type(error).__name__}: {error}"))
        os._exit(1)
    SymphonyChild(soamapi, connection, settings).run()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
