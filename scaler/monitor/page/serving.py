"""Serving: what scaler_ui shows (a scheduler or a recording), a web server, signals, and the way out.

Not here: what it says where the libraries for it are not installed (program).
"""

import asyncio
import logging
import os

from aiohttp import web

from scaler.address import Address
from scaler.config.table import UiConfig
from scaler.monitor.page.history import History
from scaler.monitor.page.listener import Listener
from scaler.monitor.page.program import PageError
from scaler.monitor.page.security import QUERY, Guard
from scaler.monitor.page.server import PageServer, describe
from scaler.monitor.recording import Recorder, Recording
from scaler.program.event_loop import new_event_loop
from scaler.program.signals import obey

SHUTDOWN_S = 1.0
TOKEN_VARIABLE = "SCALER_UI_TOKEN"
_log = logging.getLogger(__name__)


def serve(config: UiConfig) -> int:
    """Serve until told to stop by a signal."""
    history = History()
    listener: Listener | None = None
    problem = ""
    if not config.is_recording:
        address = Address.parse(config.monitor_address).check_connectable()
        listener = Listener(address, history, Recorder(config.record) if config.record else None, config.keys)
    else:
        problem = _read(config.monitor_address, history)
    guard = Guard.make(config.host, config.token or os.environ.get(TOKEN_VARIABLE), config.allowed_hosts)
    shown = config.monitor_address if listener is not None else os.path.basename(config.monitor_address)
    server = PageServer(history, guard, listener, shown, problem)
    loop = new_event_loop(config.event_loop)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_serve(loop, config, server, listener, guard))
        return 0
    finally:
        if listener is not None:
            listener.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _read(path: str, history: History) -> str:
    """All of a recording. What is wrong with its end."""
    recording = Recording(path)
    reports = 0
    for report in recording:
        history.add(report)
        reports += 1
    if not reports:
        raise PageError(recording.problem or f"{path} is a recording without a single report")
    _log.info("%s has %d reports", path, reports)
    if recording.problem:
        _log.warning("%s", recording.problem)
    return recording.problem


async def _serve(
    loop: asyncio.AbstractEventLoop, config: UiConfig, server: PageServer, listener: Listener | None, guard: Guard
) -> None:
    stopped = asyncio.Event()
    obey(loop, stopped.set)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, config.host, config.port).start()
        except OSError as error:
            raise PageError(describe(error, config.host, config.port)) from None
        port = runner.addresses[0][1]
        host = f"[{config.host}]" if ":" in config.host else config.host
        secret = f"?{QUERY}={guard.token}" if guard.token else ""
        _log.info("the page of %s is at http://%s:%d/%s", config.monitor_address, host, port, secret)
        if listener is not None:
            listener.start(loop, server.feed.on_round)
        await stopped.wait()
        _log.info("scaler_ui stops")
        await server.feed.close()
    finally:
        await runner.cleanup()
