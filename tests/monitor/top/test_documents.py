"""JSON and text."""

import json

from scaler.monitor.top.documents import document, screen_text
from scaler.monitor.top.settings import Settings
from tests.monitor.pretended import PretendedCluster
from tests.monitor.top.shown import ADDRESS, the
from tests.monitor.top.test_latest import latest_of


def test_a_document_has_every_table_and_the_exact_counts():
    cluster = PretendedCluster(workers=5, rate=3000)
    latest = latest_of(cluster)
    text = document(latest)
    assert "\n" not in text
    made = json.loads(text)
    assert {"summary", "workers", "functions", "clients", "hosts", "failures", "events"} <= set(made)
    counts = made["summary"]["counts"]
    assert counts["submitted"] == cluster.counts().submitted
    assert counts["succeeded"] == sum(row["succeeded"] for row in made["functions"]) == sum(cluster.succeeded)
    assert [row["name"] for row in made["workers"]] == cluster.workers().name
    assert made["workers"][0]["task"] == "0000000000000001"
    assert made["ended_per_second"] == 3000
    assert len(made["events"]["newest"]) == 1000
    assert made["events"]["written"] == 9000
    assert {"duration_p50_ns", "duration_p99_ns", "queued_p50_ns"} <= set(made["functions"][0])


def test_what_is_no_number_is_null():
    latest = latest_of(PretendedCluster(workers=2))
    the(latest.workers).cpu_share[0] = float("nan")
    the(latest.workers).task[1] = 0
    made = json.loads(document(latest))
    assert made["workers"][0]["cpu_share"] is None
    assert made["workers"][1]["task"] is None


def test_text_has_every_row():
    cluster = PretendedCluster(workers=300)
    text = screen_text(latest_of(cluster), ADDRESS, Settings(), None)
    assert all(f"\n{name} " in text for name in cluster.workers().name)
    assert all(f"\n{title}: " in text for title in ("workers", "functions", "clients", "failures", "hosts"))
    narrow = screen_text(latest_of(cluster), ADDRESS, Settings(), 60)
    assert all(len(line) <= 60 for line in narrow.splitlines())
