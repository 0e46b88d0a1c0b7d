"""scaler_symphony_cluster: has a service of IBM Symphony work for the scheduler at an address."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("symphony", "scaler.engines.symphony.command")
