"""A recording, round by round."""

import pytest

from scaler.monitor.codec import encode
from scaler.monitor.recording import Recorder, RecordingError
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.source import Replay, Rounds
from tests.monitor.pretended import PretendedCluster
from tests.monitor.top.shown import the


def recorded(path, rounds: int = 5, seeds: tuple[int, ...] = (1,)) -> list[PretendedCluster]:
    clusters = [PretendedCluster(seed=seed, workers=3) for seed in seeds]
    with Recorder(path) as recorder:
        for cluster in clusters:
            for _ in range(rounds):
                cluster.go_on()
                for report in cluster.reports():
                    recorder.add(encode(report))
    return clusters


def test_it_opens_at_its_end_with_what_a_viewer_knew_then(tmp_path):
    (cluster,) = recorded(tmp_path / "it")
    replay = Replay(str(tmp_path / "it"))
    latest = replay.latest()
    assert the(latest.summary).counts == cluster.counts()
    assert len(latest.ended_rate) == 4
    assert latest.workers is not None
    assert latest.worker_busy
    assert replay.is_at_end


def test_steps_lead_to_any_round_and_not_beyond(tmp_path):
    recorded(tmp_path / "it", seeds=(1, 2))
    replay = Replay(str(tmp_path / "it"))
    latest = replay.go(-len(replay), Latest())
    seen = [the(latest.summary).counts.succeeded]
    while not replay.is_at_end:
        latest = replay.go(1, latest)
        seen.append(the(latest.summary).counts.succeeded)
    assert len(seen) == len(replay) == 10
    assert latest.restarts == 1
    for at in (9, 3, 0, 7):
        latest = replay.go(at - replay.at, latest)
        assert the(latest.summary).counts.succeeded == seen[at]
    assert "report 8 of 10" in replay.position(latest)


def test_one_that_is_cut_opens_up_to_there_and_says_so(tmp_path):
    recorded(tmp_path / "it")
    data = (tmp_path / "it").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) - 100])
    replay = Replay(str(tmp_path / "cut"))
    assert "cut or damaged after" in replay.problem
    assert replay.latest().summary is not None


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"scaler recording 9\n", b"scaler recording 1\n"])
def test_what_holds_no_report_is_a_sentence(tmp_path, content):
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(RecordingError, match=r"no recording|another version|holds no report"):
        Replay(str(tmp_path / "it"))


def test_a_file_that_changes_while_it_is_read_is_a_sentence(tmp_path):
    recorded(tmp_path / "it")
    replay = Replay(str(tmp_path / "it"))
    (tmp_path / "it").write_bytes(b"")
    with pytest.raises(RecordingError, match="has changed"):
        replay.latest()


def test_a_round_is_whole_once_all_of_it_has_come_or_the_next_one_begins():
    cluster, topics = PretendedCluster(), {"summary", "workers", "events"}
    rounds = Rounds(topics)
    said: list[tuple] = []
    for number, left_out in ((1, ""), (2, "events"), (3, "")):
        cluster.go_on()
        reports = [report for report in cluster.reports() if report.topic in topics - {left_out}]
        for report in [*reports, *reports[-1:]]:  # events may come several times
            said += [("over", number)] * rounds.is_over_by(report)
            said += [("whole", number, report.topic)] * rounds.is_whole_with(report)
    assert said == [("whole", 1, "events"), ("over", 3), ("whole", 3, "events")]
