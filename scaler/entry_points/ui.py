"""scaler_ui."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("ui", "scaler.monitor.page.program")
