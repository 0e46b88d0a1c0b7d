"""Callables that remember, in a module that workers can import."""

import os
from pathlib import Path

VALUE = 1


def read_value():
    return VALUE


def same(value):
    return value


def tally(found, key):
    found[key] = found.get(key, 0) + 1
    return sum(found.values())


def add_to_first(array):
    array[0] += 1
    return float(array[0])


def mark_function(mark, found=[]):  # noqa: B006
    """Leaves its mark in its own defaults."""
    found.append(mark)
    return found


def fail_with_state(found):
    found["state"] += 1
    raise OSError(f"state {found['state']}")


class Failing:
    def __init__(self):
        self.state = 0

    def fail(self):
        self.state += 1
        raise OSError(f"state {self.state}")


class Steps:
    def __init__(self):
        self.count = 0

    def step(self):
        self.count += 1
        return self.count

    __call__ = step

    def step_and_die_once(self, mark):
        self.step()
        if not Path(mark).exists():
            Path(mark).touch()
            os._exit(3)
        return self.count


shared_steps = Steps()
