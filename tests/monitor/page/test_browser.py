"""The page in a real browser: every view, filter, sort, key and hover, at two widths, in light and dark."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.monitor import pretended
from tests.monitor.page.browsers import AXE, Look, launched
from tests.monitor.page.page import Page, Scheduler, publishing
from tests.monitor.pretended import PretendedCluster

TASK = f"task?task={0xABCD00 << 40 | 1:016x}"
ALL = (
    *("overview", "workers", "stream", "tasks", "failures", "functions", "progress", "objects", "clients", "hosts"),
    *("settings", "worker?name=alpha-0000", TASK),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from launched()


@pytest.fixture(scope="module")
def page(browser) -> Iterator[Page]:
    with publishing(workers=40, rate=400) as address, Page(address) as made:
        yield made


@pytest.fixture
def look(browser, page) -> Iterator[Look]:
    made = Look(browser, page.url)
    yield made
    made.close()
    assert made.trouble == []


def await_that(said: Callable[[], object], timeout_s: float = 8) -> None:
    deadline = time.monotonic() + timeout_s
    while not said():
        assert time.monotonic() < deadline, "it is not so"
        time.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_drawn_fits_both_widths_and_has_no_serious_finding_of_axe(browser, page, scheme):
    assert AXE.exists(), "axe-core is a development dependency of web/: `make page` installs it"
    look = Look(browser, page.url, color_scheme=scheme)
    found = []
    for view in ALL:
        tab = look.show(view)
        look.await_js("!document.body.innerText.includes('Waiting for the first report')")
        assert len(tab.inner_text("main")) > 40, view
        found += [f"{view}: {each}" for each in look.serious()]
        tab.set_viewport_size({"width": 400, "height": 800})
        width = tab.evaluate("[document.scrollingElement.scrollWidth, document.querySelector('main').scrollWidth]")
        assert max(width) <= 400, f"{view} is {width} pixels wide"
        tab.set_viewport_size({"width": 1280, "height": 800})
    look.close()
    assert found == []
    assert look.trouble == []


def test_a_thousand_workers_are_a_table_of_which_only_the_rows_in_sight_exist(browser):
    with publishing(workers=1000, rate=100, interval_s=0.5) as address, Page(address) as page:
        look = Look(browser, page.url)
        tab = look.show("workers", "tbody td")
        expect(tab.locator(".table")).to_have_attribute("data-rows", "1000")
        assert tab.locator("tbody tr").count() < 80
        tab.locator(".table").focus()
        tab.keyboard.press("End")
        expect(tab.locator("tr[aria-selected]")).to_have_count(1)
        assert tab.locator("tr[aria-selected]").get_attribute("aria-rowindex") == "1001"
        expect(tab.locator("tr[aria-selected] td").first).to_have_text("beta-0999")
        assert tab.locator("tbody tr").count() < 80
        look.close()
        assert look.trouble == []


def test_a_column_sorts_and_sorts_the_other_way(look):
    tab = look.show("workers", "tbody td")
    tab.click("main button:has-text('Pause'), header button:has-text('Pause')")
    for column, falls in (("Memory", True), ("Memory", False), ("Worker", False), ("Worker", True)):
        tab.click(f"thead button:has-text('{column}')")
        place = tab.locator("thead th", has_text=column)
        expect(place).to_have_attribute("aria-sort", "descending" if falls else "ascending")
        index = tab.locator("thead th").all_inner_texts().index(place.inner_text())
        shown = tab.eval_on_selector_all("tbody tr.opens", f"rows => rows.map(row => row.cells[{index}].innerText)")
        values = [float(text.split()[0]) for text in shown] if column == "Memory" else shown
        assert values == sorted(values, reverse=falls)


def test_a_filter_is_text_or_pattern_or_what_must_not_be_and_is_not_lost(look):
    tab = look.show("workers", "tbody td")
    box = tab.locator("main input[type=search]")
    for text, rows in (("beta", 20), ("!beta", 20), ("alpha-000[02]", 2), ("(", 0), ("nothing of the kind", 0)):
        box.fill(text)
        expect(tab.locator(".table")).to_have_attribute("data-rows", str(rows))
    box.fill("beta-0001")
    expect(tab.locator(".table")).to_have_attribute("data-rows", "1")
    tab.click("nav a:has-text('Clients')")
    tab.wait_for_selector("h1:has-text('Clients')")
    tab.click("nav a:has-text('Workers')")
    expect(box).to_have_value("beta-0001")
    tab.reload()
    expect(tab.locator(".table")).to_have_attribute("data-rows", "1")
    expect(tab.locator("main input[type=search]")).to_have_value("beta-0001")


def test_the_log_shows_the_newest_first_and_the_server_filters_it(look):
    tab = look.show("tasks", "tbody tr.opens")
    tab.locator("label:has-text('Outcome') select").select_option("failed")
    expect(tab.locator("tbody [data-outcome='1']").first).to_be_visible()
    look.await_js("!document.querySelector('tbody [data-outcome=\"0\"]')")
    tab.locator("label:has-text('Function') input").fill("model.fit")
    look.await_js(
        "[...document.querySelectorAll('tbody tr.opens')].every(row => row.cells[2].innerText === 'model.fit')"
    )
    tab.click("tbody tr.opens >> nth=0")
    tab.wait_for_selector("h2:has-text('How it ended')")
    assert "from model import fit" in tab.inner_text("[data-again]")
    tab.go_back()
    expect(tab.locator("label:has-text('Outcome') select")).to_have_value("failed")


def test_failures_are_grouped_and_a_group_has_its_traceback(look):
    tab = look.show("failures", "tbody tr.opens")
    assert "ZeroDivisionError" in tab.inner_text("tbody")
    tab.click("tbody tr.opens >> nth=0")
    assert "division by zero" in tab.inner_text("[data-traceback]")
    tab.click("main a:has-text('task ')")
    assert "division by zero" in tab.inner_text("[data-traceback]")


def test_a_function_has_its_histograms(look):
    tab = look.show("functions", "tbody tr.opens")
    tab.click("tr:has-text('model.fit')")
    tab.wait_for_selector("h2:has-text('How long its calls took')")
    expect(tab.locator(".bars meter").first).to_be_visible()


def test_all_of_it_goes_by_keyboard(look):
    tab = look.show("overview", ".tile")
    for key, title in (("2", "Workers"), ("4", "Task log"), ("9", "Clients"), ("0", "Hosts"), (",", "Settings")):
        tab.keyboard.press(key)
        tab.wait_for_selector(f"h1:has-text('{title}')")
    tab.keyboard.press("2")
    tab.wait_for_selector("tbody tr.opens")
    tab.keyboard.press("/")
    tab.keyboard.type("alpha")
    tab.keyboard.press("Escape")
    while not tab.evaluate("document.activeElement.classList.contains('table')"):
        tab.keyboard.press("Tab")
    for key in ("ArrowDown", "ArrowDown", "PageDown", "ArrowUp", "Home", "Enter"):
        tab.keyboard.press(key)
    tab.wait_for_selector("h1:has-text('Worker alpha-0000')")
    tab.keyboard.press("Backspace")
    tab.wait_for_selector("h1:has-text('Workers')")
    tab.keyboard.press("?")
    tab.wait_for_selector("dialog[open]")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog:not([open])", state="attached")
    for theme in ("light", "dark"):
        tab.keyboard.press("t")
        look.await_js("theme => document.documentElement.dataset.theme === theme", theme)
    tab.reload()
    look.await_js("document.documentElement.dataset.theme === 'dark'")


def test_the_stream_shows_tasks_that_can_be_hovered_zoomed_and_opened(look):
    tab = look.show("stream?span=2", ".legend a")
    look.await_js("document.querySelector('[data-stream-shown]').innerText.includes('each by itself')")
    tab.click("header button:has-text('Pause')")
    canvas = tab.locator(".stream canvas").bounding_box()
    assert canvas is not None
    assert (
        tab.evaluate(
            """() => {
            const canvas = document.querySelector('.stream canvas');
            const data = canvas.getContext('2d').getImageData(200, 0, canvas.width - 200, canvas.height - 30).data;
            const seen = new Set();
            for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
            return seen.size;
        }"""
        )
        > 4
    )
    for row in range(40):
        y = canvas["y"] + (row + 0.5) * (canvas["height"] - 22) / 40
        for x in range(200, int(canvas["width"]), 60):
            tab.mouse.move(canvas["x"] + x, y)
            tab.evaluate("() => new Promise(requestAnimationFrame)")
            if tab.locator(".tip").count() and "took" in tab.inner_text(".tip"):
                break
        else:
            continue
        break
    tip = tab.inner_text(".tip")
    task = re.search("task ([0-9a-f]{16})", tip)
    assert task, tip
    tab.mouse.down()
    tab.mouse.up()
    look.await_js("id => location.hash.includes(id)", arg=task.group(1))


def test_the_stream_moves_by_keys_wheel_and_drag(look):
    tab = look.show("stream?span=60", ".legend a")

    def query(name: str) -> float:
        found = re.search(rf"[?&]{name}=([\d.]+)", tab.evaluate("location.hash"))
        return float(found.group(1)) if found else 0.0

    tab.locator(".stream").focus()
    tab.keyboard.press("+")
    await_that(lambda: query("span") == 30)
    assert query("end") == 0  # of a window that ends now, this end stays
    tab.keyboard.press("ArrowLeft")
    await_that(lambda: query("end") > 0)
    tab.keyboard.press("0")
    await_that(lambda: query("end") == 0)
    box = tab.locator(".stream canvas").bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + 600, box["y"] + 100)
    tab.mouse.wheel(0, 100)
    await_that(lambda: query("span") == 39)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 800, box["y"] + 100, steps=4)
    tab.mouse.up()
    await_that(lambda: query("end") > 0)
    tab.keyboard.press("0")


def test_a_task_of_the_stream_is_chosen_and_opened_by_keys(look):
    tab = look.show("stream?span=2", ".legend a")
    look.await_js("document.querySelector('[data-stream-shown]').innerText.includes('each by itself')")
    tab.click("header button:has-text('Pause')")
    tab.locator(".stream").focus()
    chosen = []
    for key in ("Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowUp"):
        tab.keyboard.press(key)
        look.await_js("document.querySelector('.tip')?.innerText.includes('task ')")
        tab.evaluate("() => new Promise(requestAnimationFrame)")
        chosen.append(tab.inner_text(".tip").splitlines()[1])
    assert chosen[0] != chosen[1] != chosen[2]
    task = tab.inner_text(".tip").rsplit("task ", 1)[1]
    tab.keyboard.press("Enter")
    look.await_js("id => location.hash.includes(id)", task)


def test_the_stream_says_how_much_of_it_came(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(pretended, "MOST_EVENTS", 100)
    address = f"ipc://{tmp_path}/m"
    with Scheduler(PretendedCluster(workers=4, rate=2000), address), Page(address) as page:
        look = Look(browser, page.url)
        tab = look.show("stream?span=60", ".legend a")
        look.await_js("/[\\d,]+ of [\\d., kM]+ shown/.test(document.querySelector('.toolbar').innerText)")
        words = tab.inner_text("[data-stream-shown]")
        shown, written = re.match(r"([\d,]+) of ([\d.,]+ ?k?) shown", words).groups()  # type: ignore[union-attr]
        assert int(shown.replace(",", "")) < 1e3 * float(written.rstrip(" k").replace(",", "")) or "k" not in written
        look.close()
        assert look.trouble == []


def test_a_hidden_tab_is_sent_nothing_and_goes_on_when_it_is_seen(look):
    tab = look.show("workers", "tbody td")
    hide = """hidden => {
        Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    }"""
    tab.evaluate(hide, True)
    tab.wait_for_timeout(500)
    before = look.frames
    tab.wait_for_timeout(1000)
    assert look.frames == before
    tab.evaluate(hide, False)
    await_that(lambda: tab.wait_for_timeout(50) or look.frames > before + 1)


def test_a_task_is_explained_and_its_stack_is_shown_while_somebody_looks(browser, tmp_path):
    address = f"ipc://{tmp_path}/m"
    with Scheduler(PretendedCluster(), address) as scheduler, Page(address) as page:
        look = Look(browser, page.url)
        tab = look.show("task?task=00000000000000ff", "[data-sentence]")
        assert tab.inner_text("[data-sentence]") == "It is behind 41 others."
        tab.click("button:has-text('Ask for its stack')")
        assert "while True" in tab.inner_text("[data-stack]")
        assert {"task/00000000000000ff", "stack/00000000000000ff"} <= scheduler.topics
        look.show("overview", ".tile")
        await_that(lambda: not any("/" in topic for topic in scheduler.topics))
        look.close()
        assert look.trouble == []


def test_history_goes_on_over_a_restart_of_the_scheduler(browser, tmp_path):
    address = f"ipc://{tmp_path}/none"
    oldest = f"{0xABCD00 << 40 | 1:016x}"
    with Page(address) as page:
        with Scheduler(PretendedCluster(workers=4, rate=100, seed=1), address):
            page.await_text("download/tasks.csv?most=100000", oldest)
        look = Look(browser, page.url)
        tab = look.show("overview", ".tile")
        tab.wait_for_selector(".trouble:has-text('nothing has come from')", timeout=15000)
        with Scheduler(PretendedCluster(workers=4, rate=100, seed=2), address):
            tab.wait_for_selector(".trouble", state="detached")
            tab = look.show("settings", "h2:has-text('Schedulers that this page has seen')")
            expect(tab.locator("ul li", has_text="since")).to_have_count(2)
            assert oldest in page.get("download/tasks.csv?most=100000").text
            tab = look.show("workers", "tbody td")
            expect(tab.locator(".table")).to_have_attribute("data-rows", "4")
        look.close()
        assert look.trouble == []


def test_the_page_says_that_scaler_ui_is_gone_and_comes_back_with_it(browser, tmp_path):
    address = f"ipc://{tmp_path}/m"
    with Scheduler(PretendedCluster(), address):
        with Page(address) as page:
            look = Look(browser, page.url)
            look.expect_lost_connection()
            tab = look.show("workers", "tbody td")
            port = page.url.rsplit(":", 1)[1].strip("/")
        tab.wait_for_selector(".trouble:has-text('cannot be reached')")
        with Page(address, "--port", port):
            tab.wait_for_selector(".trouble", state="detached", timeout=15000)
            before = tab.inner_text("[data-counts]")
            look.await_js("was => document.querySelector('[data-counts]').innerText !== was", arg=before)
        look.close()
        assert [each for each in look.trouble if "ERR_CONNECTION_REFUSED" not in each] == []


def test_a_recording_is_opened_in_every_view(browser, tmp_path):
    path = tmp_path / "seen"
    address = f"ipc://{tmp_path}/m"
    with Scheduler(PretendedCluster(workers=5, rate=100), address), Page(address, "--record", str(path)) as page:
        page.await_text("metrics", "scaler_host_workers")
        page.await_text("download/failures.csv", "ZeroDivisionError")
    with Page(str(path)) as page:
        look = Look(browser, page.url)
        for view in ALL:
            tab = look.show(view)
            look.await_js("!document.body.innerText.includes('Waiting for the first report')")
        tab = look.show("workers", "tbody td")
        expect(tab.locator(".table")).to_have_attribute("data-rows", "5")
        assert "recording" in tab.inner_text("header")
        look.close()
        assert look.trouble == []


HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    "<script>window.hacked=1</script>",
    "javascript:window.hacked=1//",
    "\x1b[31mred\x07\x00\u202egnirts",
    '=HYPERLINK("http://evil.example")',
    "long" * 250_000,
)


class HostileCluster(PretendedCluster):
    """All that is a text is somebody's attempt."""

    def functions(self):
        made = super().functions()
        made.name = list(HOSTILE)
        return made

    def workers(self):
        made = super().workers()
        made.name = [f"{text}{i}" for i, text in enumerate((HOSTILE * 2)[: len(made)])]
        return made

    def failure_groups(self):
        made = super().failure_groups()
        for name in ("exception", "message", "place", "traceback"):
            setattr(made, name, [HOSTILE[i % len(HOSTILE)] for i in range(len(made))])
        return made

    def clients(self):
        made = super().clients()
        made.name = list(HOSTILE[: len(made)])
        return made

    def hosts(self):
        made = super().hosts()
        made.name = made.cluster = list(HOSTILE[: len(made)])
        return made

    def summary(self):
        made = super().summary()
        made.warnings, made.host_name, made.scheduler_version = list(HOSTILE), HOSTILE[0], HOSTILE[1]
        return made


