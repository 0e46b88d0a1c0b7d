"""Exceptions that tasks raise, as the program gets them: caught by the class that they are of, wherever that is."""

import importlib
import pickle
import sys
import threading
import types

import pytest

from scaler import Client
from scaler.exceptions import DeserializeObjectError, RemoteError
from tests.e2e import calls
from tests.entry_points.commands import Command, scheduler_alone


class Formatting(Exception):
    def __init__(self, name):
        super().__init__(f"there is no {name}")


class WithTwoArguments(calls.Trouble):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


class WithLock(WithTwoArguments):
    def __init__(self, a, b):
        super().__init__(a, b)
        self.lock = threading.Lock()

    def __str__(self):
        return f"locked {self.b}"


class WithPath(OSError):
    def __init__(self, path):
        super().__init__(2, "it is not there", path)


class OwnWay(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} {b}")
        self.both = a, b

    def __reduce__(self):
        return OwnWay, self.both


class Unbuildable(Exception):
    def __reduce__(self):
        return calls.fail, ("no",)


class UnbuildableGroup(ExceptionGroup):
    def __reduce__(self):
        return calls.fail, ("no",)


def raise_it(kind, *arguments):
    raise kind(*arguments)


def raise_group():
    raise ExceptionGroup("two", [Formatting("a"), OSError(2, "b")])


def raise_what_only_workers_have(base):
    """Of a module that nobody else can import."""
    module = types.ModuleType("only_there")
    module.__file__ = "/only/there.py"  # else it would be one made by hand, which travels by value
    sys.modules["only_there"] = module
    kind = type("Trouble", (base,), {"__module__": "only_there"})
    setattr(module, "Trouble", kind)  # noqa: B010
    raise kind("it", "broke")


def test_an_exception_is_not_made_a_second_time(client):
    error = client.submit(raise_it, Formatting, "x").exception(20)
    assert type(error) is Formatting
    assert str(error) == "there is no x"
    error = client.submit(raise_it, WithTwoArguments, 1, 2).exception(20)
    assert type(error) is WithTwoArguments
    assert (error.args, error.b) == ((1,), 2)
    error = client.submit(raise_it, WithPath, "a").exception(20)
    assert (type(error), error.errno, error.filename, str(error)) == (WithPath, 2, "a", str(WithPath("a")))
    error = client.submit(raise_it, OwnWay, 1, 2).exception(20)
    assert (type(error), error.args, error.both) == (OwnWay, ("1 2",), (1, 2))


def test_exceptions_in_a_group_are_not_made_a_second_time(client):
    error = client.submit(raise_group).exception(20)
    assert [str(each) for each in error.exceptions] == ["there is no a", "[Errno 2] b"]


def test_an_exception_that_cannot_be_rebuilt_is_caught_by_its_class(client):
    with pytest.raises(WithLock) as caught:
        client.submit(raise_it, WithLock, 1, 2).result(20)
    error = caught.value
    assert isinstance(error, RemoteError)
    assert str(error) == f"{__name__}.WithLock: locked 2"
    assert error.b == 2
    assert not hasattr(error, "lock")
    assert "raise_it" in str(error.__cause__)
    with pytest.raises(Unbuildable, match="Unbuildable: a"):
        client.submit(raise_it, Unbuildable, "a").result(20)
    with pytest.raises(UnbuildableGroup, match="UnbuildableGroup: a"):
        client.submit(raise_it, UnbuildableGroup, "a", [ValueError("b")]).result(20)


@pytest.mark.parametrize("base", [calls.Trouble, OSError, Exception, KeyError])
def test_an_exception_of_a_class_that_is_not_here_is_caught_by_the_nearest_that_is(client, base):
    with pytest.raises(base) as caught:
        client.submit(raise_what_only_workers_have, base).result(20)
    error = caught.value
    assert isinstance(error, RemoteError)
    assert str(error).startswith("only_there.Trouble: ")
    assert "it" in str(error)
    assert "raise_what_only_workers_have" in str(error.__cause__)


class OnlyThere:
    def __reduce__(self):
        return getattr, (sys.modules["only_there"], "made")


def raise_with_what_only_workers_have(base):
    raise_what = types.ModuleType("only_there")
    raise_what.__file__ = "/only/there.py"
    sys.modules["only_there"] = raise_what
    kind = type("Trouble", (ValueError,), {"__module__": "only_there"})
    setattr(raise_what, "Trouble", kind)  # noqa: B010
    setattr(raise_what, "made", OnlyThere())  # noqa: B010
    if base is ExceptionGroup:
        raise ExceptionGroup("several", [kind("broke")])
    raise base(raise_what.made)


@pytest.mark.parametrize("base", [ExceptionGroup, KeyError])
def test_an_exception_that_holds_what_is_not_here_is_caught_by_its_class(client, base):
    with pytest.raises(base) as caught:
        client.submit(raise_with_what_only_workers_have, base).result(20)
    assert "raise_with_what_only_workers_have" in str(caught.value.__cause__)


class WithOwnState(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.__dict__.clear()

    def __setstate__(self, state):
        assert state is not None


def test_an_exception_without_attributes_is_given_none(client):
    error = client.submit(raise_it, WithOwnState, "x").exception(20)
    assert (type(error), error.args) == (WithOwnState, ("x",))


def test_a_stand_in_can_be_pickled(client):
    error = client.submit(raise_it, WithLock, 1, 2).exception(20)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, WithLock)
    assert (str(again), again.b) == (str(error), 2)


def test_a_call_of_a_map_fails_with_its_own_exception(client):
    with pytest.raises(Formatting, match=r"\Athere is no y\Z"):
        client.map(raise_it, [(Formatting, "y")])


def install_oddlib(folder, version, source):
    """A library of one module, in this folder."""
    about = folder / f"oddlib-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: oddlib\nVersion: {version}\n")
    (folder / "oddlib.py").write_text(source)


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_a_library_of_another_version_on_the_workers_side_is_named(link, tmp_path, monkeypatch):
    install_oddlib(tmp_path / "old", "1.5", "def old(x):\n    return x\n")
    install_oddlib(tmp_path / "new", "2.0", "def old(x):\n    return x\ndef new(x):\n    return x\n")
    with scheduler_alone(link) as address:
        before = ("env", f"PYTHONPATH={tmp_path / 'old'}")
        with Command("scaler_cluster", address, "-n", "1", before=before) as cluster:
            cluster.await_line("cluster is ready")
            monkeypatch.syspath_prepend(str(tmp_path / "new"))
            oddlib = importlib.import_module("oddlib")
            with Client(address, timeout_seconds=20) as made:
                assert made.submit(oddlib.old, 1).result(20) == 1
                with pytest.raises(DeserializeObjectError, match=r"'new'.*\(oddlib is 1\.5 there and 2\.0 here"):
                    made.submit(oddlib.new, 1).result(20)
                assert made.submit(oddlib.old, 1).result(20) == 1
            monkeypatch.delitem(sys.modules, "oddlib")
            assert cluster.stop() == 0
