"""scaler_scheduler."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("scheduler", "scaler.scheduler.program")
