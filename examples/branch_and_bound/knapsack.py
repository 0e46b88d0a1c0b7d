"""A knapsack: which items to take so that they are worth most and weigh at most so much.

`solve` looks at a part of all choices. It splits a large part in two (with the next item and without it), which are
tasks of their own, and waits for both; so the tree of tasks is not known before. What cannot beat the best that is
known is left out, by what the remaining items would bring if they could be cut (`bound`).
"""

from typing import NamedTuple

from scaler import Client

SPLIT_DEPTH = 7


class Item(NamedTuple):
    weight: int
    value: int


class Part(NamedTuple):
    """All choices in which the first `depth` items are decided."""

    depth: int
    room: int
    value: int


def solve(client: Client, items: list[Item], part: Part, known: int) -> int:
    """The most that this part is worth, or `known` if that is more. Of the items the best by weight stand first."""
    if bound(items, part) <= known:
        return known
    if part.depth >= SPLIT_DEPTH:
        return search(items, part, known)
    # The half with the item first, and here: what it finds lets the other half be cut earlier.
    halves = choices(items, part)
    if len(halves) == 1:
        return solve(client, items, halves[0], known)
    first = client.submit(solve, client, items, halves[0], known)
    second = client.submit(solve, client, items, halves[1], known)
    return max(first.result(), second.result())


def search(items: list[Item], part: Part, known: int) -> int:
    """The same by one process."""
    stack = [part]
    while stack:
        part = stack.pop()
        known = max(known, part.value)
        if part.depth < len(items) and bound(items, part) > known:
            stack.extend(reversed(choices(items, part)))
    return known


def choices(items: list[Item], part: Part) -> list[Part]:
    """With the next item, if there is room, and without it."""
    item = items[part.depth]
    without = part._replace(depth=part.depth + 1)
    if item.weight > part.room:
        return [without]
    return [Part(part.depth + 1, part.room - item.weight, part.value + item.value), without]


def bound(items: list[Item], part: Part) -> int:
    """No choice in this part is worth more."""
    room, value = part.room, part.value
    for item in items[part.depth :]:
        if item.weight > room:
            return value + item.value * room // item.weight
        room, value = room - item.weight, value + item.value
    return value


def by_table(items: list[Item], room: int) -> int:
    """The answer by dynamic programming, to compare with."""
    best = [0] * (room + 1)
    for item in items:
        for left in range(room, item.weight - 1, -1):
            best[left] = max(best[left], best[left - item.weight] + item.value)
    return best[room]
