"""A recording is read back as it was seen; what is cut, damaged or none is said in a sentence."""

from pathlib import Path

import pytest

from scaler.monitor.codec import encode
from scaler.monitor.recording import FIRST_LINE, Recorder, Recording, RecordingError, is_recording
from tests.monitor.pretended import PretendedCluster


def record(path: Path, rounds: int = 3) -> list[bytes]:
    cluster, written = PretendedCluster(rate=100), []
    with Recorder(path) as recorder:
        for _ in range(rounds):
            cluster.go_on()
            for report in cluster.reports():
                written.append(encode(report))
                recorder.add(written[-1])
    return written


def test_what_was_recorded_is_read_back(tmp_path: Path) -> None:
    written = record(tmp_path / "a.scaler")
    recording = Recording(tmp_path / "a.scaler")
    assert [encode(report) for report in recording] == written
    assert recording.problem == ""
    assert is_recording(tmp_path / "a.scaler")


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_recording_that_was_cut_is_read_up_to_there(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.scaler"
    written = record(path)
    path.write_bytes(path.read_bytes()[:-cut])
    recording = Recording(path)
    assert [encode(report) for report in recording] == written[:-1]
    assert "cut or damaged after" in recording.problem


def test_a_damaged_report_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.scaler"
    written = record(path)
    data = bytearray(path.read_bytes())
    data[len(FIRST_LINE) + 8 + len(written[0]) + 8 + 50] ^= 1
    path.write_bytes(data)
    recording = Recording(path)
    assert [encode(report) for report in recording] == written[:1]
    assert "cut or damaged" in recording.problem


def test_another_file_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"something else\n")
    with pytest.raises(RecordingError, match="is no recording"):
        Recording(tmp_path / "b")
    (tmp_path / "c").write_bytes(b"scaler recording 9\n")
    with pytest.raises(RecordingError, match="of another version"):
        Recording(tmp_path / "c")
    with pytest.raises(RecordingError, match="cannot be read"):
        Recording(tmp_path / "d")
    assert not is_recording(tmp_path / "b")


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(RecordingError, match="is there already"):
        Recorder(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "precious"
