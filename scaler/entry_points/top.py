"""scaler_top: shows in a terminal what a scheduler does."""

from scaler.entry_points.command import run_viewer


def main() -> int:
    return run_viewer("top", "scaler.monitor.top.program")
