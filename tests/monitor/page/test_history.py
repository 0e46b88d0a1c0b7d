"""Reports in, what the page knows out: a scheduler's counts, its restart, lost events, strange names."""

import time

import numpy as np
import pytest

from scaler.monitor.codec import decode, encode
from scaler.monitor.page.history import History
from scaler.monitor.page.naming import OTHERS, Naming
from scaler.monitor.report import Events, Report, Summary, Task, task_topic
from tests.monitor.pretended import SECOND_NS, PretendedCluster


def tell(history: History, cluster: PretendedCluster, rounds: int = 1, interval_s: float = 1.0) -> None:
    for _ in range(rounds):
        cluster.go_on(interval_s)
        for report in cluster.reports():
            history.add(decode(encode(report)))


def rates(history: History, name: str, seconds: float = 60) -> list[float]:
    end = history.now_ns / 1e9
    return history.series.excerpt([name], end - seconds, end).columns[name].tolist()


def test_rates_are_differences_of_counts():
    history, cluster = History(), PretendedCluster(rate=1000)
    tell(history, cluster, 5)
    assert rates(history, "succeeded_rate")[-3:] == [990.0, 990.0, 990.0]
    assert rates(history, "failed_rate")[-3:] == [10.0, 10.0, 10.0]


def test_the_counts_are_the_schedulers_even_if_events_were_lost():
    history, cluster = History(), PretendedCluster(rate=200_000)
    tell(history, cluster, 3)
    summary = history.find(Summary)
    assert summary is not None
    assert summary.counts.succeeded + summary.counts.failed == 600_000
    written, seen = history.events_between(0, history.now_ns)
    assert (written, seen) == (600_000 - 134_464, 3 * 65_536)  # what came before the first report is nobody's window
    assert len(history.tasks) == 3 * 65_536


def test_a_restart_of_the_scheduler_is_a_gap_and_all_before_it_stays():
    history, first = History(), PretendedCluster(workers=4, rate=100, seed=1)
    tell(history, first, 10)
    lanes = list(history.workers.names)
    second = PretendedCluster(workers=4, rate=100, seed=2)
    second.wall_ns = first.wall_ns + 20 * SECOND_NS
    tell(history, second, 10)
    assert [each.epoch for each in history.epochs] == [first.epoch, second.epoch]
    assert history.workers.names == lanes
    assert len(history.tasks) == 2000
    succeeded = rates(history, "succeeded_rate")
    assert min(value for value in succeeded if value == value) == 99.0  # no rate across the restart, which is negative
    assert sum(value != value for value in succeeded) >= 20
    assert history.find(Summary).counts.submitted == second.counts().submitted  # type: ignore[union-attr]


def test_events_that_come_twice_count_once():
    history, cluster = History(), PretendedCluster(rate=100)
    tell(history, cluster)
    (again,) = [report for report in cluster.reports() if isinstance(report.body, Events)]
    history.add(again)
    assert len(history.tasks) == 100


def test_a_task_has_its_worker_and_function_by_name():
    history, cluster = History(), PretendedCluster(workers=3, rate=50)
    tell(history, cluster)
    row = history.tasks.parts()[0][-1]
    event = cluster.events[-1]
    assert history.workers.names[row["lane"]] == cluster.workers().name[event.worker - 1]
    assert row["end_ns"] - row["start_ns"] == pytest.approx(event.duration_s * 1e9, rel=1e-6)


def test_a_worker_that_no_report_has_named_has_a_number():
    history, cluster = History(), PretendedCluster(rate=10)
    cluster.go_on()
    history.add(Report(cluster.epoch, 1, cluster.wall_ns, cluster.clock_ns, cluster.events_report()))
    assert all(name.startswith("worker ") for name in history.workers.names)


def test_an_event_that_comes_before_its_functions_name_gets_it_later():
    history, cluster = History(), PretendedCluster(workers=2, rate=50)
    cluster.go_on()
    reports = list(cluster.reports())
    for report in reversed(reports):  # events first
        history.add(report)
    cluster.go_on()
    for report in cluster.reports():
        history.add(report)
    functions = {history.functions.names[row["function"]] for row in history.tasks.parts()[0]}
    workers = {history.workers.names[row["lane"]] for row in history.tasks.parts()[0]}
    assert functions <= set(cluster.functions().name)
    assert workers == set(cluster.workers().name)
    assert len(history.workers.names) == 2


def test_a_number_that_turns_out_to_be_a_name_of_before_is_both():
    naming = Naming("function", most=10)
    naming.learn([1], ["fit"])
    naming.begin_epoch()
    assert naming.translate(np.array([5])).tolist() == [1]
    naming.learn([5], ["fit"])
    assert naming.names == ["fit", "fit"]
    assert naming.translate(np.array([5])).tolist() == [0]


def test_an_event_of_an_unbelievable_duration_breaks_nothing():
    history, cluster = History(), PretendedCluster(rate=4)
    cluster.go_on()
    odd = [float("inf"), float("nan"), -5.0, 3e38]
    cluster.events = [event._replace(duration_s=value) for event, value in zip(cluster.events, odd, strict=True)]
    history.add(Report(cluster.epoch, 1, cluster.wall_ns, cluster.clock_ns, cluster.events_report()))
    rows = history.tasks.parts()[0]
    assert (rows["start_ns"] <= rows["end_ns"]).all()


def test_names_are_bounded_in_number():
    naming = Naming("function", most=10)
    for number in range(1000):
        naming.learn([number], [f"made_{number}"])
    assert len(naming.names) == 10
    assert naming.names[naming.index_of("made_999")] == OTHERS
    assert naming.translate(np.array([0, 999])).tolist() == [0, 9]


def test_a_name_of_a_million_characters_is_cut_and_found():
    naming = Naming("function", most=10)
    naming.learn([1], ["x" * 10**6])
    assert naming.find("x" * 10**6) == naming.translate(np.array([1]))[0] == 0
    assert len(naming.names[0]) == 1000


def test_answers_about_tasks_are_kept_by_topic_and_bounded():
    history = History()
    for task in range(1, 200):
        history.add(Report(1, 1, time.time_ns(), 5, Task(task=task, state="ready", sentence="it waits")))
    assert len(history.answers) <= 64
    assert history.answers[task_topic("task", 199)].body.sentence == "it waits"  # type: ignore[union-attr]
