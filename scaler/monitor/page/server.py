"""The page's web server: the bundle, the feed, /metrics and downloads.

Rule 1: all addresses in the page are relative, so that it works behind a proxy's prefix.
Rule 2: what is sent of the bundle are the files that were there at the start, and no path of a request is ever opened.
"""

import asyncio
import logging
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest

from scaler.monitor.page import security
from scaler.monitor.page.arguments import Arguments
from scaler.monitor.page.downloads import as_csv, as_json
from scaler.monitor.page.feed import Feed
from scaler.monitor.page.history import History
from scaler.monitor.page.listener import Listener
from scaler.monitor.page.metrics import registry_of
from scaler.monitor.page.tables import counts_of
from scaler.monitor.page.views import VIEWS
from scaler.monitor.trace import encode_for

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_NO_BUNDLE = (
    "The page has not been built: this installation was made with SCALER_NO_PAGE=1, or is a clone in which `make page` "
    "has not been run. /metrics and /download/workers.csv work all the same.\n"
)
_log = logging.getLogger(__name__)


class PageServer:
    """Serves one history. `listener` is None for a recording, of which `source` and `problem` say more."""

    def __init__(
        self, history: History, guard: security.Guard, listener: Listener | None, source: str, problem: str = ""
    ) -> None:
        self.history, self._listener, self._source, self._problem = history, listener, source, problem
        self._tracing = asyncio.Lock()
        self.feed = Feed(history, self.head, self._ask)
        self._bundle = {path.name: path.read_bytes() for path in _bundle_files()}
        self.app = web.Application(middlewares=[security.middleware(guard)])
        self.app.add_routes(
            [
                web.get("/", self._index),
                web.get("/feed", self.feed.handle),
                web.get("/metrics", self._metrics),
                web.get("/health", self._health),
                web.get("/download/trace.{kind:pftrace|json}", self._trace),
                web.get("/download/{view}.{kind:csv|json}", self._download),
                web.get("/{name}", self._file),
            ]
        )

    def head(self) -> dict[str, Any]:
        """What is in every message: where the figures come from, how old they are, and the counts."""
        summary = self.history.summary
        head: dict[str, Any] = {
            "source": self._source,
            "live": self._listener is not None,
            "now": self.history.now_ns / 1e9,
            "rounds": self.history.rounds,
            "problem": self._trouble(),
        }
        if summary is not None:
            head["counts"] = counts_of(summary.counts)
            head["sizes"] = {
                name: getattr(summary, name) for name in ("workers", "idle_workers", "clients", "hosts", "functions")
            }
            head["version"] = summary.scheduler_version[:60]
            head["epoch"] = f"{summary.pid} since {summary.started_ns // 1_000_000_000}"
        return head

    def _trouble(self) -> str:
        return self._problem if self._listener is None else self._listener.trouble

    def _ask(self, topics: Iterable[str]) -> None:
        if self._listener is not None:
            self._listener.ask(topics)

    async def _index(self, request: web.Request) -> web.Response:
        if "index.html" not in self._bundle:
            return web.Response(status=503, text=_NO_BUNDLE)
        return self._send("index.html")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._bundle:
            raise web.HTTPNotFound(text="there is nothing of this name\n")
        return self._send(name)

    def _send(self, name: str) -> web.Response:
        kind = _TYPES.get(name[name.rfind(".") :], "application/octet-stream")
        return web.Response(
            body=self._bundle[name],
            content_type=kind,
            charset="utf-8",
            headers={"Cache-Control": "no-cache"},
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        registry = registry_of(self.history, per_worker=request.query.get("workers") == "1")
        return web.Response(body=generate_latest(registry), headers={"Content-Type": METRICS_TYPE})

    async def _health(self, request: web.Request) -> web.Response:
        """200 while reports come, 503 with a sentence when they do not: for whoever watches this program."""
        trouble = self._trouble()
        return web.Response(status=503 if trouble else 200, text=(trouble or "ok") + "\n")

    async def _download(self, request: web.Request) -> web.Response:
        view, kind = request.match_info["view"], request.match_info["kind"]
        if view not in VIEWS:
            raise web.HTTPNotFound(text=f"there is no view of this name: {', '.join(VIEWS)}\n")
        shown = VIEWS[view](self.history, Arguments(dict(request.query)))
        text = as_csv(shown) if kind == "csv" else as_json(shown)
        return web.Response(
            text=text,
            content_type="text/csv" if kind == "csv" else "application/json",
            headers={"Content-Disposition": f'attachment; filename="scaler-{view}.{kind}"'},
        )

    async def _trace(self, request: web.Request) -> web.Response:
        """One at a time, since it may be large; beside the loop, since it takes a while."""
        name = f"scaler-trace.{request.match_info['kind']}"
        async with self._tracing:
            recorded = self.history.to_trace()
            body = await asyncio.to_thread(lambda: b"".join(encode_for(recorded, name)[0]))
        return web.Response(
            body=body,
            content_type="application/json" if name.endswith(".json") else "application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _bundle_files() -> list[Any]:
    folder = files("scaler.monitor.page") / "static"
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


def describe(error: OSError, host: str, port: int) -> str:
    """Why it cannot listen there, and what to do."""
    advice = "choose another with --port, or any free one with --port 0"
    return f"cannot listen at {host} port {port}: {(error.strerror or str(error)).split('] ')[-1]}; {advice}"
