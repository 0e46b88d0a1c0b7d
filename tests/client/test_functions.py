"""FunctionNumbers alone: what is announced, what is forgotten and when, with the scheduler played by two lists."""

import functools
import gc
import random
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from scaler._native import join_places
from scaler.client import functions, parcel
from scaler.client.functions import FunctionNumbers
from scaler.values import payload

MOST = 5


class Parcel:
    """Pickles as the real one does; what a function carries besides is not tried here."""

    def dumps(self, value):
        return payload.dumps(value)

    def digest(self, data):
        return bytes(data)

    def finish(self, data, most_bytes, may_hold):
        return data


class Scheduler:
    """Hears what is announced and forgotten; `is_full`: there is no room to forget."""

    def __init__(self):
        self.known, self.said = {}, []
        self.is_full = False
        self.numbers = FunctionNumbers(cast(type[parcel.Parcel], Parcel), self.announce, self.forget, 8000)

    def announce(self, number, digest, payload, flags):
        assert number not in self.known
        assert all(number > one for one in self.said)
        self.said.append(number)
        self.known[number] = payload

    def forget(self, number):
        if self.is_full:
            return False
        del self.known[number]
        return True

    def use(self, function):
        """Its number is used, and done with."""
        return int(self.numbers.number_of(function))

    def check(self):
        assert len(self.numbers) == len(self.known)


@pytest.fixture
def scheduler(monkeypatch):
    monkeypatch.setattr(functions, "MOST_UNUSED", MOST)
    return Scheduler()


class Model:
    def __init__(self, state):
        self.state = state

    def step(self):
        return self.state


def test_a_function_is_announced_once_and_stays_as_long_as_somebody_has_it(scheduler):
    many = [functools.partial(print, n) for n in range(10 * MOST)]
    numbers = [scheduler.use(function) for function in many]
    assert [scheduler.use(function) for function in many] == numbers
    assert len(scheduler.said) == len(scheduler.known) == len(many)


def test_of_those_that_are_gone_the_last_few_stay_and_the_oldest_is_forgotten_first(scheduler):
    for n in range(4 * MOST):
        scheduler.use(functools.partial(print, n))
    gc.collect()
    scheduler.numbers.tend()
    assert list(scheduler.known) == scheduler.said[-MOST:]
    scheduler.check()


def test_an_equal_function_is_the_same_and_stays_for_the_last_that_has_it(scheduler):
    one, two = functools.partial(print, 1), functools.partial(print, 1)
    number = scheduler.use(one)
    assert scheduler.use(two) == number
    del one
    for n in range(100, 100 + 4 * MOST):
        scheduler.use(functools.partial(print, n))
    assert number in scheduler.known
    assert scheduler.use(two) == number
    del two
    for n in range(200, 200 + 4 * MOST):
        scheduler.use(functools.partial(print, n))
    assert number not in scheduler.known
    scheduler.check()


def test_bound_methods_are_known_by_their_bytes_and_the_last_few_stay(scheduler):
    model = Model(0)
    assert scheduler.use(model.step) == scheduler.use(model.step)
    for state in range(4 * MOST):
        model.state = state
        scheduler.use(model.step)
    assert len(scheduler.said) == 4 * MOST
    scheduler.numbers.tend()
    assert len(scheduler.known) == MOST


def test_what_is_forgotten_and_used_again_is_announced_anew_under_another_number(scheduler):
    model = Model("first")
    number = scheduler.use(model.step)
    for state in range(4 * MOST):
        scheduler.use(Model(state).step)
    assert number not in scheduler.known
    again = scheduler.use(model.step)
    assert again == scheduler.said[-1] > number
    assert again in scheduler.known


def test_one_that_is_used_again_in_time_is_the_newest(scheduler):
    model = Model("first")
    number = scheduler.use(model.step)
    for state in range(10 * MOST):
        scheduler.use(Model(state).step)
        assert scheduler.use(model.step) == number
    assert number in scheduler.known


def test_a_number_that_somebody_submits_under_is_not_forgotten(scheduler):
    number = scheduler.numbers.number_of(Model("a whole map").step)
    for state in range(10 * MOST):
        scheduler.use(Model(state).step)
    assert number in scheduler.known
    value = int(number)
    del number
    for state in range(100, 100 + 2 * MOST):
        scheduler.use(Model(state).step)
    assert value not in scheduler.known


def test_what_cannot_be_said_for_want_of_room_is_said_later_and_once(scheduler):
    scheduler.is_full = True
    for state in range(4 * MOST):
        scheduler.use(Model(state).step)
    assert len(scheduler.known) == 4 * MOST
    model = Model(0)
    assert scheduler.use(model.step) == scheduler.said[-1]  # its end is not said yet, but it has come
    scheduler.is_full = False
    scheduler.numbers.tend()
    assert len(scheduler.known) == MOST
    scheduler.check()


