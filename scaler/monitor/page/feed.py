"""Feed: what each browser is sent, through a WebSocket: its open view, when something new has come.

A browser says {"view": name, "arguments": {...}} when its user opens or changes a view, and {"view": null} while its
tab is hidden. It is answered at once, and then after each round of reports. A browser that reads too slowly misses
rounds: the next message is made when the last one is out, of what is then the latest.

Rule 1: nothing is made for a view that nobody has open.
Rule 2: a message that makes no sense ends that browser's connection with a sentence, and nothing else.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from scaler.monitor.page.arguments import Arguments
from scaler.monitor.page.history import History
from scaler.monitor.page.message import Known, pack
from scaler.monitor.page.task_log import asked_topics
from scaler.monitor.page.views import VIEWS

MOST_MESSAGE_BYTES = 16 << 10
MOST_BROWSERS = 100
LEAST_PAUSE_S = 0.2  # between two messages that nobody asked for
HEARTBEAT_S = 20.0
_log = logging.getLogger(__name__)


class Feed:
    """All browsers. `head` gives what is in every message; `ask` is told which topics about tasks are looked at."""

    def __init__(self, history: History, head: Callable[[], dict[str, Any]], ask: Callable[[Iterable[str]], None]):
        self._history, self._head, self._ask = history, head, ask
        self._browsers: set[Browser] = set()

    def on_round(self) -> None:
        """Something new has come."""
        for browser in self._browsers:
            browser.wake.set()

    def changed_view(self) -> None:
        """A browser looks at something else."""
        topics = [topic for browser in self._browsers for topic in browser.topics]
        self._ask(sorted(set(topics))[:64])

    def message(self, view: str, arguments: Arguments, known: Known) -> bytes:
        return pack(view, self._head(), VIEWS[view](self._history, arguments), known)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one browser until it goes."""
        if len(self._browsers) >= MOST_BROWSERS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_BROWSERS} browsers look at this page already\n")
        socket = web.WebSocketResponse(max_msg_size=MOST_MESSAGE_BYTES, heartbeat=HEARTBEAT_S, compress=False)
        await socket.prepare(request)
        browser = Browser(self, socket)
        self._browsers.add(browser)
        sender = asyncio.ensure_future(browser.send())
        try:
            await browser.receive()
        finally:
            self._browsers.discard(browser)
            self.changed_view()
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await sender
        return socket

    async def close(self) -> None:
        """Tell all of them that the page ends."""
        for browser in list(self._browsers):
            await browser.socket.close(code=WSCloseCode.GOING_AWAY, message=b"scaler_ui ends")


class Browser:
    """One connection."""

    def __init__(self, feed: Feed, socket: web.WebSocketResponse) -> None:
        self._feed, self.socket = feed, socket
        self.wake = asyncio.Event()
        self.topics: list[str] = []
        self._view: str | None = None
        self._arguments = Arguments({})
        self._number = 0
        self._known = Known()
        self._is_asked = False

    async def receive(self) -> None:
        async for message in self.socket:
            if message.type != WSMsgType.TEXT or not self._open(message.data):
                await self.socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"this message makes no sense")
                return

    def _open(self, text: str) -> bool:
        try:
            said = json.loads(text)
            view, given = said.get("view"), said.get("arguments", {})
        except (ValueError, AttributeError, RecursionError):
            return False
        if not (view is None or (isinstance(view, str) and view in VIEWS)) or not isinstance(given, dict):
            return False
        if view != self._view or said.get("fresh"):
            self._known.clear()
        self._view, self._arguments = view, Arguments(given)
        self.topics = asked_topics(self._arguments) if view == "task" else []
        self._feed.changed_view()
        self._is_asked = True
        self.wake.set()
        return True

    async def send(self) -> None:
        """Until cancelled, or the browser has gone."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            self._is_asked = False
            if self._view is None:
                continue
            try:
                message = self._feed.message(self._view, self._arguments, self._known)
            except Exception:
                _log.exception("the view %s cannot be made", self._view)
                await self.socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"see the log of scaler_ui")
                return
            try:
                await self.socket.send_bytes(message)
            except (ConnectionError, RuntimeError):
                return
            if not self._is_asked:
                await self._pause()

    async def _pause(self) -> None:
        """Until a little time has passed, or the user has asked for something else."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LEAST_PAUSE_S
        while not self._is_asked and (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, 0.02))
