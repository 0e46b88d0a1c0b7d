"""The page of scaler_ui in a headless Chromium, at 1,000 workers and 50,000 tasks a second of a pretended scheduler.

It is not part of `make bench`: it wants a Chromium and the page's bundle, and measures no engine. `python -m perf.page`
takes two minutes; the growth of the heap over ten minutes is `PAGE_HEAP_S=600 python -m perf.page heap`.

What is timed is timed in the page, by its own clock: from the change of the address, or the click, until the first
frame in which the new content stands.
"""

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from perf.command import Rows, main
from perf.report import Figure, of_rounds
from tests.monitor.page.browsers import BUNDLE, Look, launched
from tests.monitor.page.page import Page, publishing

WORKERS, RATE = 1000, 50_000
# The views, and what stands in each once it is drawn.
VIEWS = {
    "overview": ".chart canvas",
    "workers": "tbody tr.opens",
    "stream": ".legend a",
    "tasks": "tbody tr.opens",
    "functions": "tbody tr.opens",
    "failures": "tbody tr.opens",
    "progress": ".progress li",
    "objects": ".chart canvas",
    "clients": "tbody tr",
    "hosts": "tbody tr",
}
ROUNDS = 6
SORTS = ("Memory", "CPU", "Worker", "Runs", "Since", "Sent")
LOOK_S = 10.0
HEAP_S = float(os.environ.get("PAGE_HEAP_S", "60"))
_SWITCH = """async ([view, selector]) => {
    const start = performance.now();
    location.hash = '#/' + view;
    const isThere = () => document.querySelector('nav [aria-current]')?.getAttribute('href').startsWith('#/' + view)
        && document.querySelector('main ' + selector);
    do { await new Promise(requestAnimationFrame); } while (!isThere());
    return performance.now() - start;
}"""
_SORT = """async (title) => {
    const button = [...document.querySelectorAll('thead button')].find(each => each.innerText.startsWith(title));
    const before = button.closest('th').ariaSort;
    const start = performance.now();
    button.click();
    do { await new Promise(requestAnimationFrame); } while (button.closest('th').ariaSort === before);
    return performance.now() - start;
}"""


@contextmanager
def opened() -> Iterator[tuple[Look, Page]]:
    """The page, looked at, with half a minute of history."""
    with publishing(WORKERS, RATE, interval_s=1.0, hosts=4) as address, Page(address) as page:
        time.sleep(30)
        for browser in launched():
            look = Look(browser, page.url)
            look.show("overview", ".chart canvas")
            yield look, page
            for trouble in look.trouble:
                print(f"  the page had trouble: {trouble}")
            look.close()


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1) + 0.5)]


def switch(_: tuple[str, ...]) -> list[Figure]:
    """from the change of the address until the first frame with the view's content, and sorting 1,000 workers"""
    switches: dict[str, list[float]] = {view: [] for view in VIEWS}
    with opened() as (look, _page):
        for round_ in range(ROUNDS + 1):
            for view, selector in VIEWS.items():
                took_ms = look.tab.evaluate(_SWITCH, [view, selector])
                if round_:  # the first has the browser compile
                    switches[view].append(took_ms)
                look.tab.wait_for_timeout(250)
        look.show("workers", "tbody tr.opens")
        sorts = [look.tab.evaluate(_SORT, title) for _ in range(ROUNDS) for title in SORTS]
    figures = [of_rounds(view, times, "ms", at_most=True) for view, times in switches.items()]
    every = [time for times in switches.values() for time in times]
    figures.append(Figure("all views, p95", p95(every), "ms", max(every), 200, at_most=True))
    figures.append(Figure("sorting by a column, p95", p95(sorts), "ms", max(sorts), 100, at_most=True))
    return figures


def thread(_: tuple[str, ...]) -> list[Figure]:
    """share of a core that the page's main thread takes while a view is open, and scaler_ui meanwhile"""
    figures = []
    with opened() as (look, page):
        session = look.context.new_cdp_session(look.tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        server = psutil.Process(page.command.process.pid)
        for view, selector in VIEWS.items():
            look.show(view, selector)
            look.tab.wait_for_timeout(1500)
            before, cpu_before, frames = _metric(session, "TaskDuration"), _cpu_s(server), look.frames
            renderers = _renderers()
            drawn_before = sum(map(_cpu_s, renderers))
            start = time.perf_counter()
            look.tab.wait_for_timeout(LOOK_S * 1000)
            passed_s = time.perf_counter() - start
            share = (_metric(session, "TaskDuration") - before) / passed_s
            drawn = (sum(map(_cpu_s, renderers)) - drawn_before) / passed_s
            figures.append(Figure(view, 100 * share, "%", target=40, at_most=True))
            figures.append(Figure("  all of the tab's process meanwhile", 100 * drawn, "%"))
            served = 100 * (_cpu_s(server) - cpu_before) / passed_s
            figures.append(Figure(f"  scaler_ui meanwhile, {look.frames - frames} messages", served, "%"))
    return figures


def heap(_: tuple[str, ...]) -> list[Figure]:
    """growth of the page's heap while its views are gone through again and again (PAGE_HEAP_S: for how long)"""
    with opened() as (look, _page):
        session = look.context.new_cdp_session(look.tab)
        # Not by `look.show`, whose handles on elements keep what the page has let go.
        for view, selector in VIEWS.items():
            look.tab.evaluate(_SWITCH, [view, selector])
            look.tab.wait_for_timeout(1200)
        first = _heap_mb(session)
        end = time.monotonic() + HEAP_S
        while time.monotonic() < end:
            for view, selector in VIEWS.items():
                look.tab.evaluate(_SWITCH, [view, selector])
                look.tab.wait_for_timeout(3000 if view == "stream" else 1200)
        last = _heap_mb(session)
    return [
        Figure("heap after each view was open once", first, "MB"),
        Figure(f"growth after {HEAP_S:.0f} s more", last - first, "MB", target=5, at_most=True),
    ]


def bundle(_: tuple[str, ...]) -> list[Figure]:
    """what a browser fetches: script, style, the page and its icon"""
    files = [path.read_bytes() for path in BUNDLE.parent.iterdir()]
    return [
        Figure("bytes", sum(map(len, files)) / 1000, "kB", target=150, at_most=True),
        Figure("the same compressed", sum(len(gzip.compress(each)) for each in files) / 1000, "kB"),
    ]


def _metric(session: Any, name: str) -> float:
    found = session.send("Performance.getMetrics")["metrics"]
    return float(next(each["value"] for each in found if each["name"] == name))


def _heap_mb(session: Any) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def _renderers() -> list[psutil.Process]:
    below = psutil.Process().children(recursive=True)
    return [process for process in below if "--type=renderer" in process.cmdline()]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


ROWS: Rows = {"switch": switch, "thread": thread, "heap": heap, "bundle": bundle}

if __name__ == "__main__":
    main("perf.page", ROWS)
