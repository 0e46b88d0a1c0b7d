"""A scheduler without workers, on rings and elsewhere, and programs that are run beside it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.entry_points.commands import scheduler_alone

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["rings", "wire"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of a scheduler without a cluster."""
    with scheduler_alone(request.param) as made:
        yield made


@pytest.fixture
def run_program(tmp_path: Path) -> Run:
    """Run a program, with a file and a folder of its own, in the working folder `cwd` to its end."""

    def run(code: str, *arguments: str, cwd: str | Path, flags: tuple[str, ...] = (), before: tuple[str, ...] = ()):
        folder = tmp_path / "program"
        folder.mkdir(exist_ok=True)
        (folder / "program.py").write_text(code)
        return subprocess.run(
            [*before, sys.executable, *flags, str(folder / "program.py"), *arguments],
            capture_output=True, text=True, timeout=60, cwd=cwd, env={**os.environ, "PYTHONSAFEPATH": ""},
        )  # fmt: skip

    return run
