"""Where memory is scarce for real: a control group whose processes the kernel kills when they have too much."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import wait_until

_ROOT = Path("/sys/fs/cgroup")
_JOIN = 'echo $$ > "$0" && exec "$@"'


@contextmanager
def control_group(most_bytes: int) -> Iterator[list[str]]:
    """A new group with so much memory and no swap: the words that, put before a command, run it there.

    All that the command starts is in the group, too, and must have ended before this is left.
    """
    parent, limits = _memory_groups()
    group = parent / f"scaler-test-{os.getpid()}"
    try:
        group.mkdir()
        for name in limits:
            if (group / name).exists():
                (group / name).write_text("0" if "swap" in name and name.endswith("max") else str(most_bytes))
    except OSError as error:
        if group.exists():
            group.rmdir()
        warnings.warn(f"not tested: death for want of memory; that needs control groups ({error})", stacklevel=2)
        pytest.skip("no right to make a control group")
    try:
        yield ["sh", "-c", _JOIN, str(group / "cgroup.procs")]
        wait_until(lambda: not (group / "cgroup.procs").read_text())
    finally:
        group.rmdir()


def _memory_groups() -> tuple[Path, list[str]]:
    """Where a group can be made (version 2 or 1), and the files of its limits in the order they are to be set."""
    if (_ROOT / "cgroup.controllers").exists():
        return _ROOT, ["memory.max", "memory.swap.max"]
    return _ROOT / "memory", ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
