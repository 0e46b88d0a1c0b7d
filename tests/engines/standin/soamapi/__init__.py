"""A stand-in for IBM Spectrum Symphony's Python API, with what its documentation says and programs have met.

Both sides are here. A client's session has a service process for each task that runs, which loads the service's code
(SOAM_SERVICE, a file) and runs its container. What goes wrong is drawn from SOAM_TROUBLE, a JSON object:

    early, twice, unknown     chances that an answer comes before `send_task_input` returns, twice, with an id of nobody
    threads                   of the session that call back
    no_types                  the profile has no session types
    ends_after                so many answers come, then `on_exception`, and nothing more of this session
    reconnects                chance that answers pause for a moment, and come in another order
    embedded                  false: a failed task has no embedded exception
    slow_send                 a file; while it is there `send_task_input` waits

What happens is written to SOAM_LOG, a line each. SOAM_ABORT is a file: if it is there when a task is sent, it is
removed and the process aborts.
"""

import array
import importlib
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

soamapiversion = importlib.import_module("soamapiversion")
assert soamapiversion.IS_THERE

TROUBLE = json.loads(os.environ.get("SOAM_TROUBLE", "{}"))
_log_lock = threading.Lock()
_is_initialized = False


class SoamException(Exception):
    pass


def log(*what):
    path = os.environ.get("SOAM_LOG")
    if path:
        with _log_lock, open(path, "a") as file:
            file.write(" ".join(map(str, what)) + "\n")


def initialize():
    global _is_initialized
    _is_initialized = True
    log("initialize")


def uninitialize():
    os.abort()


class _Out:
    def __init__(self):
        self.data = b""

    def write_byte_array(self, numbers, start, count):
        assert isinstance(numbers, array.array)
        assert numbers.typecode == "b"
        self.data += numbers[start : start + count].tobytes()


class _In:
    def __init__(self, data):
        self._data = data

    def read_byte_array(self, typecode):
        assert typecode == "b"
        return array.array("b", self._data)


class Message:
    def on_serialize(self, stream):
        raise NotImplementedError

    def on_deserialize(self, stream):
        raise NotImplementedError


def _bytes_of(message):
    out = _Out()
    message.on_serialize(out)
    return out.data


class SessionFlags:
    PARTIAL_ASYNC = 2


class SessionCallback:
    def on_response(self, task_output_handle):
        raise NotImplementedError

    def on_exception(self, exception):
        raise NotImplementedError


class DefaultSecurityCallback:
    def __init__(self, user, password):
        self.user, self.password = user, password


class SessionCreationAttributes:
    def __init__(self):
        self.kind = self.name = self.flags = self.callback = None

    def set_session_type(self, kind):
        self.kind = kind

    def set_session_name(self, name):
        self.name = name

    def set_session_flags(self, flags):
        self.flags = flags

    def set_session_callback(self, callback):
        self.callback = callback


class TaskSubmissionAttributes:
    def __init__(self):
        self.input = None

    def set_task_input(self, message):
        self.input = message


def connect(application, security):
    assert _is_initialized
    log("connect", application, security.user, security.password)
    if application == "nowhere":
        raise SoamException("no such application")
    return _Connection()


class _Connection:
    def get_id(self):
        return "connection"

    def create_session(self, attributes):
        if TROUBLE.get("no_types") and attributes.kind is not None:
            raise SoamException(f"the profile has no session type {attributes.kind}")
        assert attributes.flags == SessionFlags.PARTIAL_ASYNC
        return _Session(attributes)

    def close(self):
        log("disconnect")


class _Handle:
    def __init__(self, number, data, error):
        self._number, self._data, self._error = number, data, error

    def get_id(self):
        return self._number

    def is_successful(self):
        return self._error is None

    def populate_task_output(self, message):
        message.on_deserialize(_In(self._data))

    def get_exception(self):
        return _ServiceError(self._error)


class _ServiceError(SoamException):
    def get_embedded_exception(self):
        return self.args[0] if TROUBLE.get("embedded", True) else None

    def __str__(self):
        return "" if not TROUBLE.get("embedded", True) else str(self.args[0])


