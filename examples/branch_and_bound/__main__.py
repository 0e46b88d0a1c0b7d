"""Fill a knapsack by branch and bound, in tasks that submit tasks. `python -m examples.branch_and_bound`."""

import random

from examples.branch_and_bound.knapsack import Item, Part, by_table, solve
from scaler import Client, SchedulerClusterCombo

ITEMS = 60


def make_items() -> list[Item]:
    """Their values follow their weights closely, which makes it hard to choose."""
    numbers = random.Random(3)
    weights = [numbers.randrange(100, 1000) for _ in range(ITEMS)]
    items = [Item(weight, weight + numbers.randrange(80, 120)) for weight in weights]
    return sorted(items, key=lambda item: item.value / item.weight, reverse=True)


def main() -> None:
    items = make_items()
    room = sum(item.weight for item in items) // 2
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        best = client.submit(solve, client, items, Part(0, room, 0), 0).result()
    print(f"{ITEMS} items, room for {room:,}: the best choice is worth {best:,}")
    assert best == by_table(items, room)
    print("dynamic programming says the same")


if __name__ == "__main__":
    main()
