"""`make chaos`, or `python -m tests.chaos`: exit status 1 if a task was lost, answered wrongly or twice."""

import argparse
import random
import sys

from tests.chaos.run import run_chaos
from tests.chaos.stage import LINKS
from tests.chaos.trouble import DEFAULT_EVERY_S


def every(text: str) -> tuple[str, float]:
    kind, _, seconds = text.partition("=")
    if kind not in DEFAULT_EVERY_S:
        raise argparse.ArgumentTypeError(f"{kind} is none of {', '.join(DEFAULT_EVERY_S)}")
    return kind, float(seconds)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Real processes under load, while they are killed, stopped and cut off from each other.",
        epilog="defaults of --every: " + ", ".join(f"{kind}={s:g}" for kind, s in DEFAULT_EVERY_S.items()),
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long tasks are submitted; 0: see --tasks")
    parser.add_argument("--tasks", type=int, default=0, help="submit so many at most")
    parser.add_argument("--task-seconds", type=float, default=0.001, help="how long a task takes")
    parser.add_argument("--link", choices=LINKS, action="append", help="both by default")
    parser.add_argument("--seed", type=int, help="of all choices; drawn, and printed, if it is not given")
    parser.add_argument(
        "--every", type=every, action="append", default=[], metavar="KIND=SECONDS", help="how often; 0: never"
    )
    parser.add_argument("--only", action="store_true", help="nothing but what --every names")
    parser.add_argument(
        "--plain", action="store_true", help="nothing but small tasks: no maps, graphs, arrays or crashes"
    )
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1, help="of each host")
    parser.add_argument("--calm", type=float, default=5.0, help="seconds before the trouble, to have a rate to compare")
    parser.add_argument(
        "--target", action="store_true",
        help="100,000 small tasks, a worker killed every half second and the scheduler every 10 s, nothing else",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    if chosen.target:
        chosen.seconds, chosen.tasks, chosen.plain, chosen.only = 0.0, 100_000, True, True
        chosen.every = [("kill-worker", 0.5), ("kill-scheduler", 10.0)]
    return chosen


def main(arguments: list[str]) -> int:
    chosen = parse(arguments)
    every_s = ({} if chosen.only else dict(DEFAULT_EVERY_S)) | dict(chosen.every)
    seed = random.randrange(1 << 31) if chosen.seed is None else chosen.seed
    is_good = True
    for link in chosen.link or LINKS:
        print(f"{link}: seed {seed}", flush=True)
        report = run_chaos(
            link, every_s, seed, seconds=chosen.seconds, tasks=chosen.tasks, task_seconds=chosen.task_seconds,
            is_mixed=not chosen.plain, n_hosts=chosen.hosts, n_workers=chosen.workers, calm_s=chosen.calm,
        )  # fmt: skip
        print("\n".join(report.lines()), flush=True)
        is_good = is_good and report.is_good
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
