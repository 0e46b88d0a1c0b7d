"""Reports there and back; and bytes that are none, which raise ReportError and nothing else."""

import random
from array import array

import pytest

from scaler.monitor import codec
from scaler.monitor.codec import ReportError, decode, encode
from scaler.monitor.events import read_events
from scaler.monitor.report import TOPICS, Functions, Histograms, Report, Stack, Summary, Tally, Task, Workers
from tests.monitor.pretended import PretendedCluster


def all_reports() -> list[Report]:
    cluster = PretendedCluster(workers=20, rate=500)
    cluster.go_on()
    task = Task(7, "ready", "It is behind 3 others.", Tally.of({"ahead": 3}), 1, "f", 0, "", array("Q", [1, 2]))
    return [*cluster.reports(), *(Report(1, 2, 3, 4, body) for body in (task, Stack(7, "File ...", "")))]


def test_what_is_encoded_comes_back_as_it_was() -> None:
    for report in all_reports():
        back = decode(encode(report))
        if isinstance(report.body, Summary) and isinstance(back.body, Summary):  # a Float32 there and back
            back.body.cpu_share = report.body.cpu_share
        assert back == report


def test_each_topic_has_a_report() -> None:
    assert {report.topic for report in all_reports()} == {*TOPICS, "task/0000000000000007", "stack/0000000000000007"}


def test_the_pretended_counts_agree() -> None:
    cluster = PretendedCluster(rate=500)
    for _ in range(3):
        cluster.go_on()
    counts = cluster.counts()
    assert counts.submitted == counts.ended + counts.unassigned + counts.assigned
    assert counts.succeeded + counts.failed == 1500
    assert len(list(read_events(cluster.events_report().data))) == 500


def test_a_report_of_another_version_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "VERSION", 2)
    data = encode(all_reports()[0])
    monkeypatch.undo()
    with pytest.raises(ReportError, match="version 2, and this program reads 1: use the same version"):
        decode(data)


def test_what_is_no_report_is_an_error_in_a_sentence() -> None:
    for data in (b"", b"hello", bytes(64), b"\xff" * 64):
        with pytest.raises(ReportError):
            decode(data)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ReportError, match="different lengths"):
        decode(encode(Report(1, 1, 1, 1, Workers(number=array("I", [1])))))


@pytest.mark.parametrize("ends", [[2, 1], [1, 3], [1, 1]])
def test_a_histogram_whose_ends_cannot_be_is_refused(ends: list[int]) -> None:
    functions = next(report for report in all_reports() if report.topic == "functions")
    assert isinstance(functions.body, Functions)
    functions.body.durations = Histograms(array("I", ends), array("H", [8, 9]), array("Q", [1, 1]))
    with pytest.raises(ReportError):
        decode(encode(functions))


def test_damaged_reports_raise_report_error_only() -> None:
    draw = random.Random(5)
    whole = [encode(report) for report in all_reports()]
    refused = 0
    for _ in range(3000):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randrange(1, 6)):
            data[draw.randrange(min(len(data), 400))] = draw.randrange(256)
        try:
            decode(bytes(data[: draw.randrange(len(data) + 1)] if draw.random() < 0.3 else data))
        except ReportError:
            refused += 1
    assert refused > 300