def test_names_of_a_strangers_are_text_and_never_run(browser, tmp_path):
    address = f"ipc://{tmp_path}/m"
    with Scheduler(HostileCluster(workers=6, rate=600), address), Page(address) as page:
        look = Look(browser, page.url)
        for view in ALL:
            tab = look.show(view)
            look.await_js("!document.body.innerText.includes('Waiting for the first report')")
            assert tab.evaluate("window.hacked") is None
            assert tab.evaluate("document.documentElement.innerHTML.length") < 1_000_000
            assert "\u202e" not in tab.inner_text("body")
            assert tab.locator("img, main script").count() == 0
        tab = look.show("functions", "tbody td")
        assert '<img src=x onerror="window.hacked=1">' in tab.inner_text("tbody")
        assert "\\u001b[31mred" in tab.inner_text("tbody")
        tab.click("tbody tr.opens >> nth=0")
        tab.wait_for_selector("button:has-text('All functions')")
        look.close()
        assert look.trouble == []
        assert "'=HYPERLINK" in page.get("download/functions.csv").text
        assert page.get("metrics").status == 200


def test_it_works_behind_a_proxys_prefix(browser, page, tmp_path: Path):
    from tests.monitor.page.prefix import Prefix

    with Prefix(page.url, "/user/me/scaler/") as url:
        look = Look(browser, url)
        tab = look.show("workers", "tbody td")
        expect(tab.locator(".table")).to_have_attribute("data-rows", "40")
        with tab.expect_download() as download:
            tab.click("a:has-text('CSV')")
        assert download.value.suggested_filename == "scaler-workers.csv"
        look.close()
        assert look.trouble == []
