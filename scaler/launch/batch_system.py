"""BatchSystem: what a launcher needs of Slurm, ssh or another batch system: five functions.

Rule 1: they are called in a thread, one at a time, and may take as long as the batch system's commands take.
Rule 2: what does not work raises LaunchError with what the batch system has said, and nothing else.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from scaler.exceptions import ScalerError

COMMAND_TIMEOUT_S = 60.0
MOST_WORDS = 2000  # characters of what a job or a command has said


class LaunchError(ScalerError):
    """The batch system could not do what it was asked."""


class JobState(Enum):
    QUEUED = "queued"
    RUNNING = "running"


class BatchSystem(Protocol):
    """Jobs are known by what the batch system calls them."""

    def start(self, names: Sequence[str], end_idle_s: float) -> list[str]:
        """Start a job for each of these clusters, which end by themselves when they have been idle for so long (0: they
        do not). What the batch system calls those that it has taken, in order."""
        ...

    def look(self) -> Mapping[str, JobState]:
        """The jobs that are there. One that is not in it has ended."""
        ...

    def words_of(self, job: str) -> str:
        """The last that this job has said, or what the batch system says of its end; empty if there is nothing."""
        ...

    def end(self, jobs: Sequence[str]) -> None:
        """Have these end, each in the batch system's way, which gives it some time. One that is gone is no error."""
        ...

    def close(self, wait_s: float) -> None:
        """Let go of what the batch system's use has taken, which may be waited for so long."""
        ...


def run_command(arguments: Sequence[str], stdin: str = "", timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """What this command writes. LaunchError with its own words if it fails."""
    try:
        ran = subprocess.run(
            arguments, input=stdin, capture_output=True, text=True, errors="replace", timeout=timeout_s,
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise LaunchError(f"there is no command {arguments[0]} here") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{arguments[0]} did not end within {timeout_s:g} s") from None
    except OSError as error:
        raise LaunchError(f"{arguments[0]} cannot be run: {error.strerror}") from None
    if ran.returncode:
        said = (ran.stderr.strip() or ran.stdout.strip() or f"it ended with status {ran.returncode}")[-MOST_WORDS:]
        raise LaunchError(f"{os.path.basename(arguments[0])} failed: {said}")
    return ran.stdout


def last_lines(path: str, most: int = 10) -> str:
    """The end of a file that a job has written; empty if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - MOST_WORDS))
            return "\n".join(file.read().decode("utf-8", "replace").strip().splitlines()[-most:])
    except OSError:
        return ""
