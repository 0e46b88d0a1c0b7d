"""Bars: what they count, what they are called, and that they are never in the way."""

import concurrent.futures
import io
import re
import sys
import threading
from typing import Any

import pytest

from scaler import Client, SchedulerClusterCombo, progress
from scaler.program.notebook import as_html


def square(x):
    return x * x


def break_at_three(x):
    if x == 3:
        raise ValueError(x)
    return x


def last_of(file: io.StringIO, name: str) -> str:
    """The bar of this name as it was drawn last."""
    return [each for each in re.split(r"[\r\n]", file.getvalue()) if each.startswith(name)][-1]


@pytest.fixture(scope="module")
def client():
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        yield client


def ended(result: Any = None, error: BaseException | None = None) -> "concurrent.futures.Future[Any]":
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.set_exception(error) if error is not None else future.set_result(result)
    return future


def test_futures_of_any_kind_are_counted_and_failed_ones_said():
    file = io.StringIO()
    futures = [ended(1), ended(error=ValueError()), ended(2)]
    assert progress(futures, file=file) == futures
    assert "3/3" in last_of(file, "tasks")
    assert "failed=1" in last_of(file, "tasks")


def test_of_several_functions_each_is_counted(client):
    file = io.StringIO()
    futures = [client.submit(square, x) for x in range(3)] + [client.submit(break_at_three, x) for x in range(2, 4)]
    progress(futures, file=file)
    assert "5/5" in last_of(file, "tasks")
    assert "failed=1, square 3/3, break_at_three 2/2" in last_of(file, "tasks")


def test_of_one_function_only_the_bar_counts(client):
    file = io.StringIO()
    progress([client.submit(square, x) for x in range(3)], file=file)
    assert "square" not in last_of(file, "tasks")


def test_it_waits_until_the_last_one_is_done():
    late: concurrent.futures.Future[int] = concurrent.futures.Future()
    threading.Timer(0.5, late.set_result, [1]).start()
    file = io.StringIO()
    progress([ended(1), late], file=file)
    assert late.done()
    assert "1/2" in file.getvalue()
    assert "2/2" in last_of(file, "tasks")


def test_calls_of_a_cluster_are_counted(client):
    file = io.StringIO()
    futures = [client.submit(square, i) for i in range(300)] + [client.submit(break_at_three, i) for i in range(20)]
    assert progress(futures, file=file) == futures
    assert all(future.done() for future in futures)
    assert "320/320" in last_of(file, "tasks")
    assert "failed=1" in last_of(file, "tasks")


def test_a_generator_submits_while_it_is_read(client):
    file = io.StringIO()
    futures = progress((client.submit(square, i) for i in range(500)), file=file)
    assert [future.result() for future in futures] == [i * i for i in range(500)]
    assert "500/500" in file.getvalue()


def test_a_graph_comes_back_as_it_was(client):
    graph = {"a": 2, "b": (square, "a"), "c": (square, "b")}
    futures = dict(zip("bc", client.get(graph, ["b", "c"], block=False).values(), strict=True))
    shown = progress(futures, file=io.StringIO())
    assert list(shown) == ["b", "c"]
    assert [future.result() for future in shown.values()] == [4, 16]


def test_a_map_shows_its_calls_and_gives_its_results(client, capsys):
    assert client.map(square, [(i,) for i in range(2000)], progress=True) == [i * i for i in range(2000)]
    shown = capsys.readouterr().err
    assert "2000/2000" in shown
    assert "square" in shown
    assert client.map_each(square, iter(range(50)), progress=True) == [i * i for i in range(50)]
    assert "50" in capsys.readouterr().err


def test_a_map_says_how_many_have_failed_and_raises_as_it_does_without(client, capsys):
    outcomes = client.map_each(break_at_three, range(10), return_exceptions=True, progress=True)
    assert isinstance(outcomes[3], ValueError)
    assert "failed=1" in capsys.readouterr().err
    with pytest.raises(ValueError, match="3"):
        client.map_each(break_at_three, range(10), progress=True)


def test_without_tqdm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"pip install scaler\[progress\]"):
        progress([ended(1)])


def test_a_bar_that_cannot_be_drawn_is_not_the_end(client):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("it has gone")

    futures = [client.submit(square, i) for i in range(10)]
    progress(futures, file=Gone())
    assert [future.result() for future in futures] == [i * i for i in range(10)]


def test_things_say_what_they_are(client):
    future = client.submit(square, 3)
    assert future.result() == 9
    assert repr(future) == f"<ScalerFuture {future.task_id:016x}: done>"
    assert repr(client).startswith("<Client of tcp://127.0.0.1:")
    assert repr(client).endswith(", connected>")

    assert "<table>" in future._repr_html_()
    assert "<table>" in client._repr_html_()


def test_what_was_stopped_says_so():
    with SchedulerClusterCombo(n_workers=1) as combo:
        assert repr(combo) == f"<SchedulerClusterCombo at {combo.get_address()}, 1 workers, runs>"
        client = Client(combo.get_address())
        client.disconnect()
        assert "closed: " in repr(client)
    assert repr(combo).endswith("has been stopped>")
    assert "has been stopped" in combo._repr_html_()


def test_markup_in_a_notebook_is_text():
    shown = as_html("<b>", {"<i>": "<script>alert(1)</script>"})
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "&lt;i&gt;" in shown
