"""A reverse proxy that serves the page below a prefix, as nginx or Jupyter does. Not for anything but tests."""

import asyncio
import threading
from typing import Any

import aiohttp
from aiohttp import web


class Prefix(threading.Thread):
    """Entering gives the address of the page behind it."""

    def __init__(self, target: str, prefix: str) -> None:
        super().__init__(daemon=True)
        self._target, self._prefix = target, prefix
        self._is_up = threading.Event()
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        app = web.Application()
        app.router.add_get(self._prefix + "{rest:.*}", self._pass_on)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}{self._prefix}"
        async with aiohttp.ClientSession() as self._session:
            self._is_up.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        url = self._target + request.match_info["rest"]
        headers = {name: request.headers[name] for name in ("Host", "Origin") if name in request.headers}
        if request.headers.get("Upgrade", "").lower() != "websocket":
            async with self._session.get(url, params=request.query, headers=headers) as answer:
                kept = {name: answer.headers[name] for name in answer.headers if name.startswith("Content-Security")}
                kept |= {name: answer.headers[name] for name in ("Content-Type", "Content-Disposition")
                         if name in answer.headers}  # fmt: skip
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        here = web.WebSocketResponse()
        await here.prepare(request)
        async with self._session.ws_connect(url, headers=headers, max_msg_size=0) as there:
            await asyncio.wait(
                [asyncio.ensure_future(_copy(here, there)), asyncio.ensure_future(_copy(there, here))],
                return_when=asyncio.FIRST_COMPLETED,
            )
        return here

    def __enter__(self) -> str:
        self.start()
        assert self._is_up.wait(10)
        return self.url

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(10)


async def _copy(source: Any, target: Any) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        else:
            await target.send_bytes(message.data)
