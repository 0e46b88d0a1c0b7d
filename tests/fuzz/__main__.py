"""`python -m tests.fuzz NAME --seed S --events N`: one fuzzer, or `all` of them.

Ends with 1 if an episode failed, and says how to play it again. Without a seed there is a new one each time, which is
printed.
"""

import argparse
import secrets
import sys

from tests.fuzz.run import FUZZERS, load, run


def main() -> int:
    names = "\n".join(f"  {name:12} {what}" for name, what in FUZZERS.items())
    parser = argparse.ArgumentParser(
        "python -m tests.fuzz", description=f"{__doc__}\n{names}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*FUZZERS, "all"])
    parser.add_argument("--seed", type=int, default=None, help="of the first episode")
    parser.add_argument("--events", type=int, default=None, help="of each fuzzer; one episode without")
    arguments = parser.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    is_good = True
    for name in FUZZERS if arguments.name == "all" else [arguments.name]:
        events = load(name)[1] if arguments.events is None else arguments.events
        print(f"{name}: seed {seed}, {events} events", flush=True)
        outcome = run(name, seed, events)
        if outcome.failure is not None:
            print(outcome.failure, flush=True)
            is_good = False
        else:
            rate = outcome.events / max(outcome.seconds, 1e-9)
            print(f"{name}: nothing found in {outcome.seconds:.1f} s, {rate:,.0f} events/s", flush=True)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
