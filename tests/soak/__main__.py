"""`make soak`, or `python -m tests.soak`: exit status 1 if anything grows or is answered wrongly."""

import argparse
import gc
import random
import sys
import time

from perf.links import LINKS, open_cluster
from scaler import Client
from tests.soak.sample import Sample, take_sample
from tests.soak.verdict import Line, judge
from tests.soak.work import Rounds, rest

SAMPLE_S = 2.0
SHOW_S = 30.0
WARM_ROUNDS = 500  # pools and kept mappings have what they need by then, however fast the machine is


def soak(
    link: str, seed: int, tasks: int, seconds: float, n_workers: int = 2, warm_rounds: int = WARM_ROUNDS
) -> tuple[int, list[Line]]:
    """At least so many and so long, once it is warm. How many tasks there were, and what became of what was watched."""
    samples: list[Sample] = []
    start_s = shown_s = time.monotonic()
    with open_cluster(link, n_workers) as cluster, Client(cluster.get_address(), timeout_seconds=60) as client:
        rounds = Rounds(cluster.get_address(), seed)
        for turn, _ in enumerate(rounds.run(client)):
            now_s = time.monotonic()
            if turn < warm_rounds:
                start_s = shown_s = now_s
                continue
            if not samples or now_s - start_s - samples[-1].at_s >= min(SAMPLE_S, seconds / 20):
                rest()
                gc.collect()
                samples.append(take_sample(now_s - start_s))
                if now_s - shown_s >= SHOW_S:
                    shown_s = now_s
                    show(samples[-1], rounds.count)
            if rounds.count >= tasks and now_s - start_s >= seconds and judge(samples):  # a round may be long
                break
    return rounds.count, judge(samples)


def show(sample: Sample, count: int) -> None:
    memory = {name.partition(":")[0]: value for name, value in sample.values.items() if name.endswith("memory, KiB")}
    shared = sample.values["all: shared memory in use, KiB"]
    parts = ", ".join(f"{name} {value / 1024:.1f}" for name, value in memory.items())
    print(f"  {sample.at_s:6.0f} s {count:10,} tasks; MiB: {parts}; shared {shared / 1024:.1f}", flush=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Watch memory over millions of tasks.")
    parser.add_argument("--tasks", type=int, default=10_000_000, help="at least so many on each link")
    parser.add_argument("--seconds", type=float, default=300.0, help="and at least so long: pools settle in minutes")
    parser.add_argument("--link", choices=LINKS, action="append", help="both by default")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    chosen = parser.parse_args(arguments)
    is_good = True
    for link in chosen.link or LINKS:
        print(f"{link}: seed {chosen.seed}", flush=True)
        count, lines = soak(link, chosen.seed, chosen.tasks, chosen.seconds)
        grown = [line for line in lines if not line.is_flat]
        print(f"{link}: {count:,} tasks; second quarter -> last quarter")
        for line in lines:
            mark = "" if line.is_flat else "   GROWS"
            print(f"  {line.name:40} {line.second:12,.0f} -> {line.last:12,.0f}{mark}", flush=True)
        is_good = is_good and not grown and bool(lines)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
