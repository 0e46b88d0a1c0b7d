"""A program as people write them: all that it sends to its workers is defined in its `__main__`.

Its argument is the scheduler's address. It prints one JSON object: what each of its checks has found. Everything stands
in one file, so that it can be run as a script, a module, from a zip, from standard input, by `-c` and in a notebook;
tests/e2e/test_main.py has what is expected.
"""

import collections
import copy
import dataclasses
import enum
import functools
import json
import multiprocessing
import pickle
import sys
import threading
import traceback
import typing
from concurrent.futures import ProcessPoolExecutor
from contextvars import ContextVar
from typing import Any

from scaler import Client

LOCK = threading.Lock()
CONTEXT: ContextVar[int] = ContextVar("CONTEXT")
UserId = typing.NewType("UserId", int)
Pair = collections.namedtuple("Pair", "left right")
T = typing.TypeVar("T")
P = typing.ParamSpec("P")


class Colour(enum.Enum):
    RED = 1


class Point(typing.NamedTuple):
    x: int


@dataclasses.dataclass
class Record:
    name: str
    numbers: list[int] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Slotted:
    x: int


class Slots:
    __slots__ = ("__hidden", "a")

    def __init__(self, a: int) -> None:
        self.a, self.__hidden = a, 2 * a

    def both(self) -> tuple[int, int]:
        return self.a, self.__hidden


class MoreSlots(Slots):
    __slots__ = "b"


class WithCachedProperty:
    @functools.cached_property
    def three(self) -> int:
        return 3


class Singleton:
    def __reduce__(self) -> str:
        return "SINGLETON"


SINGLETON = Singleton()


class Delegating:
    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


class Counting:
    calls = 0

    def count(self) -> int:
        global COUNT
        COUNT += 1
        return COUNT


COUNT = 0


class Formatting(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"there is no {name}")


class TwoArguments(ValueError):
    __slots__ = ("b",)

    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)
        self.b = b


class WithLock(KeyError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code, self.lock = code, threading.Lock()


class Model:
    def __init__(self) -> None:
        self.inner = [threading.Lock()]


MODEL = Model()


@functools.lru_cache
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def use_cache(n: int) -> int:
    return fibonacci(n)


@functools.singledispatch
def kind_of(value: object) -> str:
    return "anything"


@kind_of.register
def _(value: int) -> str:
    return "int"


@kind_of.register(list)
def _(value: list[object]) -> str:
    return "list of " + kind_of(value[0])


def make_user(n: int) -> UserId:
    return UserId(n)


def use_lock() -> object:
    return LOCK


def use_context() -> int:
    return CONTEXT.get()


def use_model() -> Model:
    return MODEL


def return_lock() -> list[object]:
    return [1, threading.Lock()]


def generate() -> typing.Iterator[int]:
    yield 1


def identity(value: T) -> T:
    return value


def raise_it(error: type[BaseException], *arguments: object) -> None:
    raise error(*arguments)


def raise_group() -> None:
    raise ExceptionGroup("two", [Formatting("a"), Formatting("b")])


def closing_over(value: object) -> typing.Callable[[], object]:
    return lambda: value


class Linked:
    value: "UserId"
    following: "Linked | None" = None

    def after(self, other: "Linked") -> "Linked":
        other.following = self
        return other


class Outer:
    class Inner:
        pass


BASE = 0
ONLY_IN_MAIN = 12


def begin(base: int) -> None:
    global BASE
    BASE = base


def add_base(n: int) -> int:
    return BASE + n


def make_record(n: int) -> Record:
    return Record(str(n), [add_base(n)])


def describe_record(record: "Record") -> "str":
    return f"{record.name} {record.numbers} {type(record) is Record} {use_cache(5)} {kind_of(1)}"


def fail(n: int) -> None:
    raise Formatting(str(n))


def put(queue: Any, record: Record) -> None:
    queue.put((record, multiprocessing.parent_process() is not None))


def use_pool(method: str) -> object:
    with multiprocessing.get_context(method).Pool(1, initializer=begin, initargs=(10,)) as pool:
        made = pool.map(make_record, range(3))
        assert all(type(record) is Record for record in made)
        described = pool.apply(describe_record, (Record("r"),))
        try:
            pool.apply(fail, (1,))
        except Formatting as error:
            return [record.numbers for record in made], described, type(error) is Formatting
    return "nothing was raised"


def use_executor(method: str) -> object:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin, initargs=(20,)) as executor:
        numbers = list(executor.map(add_base, range(3)))
        again = executor.submit(identity, [Colour.RED, SINGLETON, Record("a"), Record]).result()
    assert again[0] is Colour.RED
    assert again[1] is SINGLETON
    assert again[3] is Record
    return numbers, type(again[2]) is Record


def use_process(method: str) -> object:
    context: Any = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue, Record("p")))
    process.start()
    record, is_child = queue.get()
    process.join()
    return type(record) is Record, is_child, process.exitcode


def pickle_by_name() -> object:
    found = [
        pickle.loads(pickle.dumps(value)) is value
        for value in (Record, make_record, use_cache, fibonacci, kind_of, UserId, SINGLETON, Colour.RED, Outer.Inner)
    ]
    return [*found, type(copy.deepcopy(Record("a"))) is Record, pickle.loads(pickle.dumps(Record("a"))) == Record("a")]


