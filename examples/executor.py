"""In place of concurrent.futures: estimate pi by throwing darts. `python -m examples.executor`.

With ProcessPoolExecutor in the import, all else is the same.
"""

import random
from concurrent.futures import wait

from scaler import ScalerExecutor as Executor
from scaler import as_completed

DARTS = 100_000


def throw(seed: int) -> int:
    """How many of DARTS hit the quarter of a circle."""
    random_numbers = random.Random(seed)
    return sum(random_numbers.random() ** 2 + random_numbers.random() ** 2 < 1 for _ in range(DARTS))


def main() -> None:
    with Executor(max_workers=2) as executor:
        hits = sum(executor.map(throw, range(20)))
        print(f"pi is about {4 * hits / (20 * DARTS):.2f}")

        futures = [executor.submit(throw, seed) for seed in range(20, 30)]
        for number, future in enumerate(as_completed(futures), 1):
            hits += future.result()
            print(f"{number} more: {4 * hits / ((20 + number) * DARTS):.2f}")
        assert not wait(futures).not_done


if __name__ == "__main__":
    main()
