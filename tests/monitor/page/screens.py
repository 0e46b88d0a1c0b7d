"""Makes the pictures of docs/ui.md: `make ui-screens`. Of a pretended scheduler, in virtual time.

Not here: whether the pictures are fresh. They show what the views look like and change with every pixel; a test holds
docs/ui.md to the list of views, and their sizes to MOST_BYTES.
"""

import base64
import math
import tempfile
from contextlib import ExitStack
from pathlib import Path

from scaler.monitor.codec import encode
from scaler.monitor.recording import Recorder
from tests.monitor.page.browsers import ROOT, Look, launched
from tests.monitor.page.page import Page, Scheduler
from tests.monitor.pretended import PretendedCluster

FOLDER = ROOT / "docs/ui"
MOST_BYTES = 500_000
WIDTH, HEIGHT = 1000, 580
QUALITY = 40
ROUNDS = 420
# Name of the picture, the view, and whether it is dark.
SCREENS = (
    ("overview", "overview?span=600", False),
    ("overview-dark", "overview?span=600", True),
    ("workers", "workers?sort=-rss_bytes", False),
    ("worker", "worker?name=alpha-0000", False),
    ("stream", "stream?span=4&lanes=", False),
    ("stream-wide", "stream?span=300", True),
    ("tasks", "tasks?outcome=bad", False),
    ("task", "task", False),
    ("failures", "failures", False),
    ("functions", "functions", False),
    ("function", "functions?function=model.fit", False),
    ("progress", "progress?which=all", False),
    ("objects", "objects?span=600", False),
    ("clients", "clients", False),
    ("hosts", "hosts", False),
    ("settings", "settings", False),
)


def record(path: Path) -> PretendedCluster:
    """Some minutes of a cluster whose load comes and goes."""
    cluster = PretendedCluster(workers=24, hosts=3, rate=300)
    with Recorder(path) as recorder:
        for second in range(ROUNDS):
            cluster.rate = int(220 + 140 * math.sin(second / 35) + 60 * math.sin(second / 7))
            cluster.go_on()
            for report in cluster.reports():
                recorder.add(encode(report))
    return cluster


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        failed = record(folder / "monday.rec").failures[2][3]
        page = stack.enter_context(Page(str(folder / "monday.rec")))
        stack.enter_context(Scheduler(PretendedCluster(workers=24, hosts=3, rate=300), f"ipc://{folder}/m"))
        live = stack.enter_context(Page(f"ipc://{folder}/m"))
        for browser in launched():
            for name, view, is_dark in SCREENS:
                at = live.url if view == "task" else page.url
                shown = f"task?task={failed:016x}&stack=1" if view == "task" else view
                scheme = "dark" if is_dark else "light"
                look = Look(browser, at, viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
                look.show(shown)
                look.tab.wait_for_timeout(1200)
                session = look.context.new_cdp_session(look.tab)
                shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
                (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
                look.close()


if __name__ == "__main__":
    main()
