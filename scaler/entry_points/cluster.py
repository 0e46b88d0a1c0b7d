"""scaler_cluster."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("cluster", "scaler.cluster.program")
