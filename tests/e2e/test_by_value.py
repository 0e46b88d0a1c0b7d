"""What is made in functions, and what is refused: how values travel that no module has."""

import functools
import io
import mmap
import socket
import threading
from contextvars import ContextVar

import pytest

from tests.e2e import calls

np = pytest.importorskip("numpy")
pydantic = pytest.importorskip("pydantic")


def is_writable(*arrays):
    return [array.flags.writeable for array in arrays]


def make_read_only(n):
    array = np.arange(n)
    array.flags.writeable = False
    return array


def test_a_function_that_validates_its_arguments(client):
    @pydantic.validate_call
    def double(number: int) -> int:
        return 2 * number

    assert client.submit(double, "4").result(20) == 8
    assert client.map(double, [("1",), (2,)]) == [2, 4]

    @pydantic.validate_call(validate_return=True, config={"strict": True})
    def as_text(number: int) -> str:
        return "a" if number == 1 else number  # type: ignore[return-value]

    assert client.submit(as_text, 1).result(20) == "a"
    for argument in ("1", 2):
        with pytest.raises(pydantic.ValidationError):
            client.submit(as_text, argument).result(20)
    with pytest.raises(pydantic.ValidationError):
        client.submit(double, "four").result(20)


def test_an_object_that_looks_elsewhere_for_what_it_has_not(client):
    class Proxy:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

    assert client.submit(calls.echo, Proxy([1, 2])).result(20).index(2) == 1
    assert client.submit(lambda proxy: proxy.inner, Proxy([1, 2])).result(20) == [1, 2]


def test_a_function_with_a_cache_keeps_its_settings_and_attributes(client):
    @functools.lru_cache(maxsize=2, typed=True)
    def double(number):
        return 2 * number

    vars(double)["unit"] = "m"

    def look():
        return double(1), double(1.0), double.cache_info().misses, double.cache_parameters(), vars(double)

    *results, attributes = client.submit(look).result(20)
    assert results == [2, 2.0, 2, {"maxsize": 2, "typed": True}]
    assert attributes["unit"] == "m"


def test_a_function_that_dispatches_and_calls_itself(client):
    @functools.singledispatch
    def depth(value):
        return 0

    @depth.register
    def _(value: list):
        return 1 + max(depth(item) for item in value)

    class Shape:
        @functools.singledispatchmethod
        def area(self, value):
            return "unknown"

        @area.register
        def _(self, value: int):
            return value * value

    assert client.submit(depth, [1, [2, [3]]]).result(20) == 3
    assert client.submit(lambda: (Shape().area(3), Shape().area("x"))).result(20) == (9, "unknown")


@pytest.mark.parametrize("n", [10, 100_000], ids=["small", "large"])
def test_an_array_that_may_not_be_written_to_stays_so_and_any_other_is_writable(client, n):
    assert client.submit(is_writable, make_read_only(n), np.arange(n)).result(20) == [False, True]
    assert client.map(is_writable, [(make_read_only(n), np.arange(n))]) == [[False, True]]
    assert is_writable(client.submit(make_read_only, n).result(20), client.submit(np.arange, n).result(20)) == [
        False,
        True,
    ]


def test_what_would_come_out_as_something_else_is_refused(client, tmp_path):
    path = tmp_path / "file"
    path.write_text("text")
    with path.open() as text, path.open("rb") as raw, path.open("r+b") as both:
        for file in (text, raw, both, [raw], {"a": text}):
            with pytest.raises(TypeError, match=r"an open file \('.*file'\) cannot be pickled: pass its path"):
                client.submit(calls.echo, file)
        with pytest.raises(TypeError, match=r"uses closure variable 'text' .*an open file .* cannot be pickled"):
            client.submit(lambda: text)
    for view in (memoryview(b"ab"), [memoryview(bytearray(2))]):
        with pytest.raises(TypeError, match="a memoryview cannot be pickled: pass bytes"):
            client.submit(calls.echo, view)
    with pytest.raises(TypeError, match="a memoryview cannot be pickled"):
        client.submit(memoryview, b"ab").result(20)
    assert client.submit(calls.echo, io.BytesIO(b"ab")).result(20).read() == b"ab"
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_what_cannot_travel_is_named_with_the_way_to_it(client):
    lock, variable = threading.Lock(), ContextVar("variable")

    class Model:
        def __init__(self):
            self.connection = socket.socket()

        def fit(self):
            return self

    def generator():
        yield

    def use(default=None):
        return lock, default

    def use_other():
        return use()

    def use_variable():
        return variable

    running, model, view = generator(), Model(), mmap.mmap(-1, 10)
    here = "test_what_cannot_travel_is_named_with_the_way_to_it.<locals>."
    cases = [
        (use, f"function '{here}use' uses closure variable 'lock' (a _thread.lock), which cannot be pickled"),
        (
            use_other,
            f"function '{here}use_other' uses closure variable 'use' (function '{here}use'), which uses closure "
            "variable 'lock' (a _thread.lock), which cannot be pickled",
        ),
        (
            use_variable,
            f"function '{here}use_variable' uses closure variable 'variable' (a _contextvars.ContextVar), which cannot "
            "be pickled",
        ),
        (
            model.fit,
            f"a method is a method of its object (a {__name__}.{here}Model), which has attribute 'connection' "
            "(a socket.socket), which cannot be pickled",
        ),
        (
            functools.partial(dict, a=running),
            "a functools.partial has argument 'a' (a generator), which cannot be pickled",
        ),
        (lambda a=view: a, "<lambda>' has the default of 'a' (a mmap.mmap), which cannot be pickled"),
    ]
    for function, sentence in cases:
        with pytest.raises(TypeError) as caught:
            client.submit(function)
        assert sentence in str(caught.value)
    with pytest.raises(TypeError, match=r"a list has item 1 \(a _thread.lock\), which cannot be pickled"):
        client.submit(lambda: [1, threading.Lock()]).result(20)
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_of_very_many_items_the_one_that_cannot_travel_is_found(client):
    with pytest.raises(TypeError, match=r"has item 0 \(a list\), which has item 70000 \(a _thread.lock\)"):
        client.submit(len, [0] * 70_000 + [threading.Lock()] + [0] * 70_000)
