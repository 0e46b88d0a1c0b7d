"""Which rows a table has, in which order, and which of its columns there is room for."""

import pytest

from scaler.monitor.report import WORKER_RUNS
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import text_of
from scaler.monitor.top.table import (
    Choice,
    Filter,
    View,
    column_at,
    fitting,
    heading,
    natural,
    order,
    row_line,
)
from scaler.monitor.top.views import VIEWS
from scaler.monitor.top.views.workers import WORKERS, WorkerRows
from tests.monitor.pretended import PretendedCluster
from tests.monitor.top.shown import the
from tests.monitor.top.test_latest import latest_of

NAMES = [view.name for view in VIEWS]


def rows_of(view: View, workers: int = 6) -> tuple:
    latest = latest_of(PretendedCluster(workers=workers))
    rows = view.rows_of(latest)
    assert rows is not None
    return latest, rows


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
def test_every_column_sorts_both_ways_and_again_the_other(view):
    _, rows = rows_of(view)
    for column in view.columns:
        there = order(view, rows, Choice(column.name), Filter(), False)
        back = order(view, rows, Choice(column.name, is_reversed=True), Filter(), False)
        values = [column.value(rows, row) for row in there]
        assert values == sorted(values, reverse=not column.is_text)
        assert [column.value(rows, row) for row in back] == values[::-1]
        assert sorted(there) == sorted(back) == list(range(len(rows)))


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
def test_nothing_was_said_yet_is_not_the_same_as_no_rows(view):
    assert view.rows_of(Latest()) is None


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
@pytest.mark.parametrize("cells", [1, 5, 20, 40, 80, 132, 400])
def test_the_columns_that_are_shown_fit(view, cells):
    _, rows = rows_of(view)
    for shift in (0, 3, 99):
        columns = fitting(view, cells, shift)
        lines = [heading(view, columns, Choice()), row_line(columns, rows, 0)]
        assert all(len(text_of(line)) <= cells for line in lines)
        assert columns[0][0] is view.columns[0]


def test_a_wide_screen_has_all_columns_and_a_narrow_one_those_of_the_contract():
    assert [column.name for column, _ in fitting(WORKERS, 200)] == [column.name for column in WORKERS.columns]
    narrow = {column.name for column, _ in fitting(WORKERS, 80)}
    assert {"name", "a.cpu", "a.rss", "cpu", "rss", "mfree", "slots", "sent", "queued", "susp", "lag"} <= narrow


def test_columns_that_are_out_of_sight_come_by_going_to_the_right():
    shown = {column.name for shift in range(len(WORKERS.columns)) for column, _ in fitting(WORKERS, 30, shift)}
    assert shown == {column.name for column in WORKERS.columns}


def test_the_keys_of_the_contract_sort_workers_by_its_columns():
    keys = {column.key: column.name for column in WORKERS.columns if column.key}
    assert keys == {
        "n": "name", "C": "a.cpu", "M": "a.rss", "c": "cpu", "m": "rss", "F": "mfree", "f": "slots", "w": "sent",
        "d": "queued", "s": "susp", "l": "lag",
    }  # fmt: skip


def test_the_filter_is_a_regular_expression_and_an_exclamation_mark_turns_it_round():
    _, rows = rows_of(WORKERS)
    named = [rows.workers.name[row] for row in range(len(rows))]

    def left(text: str) -> list[str]:
        return [named[row] for row in order(WORKERS, rows, Choice(), Filter.of(text), False)]

    assert left("BETA") == [name for name in named if "beta" in name]
    assert left("!beta") == [name for name in named if "beta" not in name]
    assert left("000[12]") == named[1:3]
    assert left("model.fit") == [named[2]]
    assert left("") == named
    assert left("!") == named


def test_a_filter_that_is_no_regular_expression_says_so_and_hides_nothing():
    wanted = Filter.of("(")
    assert "no regular expression" in wanted.problem
    _, rows = rows_of(WORKERS)
    assert len(order(WORKERS, rows, Choice(), wanted, False)) == 6


def test_idle_rows_can_be_hidden():
    latest, rows = rows_of(WORKERS)
    assert order(WORKERS, rows, Choice(), Filter(), True) == list(range(6))
    workers = latest.workers
    workers.state[2], workers.held[2] = 0, 0
    workers.state[3], workers.held[3] = 0, 1
    assert order(WORKERS, rows, Choice(), Filter(), True) == [0, 1, 3, 4, 5]


def test_a_click_finds_the_column_that_stands_there():
    columns = fitting(WORKERS, 80)
    at = 0
    for column, cells in columns:
        assert column_at(columns, at) is column
        assert column_at(columns, at + cells - 1) is column
        assert column_at(columns, at + cells) is None
        at += cells + 1
    assert column_at(columns, 10_000) is None


def test_without_an_edge_no_text_of_a_row_is_cut():
    latest, rows = rows_of(WORKERS)
    the(latest.workers).name[0] = "w" * 60
    columns = natural(WORKERS, rows, range(6))
    assert "w" * 60 in text_of(row_line(columns, rows, 0))


def test_a_worker_whose_host_is_not_known_has_dashes():
    latest = latest_of(PretendedCluster(workers=1))
    del latest.reports["hosts"]
    rows = WorkerRows.of(latest)
    assert rows is not None
    assert text_of(row_line(fitting(WORKERS, 200), rows, 0)).count(" - ") >= 3


def test_floats_that_are_no_numbers_do_not_mix_up_the_order():
    latest, _ = rows_of(WORKERS)
    for row, value in enumerate([0.3, float("nan"), 0.9, float("inf"), 0.1, float("nan")]):
        the(latest.workers).cpu_share[row] = value
    rows = WorkerRows.of(latest)
    assert order(WORKERS, rows, Choice("cpu"), Filter(), False) == [3, 2, 0, 4, 1, 5]
    assert all(text_of(row_line(fitting(WORKERS, 80), rows, row)) for row in range(6))


def test_a_worker_that_runs_has_one_task_fewer_queued_than_it_holds():
    latest, rows = rows_of(WORKERS)
    the(latest.workers).held[0], the(latest.workers).state[0] = 3, WORKER_RUNS
    the(latest.workers).held[1], the(latest.workers).state[1] = 3, 0
    assert (rows.queued(0), rows.queued(1)) == (2, 3)
