"""What is found out about callables: which may be kept, and what is noticed of a change."""

import functools
import gc
import itertools
import math
import operator
import random
import re
import types
import weakref
from typing import Any

import pytest

from scaler.client.callables import examine
from tests.e2e import stateful

NUMBER, TEXT, NUMBERS = 1, "a", [1]
PATTERN, TUPLE = re.compile("a"), (1, ("b", 2.0))


def by_value(function, **names):
    """As if it had been written in __main__, with these globals besides."""
    made = types.FunctionType(
        function.__code__, {**globals(), **names}, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__module__ = "__main__"
    return made


def plain(x):
    return x


def uses_constants():
    return NUMBER, TEXT, PATTERN, TUPLE, math.pi, len("a"), re.compile


def uses_a_list():
    return NUMBERS


def binds_a_global():
    global NUMBER
    NUMBER += 1


def reaches_all():
    globals()["NUMBER"] = 2


def uses_random():
    return random.randint(1, 2)


def uses_helper():
    return helper(1)  # type: ignore[name-defined]  # noqa: F821


def sets_an_attribute_of_helper():
    helper.calls = 1  # type: ignore[name-defined]  # noqa: F821


def with_a_list(found=[]):  # noqa: B006
    return found


def with_a_list_by_keyword(*, found=[]):  # noqa: B006
    return found


def with_constants(x=1, *, y="b"):
    return x, y


def with_own_cells():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step()


def closure_over(value):
    return lambda: value


def closure_that_binds():
    count = 0

    def step():
        nonlocal count
        count += 1

    return step


@functools.cache
def cached(x):
    return x


class OfMain:
    sides = 3

    def count(self):
        return self.sides


OfMain.__module__ = "__main__"


def sets_attribute_of_a_default(g=None):
    g.n = getattr(g, "n", 0) + 1
    return g.n


def sets_attribute_of_an_item():
    helper[0].n = 1  # type: ignore[name-defined]  # noqa: F821


def sets_in_its_dict(g=None):
    g.__dict__["n"] = 1


def with_default(function, value):
    made = by_value(function)
    made.__defaults__ = (value,)
    return made


def with_attribute(function, value):
    made = by_value(function)
    made.helper = value
    return made


KEPT: dict[str, Any] = {
    "builtin": len,
    "function of C": math.sqrt,
    "class": dict,
    "function of a module": stateful.same,
    "class of a module": stateful.Steps,
    "function with a cache": cached,
    "method of a class": str.upper,
    "class method": dict.fromkeys,
    "hidden singleton": random.randint,
    "plain function": by_value(plain),
    "uses constants": by_value(uses_constants),
    "uses a helper": by_value(uses_helper, helper=by_value(plain)),
    "uses a function by name": by_value(uses_helper, helper=stateful.same),
    "uses hidden singleton": by_value(uses_helper, helper=random.randint),
    "uses a module": by_value(uses_random),
    "constants by default": by_value(with_constants),
    "own cells": by_value(with_own_cells),
    "closure over a constant": closure_over((1, "b")),
    "closure over a function": closure_over(by_value(plain)),
    "partial of constants": functools.partial(stateful.same, 1),
    "partial of a function by value": functools.partial(by_value(plain), 1),
    "function by value with a cache": by_value(uses_helper, helper=functools.cache(by_value(plain))),
}
FRESH: dict[str, Any] = {
    "bound method": stateful.Steps().step,
    "builtin method": [].append,
    "callable object": stateful.Steps(),
    "iterator": itertools.count().__next__,
    "item getter": operator.itemgetter(1),
    "partial of a list": functools.partial(stateful.same, []),
    "partial with a dict": functools.partial(stateful.same, value={}),
    "partial of a partial": functools.partial(functools.partial(stateful.same, []), 1),
    "partial with an attribute": functools.partial(stateful.same, 1),
    "uses a list": by_value(uses_a_list),
    "binds a global": by_value(binds_a_global),
    "reaches all globals": by_value(reaches_all),
    "helper that uses a list": by_value(uses_helper, helper=by_value(uses_a_list)),
    "attribute of a helper": by_value(sets_an_attribute_of_helper, helper=by_value(plain)),
    "list by default": by_value(with_a_list),
    "list by keyword": by_value(with_a_list_by_keyword),
    "closure over a list": closure_over([1]),
    "closure that binds": closure_that_binds(),
    "sets an attribute of a default": with_default(sets_attribute_of_a_default, by_value(plain)),
    "sets an attribute of a function in a tuple": by_value(sets_attribute_of_an_item, helper=(by_value(plain),)),
    "sets an attribute of a partial's argument": functools.partial(
        by_value(sets_attribute_of_a_default), by_value(plain)
    ),
    "sets an item of a function's dict": with_default(sets_in_its_dict, by_value(plain)),
    "sets an attribute of a function's attribute": with_attribute(sets_attribute_of_a_default, by_value(plain)),
    "class by value": OfMain,
    "uses a class by value": by_value(uses_helper, helper=OfMain),
    "module made by hand": by_value(uses_helper, helper=types.ModuleType("made_by_hand")),
}
FRESH["partial with an attribute"].found = []


@pytest.mark.parametrize("what", KEPT)
def test_what_cannot_carry_state_is_kept(what):
    assert examine(KEPT[what]).is_kept


@pytest.mark.parametrize("what", FRESH)
def test_what_can_carry_state_is_made_anew_for_each_call(what):
    assert not examine(FRESH[what]).is_kept


def changes(function, change):
    """Whether a change is noticed; nothing is while there is none."""
    watch = examine(function).watch
    if watch is None:  # there is nothing to look at
        change()
        return False
    assert watch.is_unchanged(function)
    change()
    return not watch.is_unchanged(function)


def test_a_name_that_is_bound_anew_is_noticed_and_one_that_is_not_used_is_not():
    function = by_value(uses_constants, OTHER=1)
    assert not changes(function, lambda: function.__globals__.update(OTHER=2))
    for name, value in (("NUMBER", 2), ("math", re), ("len", max), ("TEXT", "".join(["a", "b"]))):
        assert changes(function, lambda name=name, value=value: function.__globals__.update({name: value}))
    assert changes(function, lambda: function.__globals__.pop("NUMBER"))


def test_what_a_helper_uses_is_noticed():
    inner = by_value(uses_constants)
    function = by_value(uses_helper, helper=by_value(uses_helper, helper=inner))
    assert changes(function, lambda: inner.__globals__.update(NUMBER=2))
    assert changes(function, lambda: setattr(inner, "__code__", plain.__code__))
    assert changes(function, lambda: function.__globals__.update(helper=plain))


@pytest.mark.parametrize("size", [1, 100_000])
def test_what_is_changed_in_place_is_noticed_if_it_is_small_and_what_is_bound_anew_always(size):
    numbers = [0] * size
    function = by_value(uses_a_list, NUMBERS=numbers)
    assert changes(function, lambda: numbers.append(1)) == (size == 1)
    assert changes(function, lambda: function.__globals__.update(NUMBERS=[2]))


@pytest.mark.parametrize("make", [list, dict.fromkeys, set, tuple, lambda items: bytearray(len(list(items)))])
@pytest.mark.parametrize("leaf", [lambda n: n, lambda n: [n], lambda n: Marked(n)])
def test_what_takes_the_address_of_a_large_value_is_noticed(make, leaf):
    if leaf(1) == [1] and make in (dict.fromkeys, set):
        pytest.skip("a list is no key")
    function = by_value(uses_a_list)
    names = function.__globals__
    for size in range(2000, 2040):
        names["NUMBERS"] = None
        names["NUMBERS"] = make(leaf(n) for n in range(size))
        watch = examine(function).watch
        assert watch is not None
        assert watch.is_unchanged(function)
        names["NUMBERS"] = None
        names["NUMBERS"] = make(leaf(n) for n in range(size + 1))  # often at the same address
        assert not watch.is_unchanged(function)


class Marked:
    __slots__ = ("n",)

    def __init__(self, n):
        self.n = n


class Counted:
    pickled = 0

    def __reduce__(self):
        Counted.pickled += 1
        return bytes, (10,)


class Holder:
    def __init__(self):
        self.items = [bytes(100_000), *(Counted() for _ in range(100))]


def test_of_large_state_only_the_beginning_is_pickled():
    examine(by_value(uses_a_list, NUMBERS=Holder()))
    assert Counted.pickled <= 1


def test_defaults_that_are_replaced_by_fewer_at_the_same_address_are_noticed():
    function = with_default(with_constants, 1)
    for _ in range(50):
        function.__defaults__ = tuple([object(), object(), object()][:2])
        watch = examine(function).watch
        assert watch is not None
        function.__defaults__ = None
        assert not watch.is_unchanged(function)
        function.__defaults__ = tuple([1])
        assert not watch.is_unchanged(function)


def test_a_class_that_gets_another_base_is_noticed():
    class First:
        pass

    class Second:
        pass

    class User(First):
        pass

    for cls in (First, Second, User):
        cls.__module__ = "__main__"
    function = by_value(uses_helper, helper=User)

    def change():
        User.__bases__ = (Second,)

    assert changes(function, change)


def test_defaults_closures_attributes_and_classes_are_watched():
    function = by_value(with_constants)
    assert changes(function, lambda: setattr(function, "__defaults__", (2,)))
    assert changes(function, lambda: function.__kwdefaults__.update(y=3))
    assert changes(function, lambda: setattr(function, "calls", 1))
    assert changes(function, lambda: setattr(function, "calls", 2))
    found = by_value(with_a_list)
    assert changes(found, lambda: found.__defaults__[0].append(1))
    over = closure_over(1)
    assert changes(over, lambda: setattr(over.__closure__[0], "cell_contents", 2))
    user = by_value(uses_helper, helper=OfMain)
    assert changes(user, lambda: setattr(OfMain, "sides", 4))
    assert changes(user, lambda: setattr(OfMain, "more", 4))
    assert changes(user, lambda: setattr(OfMain, "count", plain))


def test_arguments_of_a_partial_are_watched():
    part = functools.partial(stateful.tally, {"a": 1}, key=[1])
    assert changes(part, lambda: part.args[0].update(a=2))
    assert changes(part, lambda: part.keywords["key"].append(2))
    inner = by_value(uses_constants)
    assert changes(functools.partial(inner, 1), lambda: inner.__globals__.update(NUMBER=2))


@pytest.mark.parametrize("size", [3, 1_000_000])
def test_an_array_is_looked_through_only_if_it_is_small(size):
    array = pytest.importorskip("numpy").zeros(size)
    part = functools.partial(stateful.same, array)
    assert changes(part, lambda: array.fill(1)) == (size == 3)
    function = by_value(uses_a_list, NUMBERS=array)
    assert changes(function, lambda: array.fill(2)) == (size == 3)


def test_nothing_is_kept_alive_by_being_watched():
    def make():
        found = Found()
        found.list = [found]

        def recursive(n):
            return found if n == 0 else recursive(n - 1)

        return recursive, found

    class Found:
        list: Any = None

    function, found = make()
    watch = examine(function).watch
    gone = weakref.ref(function), weakref.ref(found)
    assert watch is not None and watch.is_unchanged(function)  # noqa: PT018
    del function, found
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_state_that_cannot_be_pickled_is_left_alone():
    class Stubborn:
        def __reduce__(self):
            raise RuntimeError("not me")

    stubborn = Stubborn()
    function = by_value(uses_a_list, NUMBERS=stubborn)
    assert not changes(function, lambda: setattr(stubborn, "a", 1))
    assert changes(function, lambda: function.__globals__.update(NUMBERS=1))
