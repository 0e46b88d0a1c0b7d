"""scaler_ui: shows what a scheduler does as a web page."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("ui", "scaler.monitor.page.program")
