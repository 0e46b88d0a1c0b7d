"""asyncio: awaiting calls in other processes. `python -m examples.coroutines`."""

import asyncio

from scaler import AsyncClient, SchedulerClusterCombo


def count_primes(first: int, last: int) -> int:
    """How many there are from `first` to before `last`."""
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(max(first, 2), last))


async def count(address: str) -> int:
    """How many primes there are below 20,000."""
    async with AsyncClient(address) as client:
        print("below 100:", await client.submit(count_primes, 0, 100))
        parts = [client.submit(count_primes, first, first + 1000) for first in range(0, 20_000, 1000)]
        return sum(await asyncio.gather(*parts))


def main() -> None:
    with SchedulerClusterCombo(n_workers=2) as combo:
        print("below 20,000:", asyncio.run(count(combo.get_address())))


if __name__ == "__main__":
    main()
