"""What views show, as columns: reports in, tables out, without a socket."""

import json
from array import array

import numpy as np
import pytest

from scaler.monitor.page.alarms import alarms
from scaler.monitor.page.arguments import Arguments, make_filter
from scaler.monitor.page.downloads import as_csv, as_json
from scaler.monitor.page.history import History
from scaler.monitor.page.message import Known, View, clean, numbers_of, pack
from scaler.monitor.page.task_log import again, fact
from scaler.monitor.page.views import VIEWS
from scaler.monitor.report import CLIENT_DOES_NOT_READ, Clients, Hosts, Report
from tests.monitor.pretended import SECOND_NS, PretendedCluster


def told(cluster: PretendedCluster, rounds: int = 5) -> History:
    history = History()
    for _ in range(rounds):
        cluster.go_on()
        for report in cluster.reports():
            history.add(report)
    return history


@pytest.fixture(scope="module")
def cluster() -> PretendedCluster:
    return PretendedCluster(workers=10, rate=500)


@pytest.fixture(scope="module")
def history(cluster: PretendedCluster) -> History:
    return told(cluster)


def show(history: History, view: str, **arguments: object) -> View:
    return VIEWS[view](history, Arguments(arguments))


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_nothing_is_empty_and_no_error(view):
    empty = show(History(), view, name="x", task="1")
    assert json.loads(as_json(empty)) is not None
    pack(view, {}, empty, Known())


@pytest.mark.parametrize("view", VIEWS)
def test_all_columns_of_a_table_have_as_many_rows(history, view):
    for columns in show(history, view, name="alpha-0000", task="1").tables.values():
        assert len({len(column) for column in columns.values()}) <= 1


def test_the_log_is_filtered_among_all_tasks_that_are_kept(history):
    everything = show(history, "tasks", most=10)
    assert (everything.data["matched"], everything.data["shown"]) == (2500, 10)
    ends = everything.tables["rows"]["end"]
    assert list(ends) == sorted(ends, reverse=True)
    failed = show(history, "tasks", outcome="failed")
    assert failed.data["matched"] == 25
    assert set(failed.tables["rows"]["outcome"]) == {1}
    assert show(history, "tasks", outcome="bad").data["matched"] == 25
    fits = show(history, "tasks", function="fit")
    assert set(fits.tables["rows"]["function"]) == {"model.fit"}
    rest = show(history, "tasks", function="!FIT")
    assert fits.data["matched"] + rest.data["matched"] == 2500
    task = fits.tables["rows"]["task"][0]
    assert show(history, "tasks", task=f"{task:x}").data["matched"] == 1
    slow = show(history, "tasks", least_s=0.05)
    assert 0 < slow.data["matched"] < 500
    assert min(map(float, slow.tables["rows"]["duration_s"])) >= 0.05


def test_a_failed_task_has_its_traceback_after_its_group_has_gone_on(cluster):
    history = told(PretendedCluster(rate=1000), 1)
    first = history.latest["failures"].body.task[0]  # type: ignore[union-attr, index]
    more = PretendedCluster(rate=1000, seed=1)
    more.go_on()
    for _ in range(3):
        more.go_on()
        for report in more.reports():
            history.add(report)
    assert "ZeroDivisionError" in show(history, "task", task=f"{first:x}").data["failure"]["traceback"]


def test_the_stream_is_single_tasks_if_they_are_few_and_cells_if_not(history):
    few = show(history, "stream", span=5, columns=100, rows=5)
    assert len(few.tables["tasks"]["start"]) == few.data["shown"] == 2500
    assert few.data["rows"] == 10
    busy = told(PretendedCluster(workers=10, rate=30_000), 3)
    many = show(busy, "stream", span=10, columns=100, rows=5)
    assert "tasks" not in many.tables
    assert len(many.tables["cells"]["busy"]) == 500
    assert sum(map(int, many.tables["cells"]["failed"])) > 0
    assert {many.data["functions"][i] for i in many.data["palette"]} >= {"<lambda>", "clean"}
    close = show(busy, "stream", span=0.1, columns=100, rows=5)
    assert 3000 * 0.8 < close.data["shown"] < 20_000


def test_the_stream_has_the_workers_that_are_wanted_in_the_order_of_their_names(history):
    names = show(history, "stream", worker="beta").tables["lanes"]["name"]
    assert names == [f"beta-{i:04d}" for i in range(1, 10, 2)]
    assert show(history, "stream", worker="nobody").tables["lanes"]["name"] == []
    some = show(history, "stream", first=2, lanes=3).tables["lanes"]["name"]
    assert some == ["alpha-0004", "alpha-0006", "alpha-0008"]