class _Task:
    def __init__(self, number):
        self._number = number

    def get_id(self):
        return self._number


class _Session:
    def __init__(self, attributes):
        self._callback = attributes.callback
        self._lock = threading.Lock()
        self._count = self._answers = self._running = 0
        self._is_over = False
        self._pool = ThreadPoolExecutor(TROUBLE.get("threads", 4))
        self._random = random.Random(TROUBLE.get("seed", 1))
        log("session", attributes.kind, attributes.name)

    def send_task_input(self, attributes):
        if self._is_over:
            raise SoamException("the session is closed")
        data = _bytes_of(attributes.input)
        abort = os.environ.get("SOAM_ABORT")
        if abort and os.path.exists(abort):
            os.unlink(abort)
            os.abort()
        with self._lock:
            self._count += 1
            number = str(self._count)
        answered = threading.Event()
        threading.Thread(target=self._run, args=(number, data, answered), daemon=True).start()
        if self._draw("early"):
            answered.wait(0.05)
        slow = TROUBLE.get("slow_send")
        while slow and os.path.exists(slow) and b"slow" in data:
            time.sleep(0.01)
        return _Task(number)

    def _draw(self, what):
        with self._lock:
            return self._random.random() < TROUBLE.get(what, 0.0)

    def _run(self, number, data, answered):
        with self._lock:
            self._running += 1
            log("begin", number, self._running)
        service = _take_service()
        try:
            said, error = service.invoke(data)
            _give_back(service)
        except (EOFError, OSError):
            said, error = b"", SoamException("the service has ended")
        with self._lock:
            self._running -= 1
            log("end", number, self._running)
        if self._draw("reconnects"):
            time.sleep(self._random.random() * 0.05)
        self._pool.submit(self._answer, number, said, error, answered)

    def _answer(self, number, said, error, answered):
        with self._lock:
            self._answers += 1
            ends = self._answers == TROUBLE.get("ends_after")
            if self._is_over:
                return
            self._is_over = self._is_over or ends
        if ends:
            log("on_exception")
            self._callback.on_exception(SoamException("the session was aborted"))
            return
        handle = _Handle(number, said, error)
        if self._draw("unknown"):
            self._callback.on_response(_Handle("999999999", b"", None))
        self._callback.on_response(handle)
        answered.set()
        if self._draw("twice"):
            self._callback.on_response(handle)

    def close(self):
        self._is_over = True
        log("close")


# services

_idle = []
_services_lock = threading.Lock()


class _Service:
    def __init__(self):
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {**os.environ, "SOAM_SERVICE_FD": str(theirs.fileno())}
            subprocess.Popen([sys.executable, os.environ["SOAM_SERVICE"]], env=environment, pass_fds=(theirs.fileno(),))
        self._connection = Connection(ours.detach())

    def invoke(self, data):
        self._connection.send(data)
        return self._connection.recv()


def _take_service():
    with _services_lock:
        if _idle:
            return _idle.pop()
    return _Service()


def _give_back(service):
    with _services_lock:
        _idle.append(service)


class _TaskContext:
    def __init__(self, data):
        self._data, self.output = data, None

    def populate_task_input(self, message):
        message.on_deserialize(_In(self._data))

    def set_task_output(self, message):
        self.output = _bytes_of(message)


class ServiceContainer:
    """What a service's program subclasses, and runs."""

    def on_create_service(self, service_context):
        pass

    def on_session_enter(self, session_context):
        pass

    def on_invoke(self, task_context):
        raise NotImplementedError

    def on_session_leave(self):
        pass

    def on_destroy_service(self):
        pass

    def run(self):
        connection = Connection(int(os.environ["SOAM_SERVICE_FD"]))
        self.on_create_service(None)
        self.on_session_enter(None)
        while True:
            try:
                context = _TaskContext(connection.recv())
            except EOFError:
                break
            failure = None
            try:
                self.on_invoke(context)
            except Exception as error:
                failure = error
            try:
                connection.send((context.output, failure))
            except Exception:
                connection.send((b"", SoamException("the exception cannot be sent")))
        self.on_session_leave()
        self.on_destroy_service()
