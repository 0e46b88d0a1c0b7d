"""The child's side of spawn: the socket to the process that started this one.

Apart from spawn, because workers import it and must not import subprocess.
"""

import json
import os
import socket
import sys
from typing import Any

MOST_REPORT_BYTES = 1 << 20


class Creator:
    """The child's side: the socket to the process that started it."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self.link = socket.socket(fileno=descriptor)
        self.fileno = self.link.fileno

    @classmethod
    def from_arguments(cls) -> "Creator":
        if len(sys.argv) != 2 or not sys.argv[1].isdigit():
            raise SystemExit(f"{sys.argv[0]} is started by scaler itself; start a cluster with scaler_cluster")
        _restore_import_path()
        return cls(int(sys.argv[1]))

    def settings(self) -> dict[str, Any]:
        packet = self.link.recv(MOST_REPORT_BYTES)
        if not packet:
            raise SystemExit(0)
        settings: dict[str, Any] = json.loads(packet)
        return settings

    def report(self, **message: Any) -> None:
        """Tell the creator something; nothing if it is gone."""
        try:
            self.link.send(json.dumps(message).encode())
        except OSError:
            pass


def _restore_import_path() -> None:
    """Take off what spawn has put before PYTHONPATH: programs that a task starts are to find what its user's would."""
    _, _, inherited = os.environ.get("PYTHONPATH", "").partition(os.pathsep)
    if inherited:
        os.environ["PYTHONPATH"] = inherited
    else:
        os.environ.pop("PYTHONPATH", None)
