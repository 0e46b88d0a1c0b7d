"""A run of the tests has a /dev/shm and a temporary folder of its own, so that two runs side by side do not meet.

Programs under test look through /dev/shm for what killed ones have left, and the leak check looks there for what tests
have left. What another run, or a user of this host, has there would be seen by both. A mount namespace hides it: this
process and all that it starts see a fresh, empty /dev/shm.

Rule 1: entered before anything is started, since a process keeps the namespace in which it was started.
        A process of pytest-xdist has a thread by then, which stays outside: a namespace is a thread's, and of those
        that it starts.
Rule 2: where it is not permitted the run goes on in what all share, and says so in its first lines.
Not here: single programs that are to have memory of their own within a run (tests.elsewhere, tests.small_memory).
"""

import ctypes
import os
import shutil
import tempfile

_CLONE_NEWNS = 0x20000  # <sched.h>
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18  # <sys/mount.h>
_FOLDER_PREFIX = "st-"  # short, since paths of sockets below it have at most 107 bytes


class OwnMemory:
    """Entered when it is made."""

    def __init__(self) -> None:
        self.why_not = enter_namespace()
        self._folder_before = tempfile.gettempdir()
        self._variable_before = os.environ.get("TMPDIR")
        self._folder = tempfile.mkdtemp(prefix=_FOLDER_PREFIX)
        _use_folder(self._folder)

    def leave(self) -> None:
        """Remove the temporary folder. The namespace ends with its last process."""
        tempfile.tempdir = self._folder_before
        if self._variable_before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = self._variable_before
        os.environ.pop("SCALER_CONNECTIONS", None)
        shutil.rmtree(self._folder, ignore_errors=True)


def _use_folder(path: str) -> None:
    os.environ["TMPDIR"] = tempfile.tempdir = path
    os.environ["SCALER_CONNECTIONS"] = os.path.join(path, "connections")  # and not those of the user


def enter_namespace() -> str:
    """Why it could not be entered; empty if it was."""
    libc = ctypes.CDLL(None, use_errno=True)
    steps = (
        lambda: libc.unshare(_CLONE_NEWNS),
        lambda: libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None),  # what is mounted here stays here
        lambda: libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"mode=1777"),
    )
    for step in steps:
        if step() != 0:
            return os.strerror(ctypes.get_errno())
    return ""
