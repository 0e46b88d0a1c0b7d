"""One run of chaos over one link: a stage, a load, trouble, and what it came to."""

import json
import os
import tempfile
import time

from tests.chaos.journal import MOST_TASKS, Journal
from tests.chaos.load import Load, Outcome
from tests.chaos.report import Report, make_report
from tests.chaos.stage import Stage
from tests.chaos.trouble import Trouble

CALM_S = 5.0
END_S = 300.0  # for what is open when submitting is over


def run_chaos(
    link: str,
    every_s: dict[str, float],
    seed: int,
    *,
    seconds: float = 60.0,
    tasks: int = 0,
    task_seconds: float = 0.001,
    is_mixed: bool = True,
    n_hosts: int = 2,
    n_workers: int = 1,
    calm_s: float = CALM_S,
    patience_s: float = 120.0,
) -> Report:
    """Trouble begins after `calm_s`, and ends with the submitting of tasks."""
    file, path = tempfile.mkstemp(prefix="chaos-")
    os.close(file)
    journal = Journal(path)
    tasks = min(tasks, MOST_TASKS) if tasks or seconds else MOST_TASKS
    try:
        with Stage(link, n_hosts, n_workers) as stage:
            trouble = Trouble(stage, every_s, seed)
            stage.start_load(Load(stage.client_address, path, seed, seconds, tasks, task_seconds, is_mixed, patience_s))
            process = stage.load
            assert process is not None
            time.sleep(calm_s)
            rough_ns = time.monotonic_ns()
            stop_s = time.monotonic() + (seconds - calm_s if seconds else END_S)
            trouble.run_until(stop_s, lambda: process.poll() is not None)
            trouble.settle()
            output, _ = process.communicate(timeout=END_S)
            lines = output.strip().splitlines()
            failures = list(trouble.failures)
            outcome = Outcome()
            if process.returncode == 0 and lines:
                outcome = Outcome(**json.loads(lines[-1]))
            else:
                failures.append(f"the client under load ended with exit code {process.returncode}")
        return make_report(link, seed, outcome, trouble.log, failures, journal, rough_ns)
    finally:
        journal.close()
        os.unlink(path)
