"""For tests of the page in a browser: a Chromium without a window, and what every test of a page looks at.

Where there is no Chromium, what uses `browser` is skipped, and says how to get one: `.ci/packages` installs it.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

ROOT = Path(__file__).parents[3]
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
BUNDLE = ROOT / "scaler/monitor/page/static/page.js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# As root Chromium has no sandbox, and in a container /dev/shm is small; the page is our own.
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def find_chromium(playwright: Playwright) -> str | None:
    """The path of one: that of SCALER_CHROMIUM, the system's, or playwright's own."""
    own = playwright.chromium.executable_path
    found = os.environ.get("SCALER_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return found or (own if own and os.path.exists(own) else None)


def launched() -> Iterator[Browser]:
    """A browser, for a fixture."""
    if not BUNDLE.exists():
        pytest.fail("the page has not been built: `make page`")
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            pytest.skip("NOT TESTED: THERE IS NO CHROMIUM. `.ci/packages` installs one, or SCALER_CHROMIUM names it")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Look:
    """A tab that shows the page. `trouble` is what a page must not do: errors, and requests to anywhere else."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        options.setdefault("viewport", {"width": 1280, "height": 800})
        self.url = url
        self.context = browser.new_context(reduced_motion="reduce", **options)
        self.tab: Page = self.context.new_page()
        self.tab.set_default_timeout(8000)
        self.trouble: list[str] = []
        self.frames = 0
        self._is_expected = False
        self.tab.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.tab.on("console", lambda said: self._on_console(said.type, said.text))
        self.tab.on("request", lambda request: self._on_request(request.url))
        self.tab.on("websocket", self._on_socket)
        self.tab.on("dialog", lambda dialog: self.trouble.append(f"dialog: {dialog.message}"))

    def _on_console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not (self._is_expected and "WebSocket" in text):
            self.trouble.append(f"{kind}: {text}")

    def _on_request(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.url).netloc and not url.startswith("data:"):
            self.trouble.append(f"request to {url}")

    def _on_socket(self, socket: Any) -> None:
        self._on_request(socket.url)
        socket.on("framereceived", lambda _: self._count())

    def _count(self) -> None:
        self.frames += 1

    def expect_lost_connection(self) -> None:
        """From here on a failing WebSocket is no trouble."""
        self._is_expected = True

    def show(self, view: str, wait_for: str = "h1") -> Page:
        """Go there, and wait until it is drawn."""
        if self.tab.url.startswith(self.url):
            self.tab.evaluate("hash => { location.hash = hash }", f"#/{view}")
        else:
            self.tab.goto(f"{self.url}#/{view}")
        name = view.partition("?")[0]
        self.tab.wait_for_selector(f"nav a[href*='#/{name}'][aria-current], main h1")
        self.tab.wait_for_selector(f"main {wait_for}", state="attached")
        return self.tab

    def await_js(self, expression: str, arg: object = None) -> None:
        """Wait until this is so. The waiting of playwright evaluates texts in the page, which its policy forbids."""
        deadline = time.monotonic() + 8
        while not self.tab.evaluate(expression, arg):
            assert time.monotonic() < deadline, f"{expression} is not so in {self.tab.inner_text('body')[:2000]}"
            self.tab.wait_for_timeout(30)

    def serious(self) -> list[str]:
        """What axe finds that is serious or worse."""
        if not self.tab.evaluate("typeof axe === 'object'"):
            self.tab.evaluate(AXE.read_text())
        found = self.tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]}: {node.get('failureSummary', '')}"
            for each in found["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"][:3]
        ]

    def close(self) -> None:
        self.context.close()
