"""process_map: results in order, and what its line says."""

import io
import itertools

import pytest

from scaler.progress import describe, process_map
from tests.e2e import calls


def test_results_come_in_order_and_the_line_ends_with_all_of_them(client):
    line = io.StringIO()
    assert process_map(calls.add_one, range(1000), client=client, file=line, desc="adding") == list(range(1, 1001))
    assert line.getvalue().split("\r")[-1].startswith("adding: 100% 1,000/1,000 in ")
    assert process_map(pow, [2, 3], itertools.count(2), client=client, file=line) == [4, 27]


def test_without_a_terminal_it_says_nothing(client, capfd):
    assert process_map(calls.add_one, [1, 2], client=client) == [2, 3]
    assert capfd.readouterr() == ("", "")


def test_a_bar_of_others_gets_the_results_and_how_many_there_will_be(client):
    asked = []

    def bar(results, **options):
        asked.append(options)
        return results

    assert process_map(calls.add_one, [1, 2], client=client, tqdm_class=bar, desc="x") == [2, 3]
    assert process_map(calls.add_one, iter([1]), client=client, tqdm_class=bar, total=7) == [2]
    assert asked == [{"total": 2, "desc": "x"}, {"total": 7, "desc": None}]


def test_without_a_client_it_starts_workers_for_it():
    assert process_map(calls.add_one, range(10), max_workers=1) == list(range(1, 11))
    with pytest.raises(ValueError, match="no"):
        process_map(calls.fail, ["no"], max_workers=1)


def test_the_line_says_how_far_it_is():
    assert describe(50, 200, "", 10.0) == " 25% 50/200 in 10.0 s, 5/s, 30 s left"
    assert describe(3000, None, "reading", 2.0) == "reading: 3,000 in 2.0 s, 1,500/s"
    assert describe(0, 10, "", 0.0) == "  0% 0/10 in 0.0 s, 0/s"