def test_what_runs_now_is_in_the_stream_before_it_has_ended():
    cluster = PretendedCluster(workers=3, rate=0)
    history = told(cluster, 2)
    workers = cluster.workers()
    workers.since_ns = array("Q", [cluster.clock_ns - 30 * SECOND_NS] * 3)
    history.add(Report(cluster.epoch, 9, cluster.wall_ns, cluster.clock_ns, workers))
    single = show(history, "stream", span=60, columns=60, rows=3)
    assert np.allclose(single.tables["running"]["start"], [30, 30, 30])


def test_progress_is_all_calls_of_a_function(history):
    rows = show(history, "progress").tables["rows"]
    parts = [np.asarray(rows[name]) for name in ("succeeded", "failed", "cancelled", "placed", "waiting")]
    assert np.sum(parts, axis=0).tolist() == np.asarray(rows["submitted"]).tolist()


def test_alarms_name_what_is_wrong_and_where():
    cluster = PretendedCluster()
    history = told(cluster, 1)
    hosts, clients = cluster.hosts(), cluster.clients()
    hosts.shared_memory_free_bytes[1] = 1 << 20
    hosts.heard_ns[1] = cluster.clock_ns - 60 * SECOND_NS
    clients.state[2], clients.unread = CLIENT_DOES_NOT_READ, array("Q", [0, 0, 4321])
    for body in (hosts, clients):
        history.add(Report(cluster.epoch, 2, cluster.wall_ns, cluster.clock_ns, body))
    said = "\n".join(each["text"] for each in alarms(history))
    assert "/dev/shm of host beta is 100% full" in said
    assert "host beta has not been heard of for 60 s" in said
    assert "client client-2 does not read its 4,321 results" in said
    assert "failed with builtins.ZeroDivisionError at /srv/" in said
    assert isinstance(history.find(Hosts), Hosts)
    assert isinstance(history.find(Clients), Clients)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("census.count_words", "from census import count_words"),
        ("a.b.C.method", "from a.b.C import method"),
        ("__main__.square", "# in the script itself, where square is defined"),
        ("<lambda>", "has no name that can be imported"),
        ("x; import os", "has no name that can be imported"),
        ("", "this function has no name"),
    ],
)
def test_again_is_a_call_that_can_be_copied(name, line):
    assert line in again(name)
    assert "client.submit(" in again(name)


def test_facts_of_an_explanation_are_in_words():
    now = 100 * SECOND_NS
    assert fact("ready_since_ns", 88 * SECOND_NS, now) == "12 s ago"
    assert fact("since_ns", 0, now) == "not yet"
    assert fact("waited_ns", 1_500_000_000, now) == "1.5 s"
    assert fact("limit_ms", 0, now) == "none"
    assert fact("running", 0x896CCD0000000001, now) == "896ccd0000000001"
    assert fact("ahead", 12345, now) == "12,345"


def test_a_text_is_cut_and_what_is_invisible_is_spelled_out():
    assert clean("a\x1b[31m\u202eb") == "a\\u001b[31m\\u202eb"
    assert clean("tab\tline\n") == "tab\tline\n"
    assert len(clean("x" * 10**6)) < 500
    assert "(1,000,000 characters)" in clean("x" * 10**6)
    assert clean("naïve ☃ 🐍") == "naïve ☃ 🐍"


def test_ids_of_tasks_keep_all_their_bits_on_the_way():
    kind, values = numbers_of(array("Q", [2**64 - 1, 1]))
    assert (kind, values.tolist()) == ("u8", [2**64 - 1, 1])
    assert numbers_of(array("Q", [2**52]))[0] == "f8"


def test_a_download_writes_no_formulas_and_no_nonsense():
    view = View({}, {"rows": {"name": ["=1+1", "@x", "fine"], "value": np.array([1.5, np.nan, np.inf])}})
    assert as_csv(view).split("\r\n") == ["name,value", "'=1+1,1.5", "'@x,", "fine,", ""]
    assert json.loads(as_json(view))["rows"][1] == {"name": "@x", "value": None}


def test_a_filter_is_a_text_and_no_pattern():
    assert make_filter("a.b")("xa.by")
    assert not make_filter("a.b")("xaby")
    assert make_filter("!a")("b")
    assert make_filter("!")("a")
    assert make_filter("")("")
