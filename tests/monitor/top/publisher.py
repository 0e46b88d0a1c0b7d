"""A pretended scheduler on a real socket, in a thread: its reports every so often, and answers about tasks at once."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq

from scaler.monitor.codec import encode
from scaler.monitor.report import Body, Report, Stack, Task
from tests.monitor.pretended import PretendedCluster

INTERVAL_S = 0.1


class Publisher:
    """`still`: time stands, so that whoever looks always sees the same. `change` may spoil what is sent."""

    def __init__(
        self,
        address: str,
        cluster: PretendedCluster,
        still: bool = False,
        change: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self.address, self.cluster, self._still, self._change = address, cluster, still, change
        cluster.go_on()
        self.reports = list(cluster.reports())
        """What was said last."""
        self._stop = threading.Event()
        self._is_bound = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher")

    def _run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.XPUB)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(self.address)
            self._is_bound.set()
            while True:
                for report in self.reports:
                    socket.send_multipart([report.topic.encode(), self._change(encode(report))])
                while not self._stop.is_set() and socket.poll(int(INTERVAL_S * 1000)):
                    self._answer(socket, socket.recv())
                if self._stop.is_set():
                    return
                if not self._still:
                    self.cluster.go_on(INTERVAL_S)
                    self.reports = list(self.cluster.reports())
        finally:
            socket.close(0)
            context.term()

    def _answer(self, socket: "zmq.Socket[bytes]", message: bytes) -> None:
        kind, _, task = message[1:].decode().partition("/")
        if message[:1] == b"\1" and task:
            number = int(task, 16)
            body: Body = (
                Task(task=number, state="placed", sentence=f"it runs, says the scheduler of {task}")
                if kind == "task"
                else Stack(task=number, text='  File "work.py", line 7, in work\n    x = x * x')
            )
            cluster = self.cluster
            report = Report(cluster.epoch, cluster.number, cluster.wall_ns, cluster.clock_ns, body)
            socket.send_multipart([report.topic.encode(), self._change(encode(report))])

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_bound.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
