"""joblib, and scikit-learn with it: what they run in parallel runs in workers. `python -m examples.with_joblib`."""

from math import isqrt

import joblib

import scaler.joblib  # noqa: F401  # which tells joblib of the backend
from scaler import Client, SchedulerClusterCombo


def main() -> None:
    with (
        SchedulerClusterCombo(n_workers=2) as combo,
        Client(combo.get_address()) as client,
        joblib.parallel_config("scaler", client=client),
    ):
        roots = joblib.Parallel(n_jobs=-1)(joblib.delayed(isqrt)(n) for n in range(10_000))
        print("sum of 10,000 roots:", sum(roots))


if __name__ == "__main__":
    main()
