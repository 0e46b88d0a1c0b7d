"""A program as people write them: it changes what its functions use between submits, as one does in a notebook.

Run with the address of a scheduler. Says (what, found, expected) for each thing that it tries, one JSON list a line.
"""

import functools
import json
import random
import sys

from scaler import Client

HEIGHT = 1
TABLE = [1]
SETTINGS = {"a": 1}
COUNT = 0


def height():
    return HEIGHT


def twice():
    return 2 * height()


def look():
    return len(TABLE), SETTINGS["a"]


def with_defaults(x=1, *, y=2):
    return [x, y]


def count_calls():
    global COUNT
    COUNT += 1
    return COUNT


def remember():
    remember.calls = getattr(remember, "calls", 0) + 1  # type: ignore[attr-defined]
    return remember.calls  # type: ignore[attr-defined]


class Shape:
    sides = 3

    def __init__(self):
        self.seen = 0

    def see(self):
        self.seen += 1
        return self.seen

    def count(self):
        return self.sides


def count_sides():
    return Shape().count()


def tally(found, key):
    found[key] = found.get(key, 0) + 1
    return found[key]


def make_reader(value):
    def read():
        return value

    def write(new):
        nonlocal value
        value = new

    return read, write


def try_all(client):
    global HEIGHT, TABLE

    def ask(function, *args):
        return client.submit(function, *args).result(60)

    def say(what, found, expected):
        print(json.dumps([what, found, expected]), flush=True)

    say("a global", ask(height), 1)
    say("a global of a helper", ask(twice), 2)
    HEIGHT = 5
    say("a global, bound anew", ask(height), 5)
    say("a global of a helper, bound anew", ask(twice), 10)
    say("by a lambda", ask(lambda: height()), 5)
    say("a map", client.map(height, [()] * 3), [5, 5, 5])
    say("a graph", client.get({"a": (height,), "b": (abs, "a")}, ["b"])["b"], 5)

    say("a list", ask(look), [1, 1])
    TABLE.append(2)
    SETTINGS["a"] = 9
    say("a list and a dict, changed in place", ask(look), [2, 9])
    TABLE = []
    say("a list, bound anew", ask(look), [0, 9])

    say("defaults", ask(with_defaults), [1, 2])
    with_defaults.__defaults__ = (3,)
    say("defaults, changed", ask(with_defaults), [3, 2])
    with_defaults.__kwdefaults__["y"] = 4  # type: ignore[index]
    say("keyword defaults, changed", ask(with_defaults), [3, 4])
    with_defaults.__code__ = (lambda x=1, *, y=2: "other code").__code__
    say("code, changed", ask(with_defaults), "other code")

    read, write = make_reader("before")
    say("a closure", ask(read), "before")
    write("after")
    say("a closure, changed", ask(read), "after")

    say("a class", ask(count_sides), 3)
    Shape.sides = 4
    say("an attribute of a class, changed", ask(count_sides), 4)
    Shape.count = lambda self: "redefined"  # type: ignore[method-assign]
    say("a method, redefined", ask(count_sides), "redefined")

    globals()["height"] = lambda: 50
    say("a helper, redefined", ask(twice), 100)

    part = functools.partial(tally, {"k": 10})
    say("a partial", ask(part, "k"), 11)
    part.args[0]["k"] = 20
    say("a dict in a partial, changed in place", ask(part, "k"), 21)

    say("each call as it was sent: a partial", [ask(part, "k") for _ in range(4)], [21] * 4)
    say("each call as it was sent: a method", [ask(Shape().see) for _ in range(4)], [1] * 4)
    shape = Shape()
    say("each call as it was sent: the same method", client.map(shape.see, [()] * 8), [1] * 8)
    say("each call as it was sent: a global", [ask(count_calls) for _ in range(4)], [1] * 4)
    say("each call as it was sent: an attribute", [ask(remember) for _ in range(4)], [1] * 4)
    say("random numbers", len({ask(random.randint, 0, 1 << 60) for _ in range(40)}), 40)


if __name__ == "__main__":
    with Client(sys.argv[1], timeout_seconds=30) as connected:
        try_all(connected)
