"""Which event loop a program of ours runs on: asyncio's own, or uvloop where it is installed."""

import asyncio
from importlib.util import find_spec

from scaler.exceptions import OptionError


def check_event_loop(name: str) -> None:
    """OptionError if this event loop is not installed."""
    if name == "uvloop" and find_spec("uvloop") is None:
        raise OptionError("the event loop uvloop is not installed: `pip install scaler[uvloop]`, or use builtin")


def new_event_loop(name: str) -> asyncio.AbstractEventLoop:
    """A fresh loop of this kind."""
    check_event_loop(name)
    if name == "uvloop":
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()
