"""Who is out of a match, why, and what the table makes of it."""

import pytest

from perf.peers import environments, match, rows
from perf.peers.match import Contestant
from perf.report import Figure

POOL = Contestant("perf.peers.engines.pool")
ODD = Contestant("tests.perf.odd_engine")
ABSENT = Contestant("perf.peers.engines.pool", environment="absent")


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Two rounds among four, where Pool is ours and two cannot play."""
    monkeypatch.setitem(environments.REQUIREMENTS, "absent", ())
    monkeypatch.setattr(environments, "_make", lambda name: f"no {name} to be had")
    monkeypatch.setattr(rows, "PEERS", ("same", "odd", "absent"))
    monkeypatch.setattr(match, "CONTESTANTS", {"ours": POOL, "same": POOL, "odd": ODD, "absent": ABSENT})
    sizes = {name: {"n": 10} for name in match.CONTESTANTS}
    made = rows.compare("submit", ("ours",), sizes, lambda name, seconds: 10 / seconds, "tasks/s", rounds=2)
    return {figure.what: figure for figure in made}


def test_who_cannot_play_is_named_with_the_reason_and_the_others_go_on(figures):
    assert list(figures) == ["scaler, ours", "same", "odd, wrongly", "absent", "scaler, ours / same"]
    assert figures["absent"].why_not == "no absent to be had"
    assert figures["odd, wrongly"].why_not.startswith("AssertionError: a wrong answer came back")
    assert figures["absent"].value is figures["odd, wrongly"].value is None


def test_ratios_are_taken_within_rounds(figures):
    ours, same = figures["scaler, ours"].rounds, figures["same"].rounds
    assert len(ours) == len(same) == 2
    assert figures["scaler, ours / same"].rounds == [a / b for a, b in zip(ours, same, strict=True)]


def test_what_cannot_be_installed_is_said_and_tried_once(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(environments, "HOME", tmp_path)
    monkeypatch.setitem(environments.REQUIREMENTS, "broken", (f"{tmp_path}/nowhere",))
    for _ in range(2):
        with pytest.raises(environments.NotInstalledError, match=r"^cannot be installed: .*nowhere"):
            environments.find_python("broken")
    assert environments.describe("broken")["not installed"].startswith("cannot be installed")
    assert capfd.readouterr().err.count("installing") == 1