def look_at_hints() -> object:
    hints = typing.get_type_hints(Linked)
    return [
        hints == {"value": UserId, "following": Linked | None},
        typing.get_type_hints(Linked.after) == {"other": Linked, "return": Linked},
        typing.get_type_hints(describe_record) == {"record": Record, "return": str},
    ]


def look_at_main(record: object) -> object:
    import __main__

    there: Any = __main__
    return [
        there.ONLY_IN_MAIN, there.look_at_main is look_at_main, there.Record is type(record),
        getattr(there, "__file__", None), there.__name__, "LOCK" in vars(there),
    ]  # fmt: skip


def error_of(call: typing.Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def results_are_of_our_classes(client: Client) -> object:
    values = (
        Colour.RED, Point(1), Pair(1, 2), Record("r", [1]), Slotted(3), Slots(4), MoreSlots(5), WithCachedProperty(),
        UserId, SINGLETON, P, T,
    )  # fmt: skip
    echoed = [client.submit(identity, value).result(60) for value in values]
    made: list[Any] = [
        client.submit(type(value), *arguments).result(60) for value, arguments in ((values[4], [3]), (values[5], [4]))
    ]
    assert echoed[5].both() == made[1].both() == (4, 8)
    assert dataclasses.asdict(echoed[3]) == {"name": "r", "numbers": [1]}
    assert echoed[7].three == client.submit(lambda value: value.three, values[7]).result(60) == 3
    assert echoed[1:5] == list(values[1:5])
    assert made[0] == values[4]
    assert client.submit(SINGLETON.__class__).result(60) is SINGLETON
    return [
        type(found) is type(value) and (found is value or type(value) not in (Colour, typing.NewType, Singleton))
        for found, value in zip(echoed, values, strict=True)
    ]


def what_is_found_by_name_travels(client: Client) -> object:
    return [
        client.submit(fibonacci, 20).result(60), client.submit(use_cache, 20).result(60),
        client.map(use_cache, [(5,), (6,)]), client.submit(kind_of, [1]).result(60),
        client.submit(make_user, 7).result(60), client.submit(typing.cast(Any, Delegating([1, 2])).index, 2).result(60),
    ]  # fmt: skip


def classes_stay_as_they_are(client: Client) -> object:
    before = Counting.__dict__.copy()
    for _ in range(2):
        client.submit(identity, Counting()).result(60)
    assert {name: value is Counting.__dict__[name] for name, value in before.items()} == dict.fromkeys(before, True)
    return Counting().count() == COUNT == 1


def errors_name_what_cannot_travel(client: Client) -> object:
    generator = generate()
    return [
        error_of(lambda: client.submit(use_lock)), error_of(lambda: client.submit(use_context)),
        error_of(lambda: client.submit(use_model)), error_of(lambda: client.submit(closing_over(generator))),
        error_of(lambda: client.submit(identity, {"a": [0] * 100 + [generator]})),
        error_of(lambda: client.submit(return_lock).result(60)),
        error_of(lambda: client.submit(functools.partial(identity, LOCK))),
        error_of(lambda: client.submit(len, memoryview(b"abc"))),
        error_of(lambda: client.submit(identity, sys.__stdin__)).partition("(<")[0],
    ]  # fmt: skip


def failure_of(client: Client, *call: Any) -> Any:
    return client.submit(*call).exception(60)


def failures_are_of_our_classes(client: Client) -> object:
    formatting, two = failure_of(client, raise_it, Formatting, "x"), failure_of(client, raise_it, TwoArguments, 1, 2)
    lock, group = failure_of(client, raise_it, WithLock, 5), failure_of(client, raise_group)
    assert [type(error) for error in (formatting, two)] == [Formatting, TwoArguments]
    assert isinstance(lock, WithLock)
    assert "raise_it" in str(lock.__cause__)
    return [str(formatting), two.args, two.b, str(lock), lock.code, [str(error) for error in group.exceptions]]


def pools_of_processes_in_tasks(client: Client) -> object:
    calls = [(use, method) for use in (use_pool, use_executor, use_process) for method in METHODS]
    futures = [client.submit(use, method) for use, method in calls]
    return [future.result(90) for future in futures]


METHODS = ["fork", "spawn", "forkserver"]


def main_is_there_in_tasks(client: Client) -> object:
    for _ in range(2):
        found = [
            client.submit(pickle_by_name).result(60), client.submit(look_at_hints).result(60),
            client.submit(look_at_main, Record("a")).result(60), client.submit(type(Record("a")), "b").result(60).name,
            client.submit(pickle.dumps, Record("a")).result(60) == pickle.dumps(Record("a")),
        ]  # fmt: skip
    return found


CHECKS = [
    pools_of_processes_in_tasks, main_is_there_in_tasks,
    results_are_of_our_classes, what_is_found_by_name_travels, classes_stay_as_they_are, errors_name_what_cannot_travel,
    failures_are_of_our_classes,
]  # fmt: skip


def main(address: str) -> None:
    found = {}
    with Client(address, timeout_seconds=20) as client:
        for check in CHECKS:
            try:
                found[check.__name__] = check(client)
            except Exception as error:
                found[check.__name__] = "".join(traceback.format_exception(error))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
