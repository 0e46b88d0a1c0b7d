"""/metrics as a scraper reads it: names, sums, bounds, and the dashboard that is made of them."""

import json
import re
from array import array
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from scaler.monitor.histogram import bucket_of
from scaler.monitor.page.history import History
from scaler.monitor.page.metrics import BOUNDS_NS, MOST_FUNCTIONS, OTHER, registry_of
from scaler.monitor.report import Functions, Histograms, Report
from tests.monitor.pretended import PretendedCluster

DASHBOARD = Path(__file__).parents[3] / "docs/grafana.json"


def samples(history: History, per_worker: bool = False) -> dict[tuple[str, tuple[str, ...]], float]:
    """What is scraped, by name and values of labels; no series is there twice."""
    text = generate_latest(registry_of(history, per_worker)).decode()
    found: dict[tuple[str, tuple[str, ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.values())
            assert key not in found
            found[key] = sample.value
    return found


@pytest.fixture
def cluster() -> PretendedCluster:
    made = PretendedCluster(workers=4, rate=1000)
    made.go_on(3)
    return made


@pytest.fixture
def history(cluster: PretendedCluster) -> History:
    made = History()
    for report in cluster.reports():
        made.add(report)
    return made


def test_every_call_is_in_one_state(history, cluster):
    found = samples(history)
    states = sum(value for (name, _), value in found.items() if name in ("scaler_tasks_total", "scaler_tasks"))
    assert states == found["scaler_tasks_submitted_total", ()] == cluster.counts().submitted
    assert found["scaler_tasks_total", ("failed",)] == 30


def test_the_names_that_others_rely_on_are_there(history):
    names = {name for name, _ in samples(history)}
    assert names >= {
        "scaler_tasks_total",
        "scaler_tasks",
        "scaler_task_duration_seconds_bucket",
        "scaler_task_duration_seconds_sum",
        "scaler_task_duration_seconds_count",
        "scaler_task_queue_seconds_bucket",
        "scaler_object_bytes",
        "scaler_worker_restarts_total",
        "scaler_build_info",
    }


def test_histograms_grow_and_end_with_the_count(history, cluster):
    found = samples(history)
    for name in cluster.functions().name:
        buckets = [(labels[1], value) for (metric, labels), value in found.items()
                   if metric == "scaler_task_duration_seconds_bucket" and labels[0] == name]  # fmt: skip
        values = [value for _, value in buckets]
        assert values == sorted(values)
        assert buckets[-1] == ("+Inf", found["scaler_task_duration_seconds_count", (name,)])
    total = sum(value for (metric, _), value in found.items() if metric == "scaler_task_duration_seconds_count")
    assert total == 3000


def test_a_bound_cuts_no_bucket_of_ours():
    for bound in BOUNDS_NS:
        assert bucket_of(bound) == bucket_of(bound - 1) + 1


def test_the_functions_that_take_least_time_are_one_series(cluster):
    count = 200
    rows = Functions()
    for i in range(count):
        rows.number.append(i + 1)
        rows.name.append(f"made_{i}")
        rows.duration_ns.append(1000 * (i + 1))
        rows.succeeded.append(1)
        rows.is_gone.append(0)
        for column in (rows.submitted, rows.failed, rows.cancelled, rows.placed, rows.queued_ns, rows.last_ns):
            column.append(0)
    rows.durations = Histograms(array("I", range(1, count + 1)), array("H", [60] * count), array("Q", [1] * count))
    rows.queued = Histograms(array("I", range(1, count + 1)), array("H", [40] * count), array("Q", [1] * count))
    history = History()
    history.add(Report(1, 1, 10**18, 10**9, cluster.summary()))
    history.add(Report(1, 1, 10**18, 10**9, rows))
    found = samples(history)
    counts = {labels[0]: value for (name, labels), value in found.items()
              if name == "scaler_task_duration_seconds_count"}  # fmt: skip
    assert len(counts) == MOST_FUNCTIONS + 1
    assert counts[OTHER] == count - MOST_FUNCTIONS
    assert "made_199" in counts


def test_workers_one_by_one_only_when_asked_for(history):
    assert not any(name.startswith("scaler_worker_rss") for name, _ in samples(history))
    assert len([name for name, _ in samples(history, per_worker=True) if name == "scaler_worker_rss_bytes"]) == 4


def test_names_with_quotes_and_lines_are_escaped(cluster):
    history = History()
    rows = cluster.functions()
    rows.name[0] = 'f"\n\\{}'
    history.add(Report(1, 1, 10**18, 10**9, cluster.summary()))
    history.add(Report(1, 1, 10**18, 10**9, rows))
    assert ("scaler_task_duration_seconds_count", ('f"\n\\{}',)) in samples(history)


def test_without_a_report_there_is_nothing_and_no_error():
    assert samples(History()) == {}


def test_the_dashboard_asks_only_for_what_is_there(history):
    dashboard = json.loads(DASHBOARD.read_text())
    there = samples(history, per_worker=True)
    names = {name for name, _ in there}
    text = generate_latest(registry_of(history, per_worker=True)).decode()
    labels_of = {
        s.name: set(s.labels) - {"le"} for family in text_string_to_metric_families(text) for s in family.samples
    }
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(asked) > 15
    for expression in asked:
        for name, labels in re.findall(r"\b(scaler_\w+)(?:\{([^}]*)\})?", expression):
            assert name in names, f"{name} in {expression}"
            assert set(re.findall(r"(\w+)\s*=~?", labels)) <= labels_of[name] | {"instance"}, expression
        for labels in re.findall(r"by \(([\w, ]+)\)", expression):
            wanted = set(labels.replace(" ", "").split(",")) - {"le"}
            assert all(wanted <= labels_of[name] for name in re.findall(r"\bscaler_\w+", expression)), expression
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert not re.search(r"https?://", DASHBOARD.read_text())