def test_the_end_of_a_function_in_the_midst_of_announcing_another_is_noted(scheduler):
    """As if the collector had chosen that moment, in the thread that holds the lock."""
    many = [functools.partial(print, n) for n in range(2 * MOST)]
    for function in many:
        scheduler.use(function)
    del function
    announce = scheduler.announce

    def announce_and_collect(*about):
        many.clear()
        scheduler.numbers.tend()  # somebody else holds the lock
        announce(*about)

    scheduler.numbers._announce = announce_and_collect
    scheduler.use(functools.partial(print, "new"))
    scheduler.numbers.tend()
    assert len(scheduler.known) == MOST
    scheduler.check()


def test_a_function_that_could_not_be_announced_is_tried_again(scheduler):
    announce = scheduler.announce
    scheduler.numbers._announce = lambda *about: 1 / 0
    function = functools.partial(print, 1)
    with pytest.raises(ZeroDivisionError):
        scheduler.use(function)
    scheduler.numbers._announce = announce
    assert scheduler.use(function) in scheduler.known
    scheduler.check()


def test_many_threads_never_get_a_number_that_is_forgotten(scheduler):
    shared = [functools.partial(print, "shared", n) for n in range(3)]
    errors = []

    def work(seed):
        chance = random.Random(seed)
        own = []
        for _ in range(2000):
            what = chance.random()
            function: Callable[..., Any]
            if what < 0.3:
                function = chance.choice(shared)
            elif what < 0.6:
                function = Model(chance.randrange(20)).step
            else:
                function = functools.partial(print, chance.randrange(40))
                own.append(function)
                del own[:-2]
            number = scheduler.numbers.number_of(function)
            if number not in scheduler.known:
                errors.append(number)
            del number

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    gc.collect()
    scheduler.numbers.tend()
    assert len(scheduler.known) <= MOST + len(shared)
    scheduler.check()


def test_what_they_carry_is_bounded_and_the_last_one_stays(scheduler, monkeypatch):
    class Packed:
        def __init__(self, data):
            self.payload, self.is_written = functions_payload(data), False

        def end(self):
            assert self.is_written

    monkeypatch.setattr(functions, "MOST_UNUSED_BYTES", 3000)
    monkeypatch.setattr(Parcel, "finish", lambda self, data, most_bytes, may_hold: Packed(data))
    for state in range(10):
        scheduler.use(Model(state).step)
    scheduler.numbers.tend()
    assert len(scheduler.known) == 3
    monkeypatch.setattr(functions, "MOST_UNUSED_BYTES", 10)
    number = scheduler.use(Model("large").step)
    scheduler.numbers.tend()
    assert list(scheduler.known) == [number]


def functions_payload(data):
    return join_places([(1 << 40 | 1, 1, 0, 1000, 1)], data)


def test_a_builtin_that_is_bound_to_an_object_is_another_when_that_has_changed(scheduler):
    values = {}
    look_up = values.get
    before = scheduler.use(look_up)
    values["k"] = 1
    assert scheduler.use(look_up) != before
    assert scheduler.use(len) == scheduler.use(len)


def test_a_signals_handler_may_submit_while_a_function_waits_for_room(scheduler, monkeypatch):
    function: Any = functools.partial(print, 1)
    handled = []

    def announce(number, digest, payload, flags):
        if not handled:
            handled.append(0)
            handled[0] = scheduler.use(function)
        scheduler.known[number] = payload

    scheduler.numbers._announce = announce
    number = scheduler.use(function)
    assert [number] == handled
    assert len(scheduler.known) == 2
    scheduler.numbers._announce = scheduler.announce
    function = None
    for n in range(2 * MOST):
        scheduler.use(functools.partial(print, n))
    scheduler.check()
    assert len(scheduler.known) <= MOST + 1


def test_a_client_that_is_gone_says_so_though_the_lock_is_taken(scheduler):
    def gone():
        raise RuntimeError("gone")

    numbers = FunctionNumbers(cast(type[parcel.Parcel], Parcel), scheduler.announce, scheduler.forget, 8000, gone)
    done = threading.Event()
    taken = threading.Event()

    def hold():
        with numbers._lock:
            taken.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(60)
    with pytest.raises(RuntimeError, match="gone"):
        numbers.number_of(len)
    numbers.on_fork()
    assert numbers._lock.acquire(timeout=0)
    done.set()
    holder.join(60)
