"""A viewer with the reports of a pretended cluster, and what it shows as plain text. No terminal, no socket."""

from typing import TypeVar

from scaler.monitor.top.line import line_width, text_of
from scaler.monitor.top.settings import Settings
from scaler.monitor.top.viewer import Viewer
from tests.monitor.pretended import PretendedCluster

_T = TypeVar("_T")
ADDRESS = "tcp://127.0.0.1:2347"


def feed(viewer: Viewer, cluster: PretendedCluster, rounds: int = 2) -> None:
    """Time goes on in the cluster, and the viewer hears of it."""
    for _ in range(rounds):
        cluster.go_on()
        for report in cluster.reports():
            viewer.latest.on_report(report)


def viewer_of(cluster: PretendedCluster | None = None, view: str = "workers", rounds: int = 2) -> Viewer:
    viewer = Viewer(ADDRESS, Settings(view=view))
    feed(viewer, cluster if cluster is not None else PretendedCluster(), rounds)
    viewer.arrange()
    return viewer


def shown(viewer: Viewer, cells: int = 160, lines: int = 40) -> list[str]:
    """The screen, once it is checked that it has the size that it must have."""
    frame = viewer.frame(cells, lines)
    assert len(frame) == lines
    assert all(line_width(line) <= cells for line in frame)
    assert all(text_of(line).isprintable() for line in frame)
    return [text_of(line) for line in frame]


def table(viewer: Viewer, cells: int = 160, lines: int = 40) -> list[str]:
    """The rows of the table alone, without its heading."""
    screen = shown(viewer, cells, lines)
    at = next(at for at, line in enumerate(screen) if line.startswith(" 1 "))
    return [line for line in screen[at + 2 : -1] if line.strip()]


def press(viewer: Viewer, *keys: str) -> None:
    for key in keys:
        viewer.on_key(key)
        viewer.arrange()


def write(viewer: Viewer, text: str) -> None:
    press(viewer, *("Space" if each == " " else each for each in text))


def the(known: _T | None) -> _T:
    """What is there, for sure."""
    assert known is not None
    return known
