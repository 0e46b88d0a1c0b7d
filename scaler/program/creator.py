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

    def __init__(self, descriptor: int, path: list[str], behind_library: int) -> None:
        """`path` is sys.path as Python made it, in which the standard library ends at the place `behind_library`."""
        os.set_inheritable(descriptor, False)
        self.link = socket.socket(fileno=descriptor)
        self.fileno = self.link.fileno
        self._path, self._behind_library = path, behind_library
        self._inherited: list[int] | None = None

    def of_fork(self, descriptor: int, inherited: list[int]) -> "Creator":
        """In a process that was forked from the one that this is of: its own, with the descriptors that came for it."""
        made = Creator(descriptor, self._path, self._behind_library)
        made._inherited = inherited
        return made

    def import_path(self, folder: str) -> list[str]:
        """The user's sys.path, and in it the working folder, if there is one, behind the standard library."""
        if not folder or sys.flags.safe_path:
            return list(self._path)
        others = [entry for entry in self._path[self._behind_library :] if entry != folder]
        return [*self._path[: self._behind_library], folder, *others]

    def settings(self) -> dict[str, Any]:
        """What the creator has to say first. `stacks` are descriptors, which a forked process has by other numbers."""
        packet = self.link.recv(MOST_REPORT_BYTES)
        if not packet:
            raise SystemExit(0)
        settings: dict[str, Any] = json.loads(packet)
        if self._inherited is not None:
            settings["stacks"] = self._inherited
        return settings

    def report(self, **message: Any) -> None:
        """Tell the creator something; nothing if it is gone."""
        try:
            self.link.send(json.dumps(message).encode())
        except OSError:
            pass
