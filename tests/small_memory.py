"""Where memory is scarce: a program in a mount namespace whose /dev/shm and temporary folder are small."""

import functools
import inspect
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

_MOUNT = """mount -t tmpfs -o size="$1" tmpfs /dev/shm &&
mount -t tmpfs -o size="$2" tmpfs "$TMPDIR" &&
shift 2 && exec "$@" """
_ROOT = Path(__file__).parent.parent
_UNSHARE = ["unshare", "--mount", "--", "sh", "-c"]


@functools.cache
def _may_mount() -> bool:
    return subprocess.run([*_UNSHARE, "mount -t tmpfs tmpfs /dev/shm"], capture_output=True).returncode == 0


def run_in_small_memory(function: Callable[[], None], tmp_path: Path, *, shm: str, files: str) -> str:
    """Call a module's function in such a program; what it says on standard output and error. It must not fail."""
    if not _may_mount():
        warnings.warn("not tested: what happens without room; that needs the right to unshare and mount", stacklevel=2)
        pytest.skip("no right to unshare and mount")
    module = ".".join(Path(inspect.getfile(function)).relative_to(_ROOT).with_suffix("").parts)
    program = f"from {module} import {function.__name__} as run; run()"
    done = subprocess.run(
        [*_UNSHARE, _MOUNT, "sh", shm, files, sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        cwd=_ROOT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
