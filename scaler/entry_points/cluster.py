"""scaler_cluster: starts workers on this host, for the scheduler at an address, and looks after them."""

import signal

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("cluster", "scaler.launch.program", signal.SIGUSR1)
