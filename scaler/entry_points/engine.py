"""scaler_engine: has an engine that runs already (a pool, loky, Ray, Dask) work for the scheduler at an address."""

from scaler.entry_points.command import run_command


def main() -> int:
    return run_command("engine", "scaler.engines.command")
