"""scaler_scheduler: deals out the tasks of clients to workers, at an address."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("scheduler", "scaler.scheduler.program")
