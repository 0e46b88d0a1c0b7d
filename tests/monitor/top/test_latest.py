"""What is known of a scheduler after its reports."""

import dataclasses

from scaler.monitor.events import EVENT_BYTES
from scaler.monitor.report import Report, Stack, Task
from scaler.monitor.top.latest import MOST_ANSWERS, MOST_EVENTS, Latest
from tests.monitor.pretended import PretendedCluster


def latest_of(cluster: PretendedCluster, rounds: int = 3, step_s: float = 1.0) -> Latest:
    latest = Latest()
    for _ in range(rounds):
        cluster.go_on(step_s)
        for report in cluster.reports():
            latest.on_report(report)
    return latest


def test_rates_are_differences_by_the_schedulers_clock():
    latest = latest_of(PretendedCluster(rate=1000), step_s=4.0)
    assert list(latest.ended_rate) == [1000, 1000]
    assert list(latest.failed_rate) == [10, 10]
    assert latest.message_rates["received tasks"] == 1000
    assert round(sum(rate for rate, _ in latest.function_rates.values())) == 1000
    assert all(0 <= busy <= 1 for busy in latest.worker_busy.values())


def test_a_report_that_was_lost_changes_no_rate():
    cluster, latest = PretendedCluster(rate=700), Latest()
    for number in range(4):
        cluster.go_on()
        if number != 1:
            latest.on_report(next(cluster.reports()))
    assert list(latest.ended_rate) == [700, 700]


def test_another_scheduler_begins_again_and_the_history_goes_on():
    first, second, latest = PretendedCluster(seed=1), PretendedCluster(seed=2), Latest()
    for cluster in (first, first, second, second):
        cluster.go_on()
        for report in cluster.reports():
            latest.on_report(report)
    assert latest.restarts == 1
    assert latest.restarted_wall_ns > 0
    assert len(latest.ended_rate) == 2  # none of them from one scheduler to the other
    assert latest.epoch == second.epoch
    assert min(latest.ended_rate) > 0


def test_the_same_report_twice_is_no_division_by_zero():
    cluster, latest = PretendedCluster(), Latest()
    for report in [*cluster.reports(), *cluster.reports()]:
        latest.on_report(report)
    assert not latest.ended_rate


def test_of_many_events_the_newest_are_kept():
    cluster = PretendedCluster(rate=10_000)
    latest = latest_of(cluster, 1)
    assert len(latest.events) == MOST_EVENTS
    assert latest.events[-1].task == cluster.events[-1].task
    assert latest.events_written == 10_000


def test_events_that_were_there_already_are_not_there_twice():
    cluster, latest = PretendedCluster(rate=30), Latest()
    for _ in range(3):
        cluster.go_on()
        for report in [*cluster.reports(), *cluster.reports()]:
            latest.on_report(report)
    assert len({event.task for event in latest.events}) == len(latest.events) == 90


def test_events_that_end_in_the_middle_of_one_are_read_up_to_there():
    cluster = PretendedCluster(rate=10)
    cluster.go_on()
    report = next(report for report in cluster.reports() if report.topic == "events")
    body = dataclasses.replace(cluster.events_report(), data=cluster.events_report().data[: 3 * EVENT_BYTES + 5])
    latest = Latest()
    latest.on_report(dataclasses.replace(report, body=body))
    assert [event.task for event in latest.events] == [event.task for event in cluster.events[:3]]


def test_answers_about_tasks_are_found_by_their_topic_and_are_not_kept_for_ever():
    latest = Latest()
    for task in range(100):
        latest.on_report(Report(1, 1, 1, 1, Task(task=task, state="ready")))
    latest.on_report(Report(1, 1, 1, 1, Stack(task=7, text="File")))
    assert len(latest.answers) == MOST_ANSWERS
    assert latest.answer("stack/0000000000000007") == Stack(task=7, text="File")
    assert latest.answer("task/0000000000000063") is not None
    assert latest.answer("task/0000000000000000") is None


def test_what_is_held_does_not_change():
    cluster = PretendedCluster()
    latest = latest_of(cluster)
    held = latest.held()
    before = held.summary, list(held.ended_rate), list(held.events)
    cluster.go_on()
    for report in cluster.reports():
        latest.on_report(report)
    assert (held.summary, list(held.ended_rate), list(held.events)) == before
    assert latest.summary != held.summary
