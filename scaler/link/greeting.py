"""Greeting: the first words with a scheduler, over ZeroMQ, at the address the user gave."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from scaler.exceptions import SchedulerTimeoutError


@dataclass(frozen=True)
class Welcome:
    """What the scheduler tells a newcomer."""

    door: str
    life: str


def greet(address: str, role: str, timeout_s: float, is_stopped: Callable[[], bool] = lambda: False) -> Welcome:
    """Say hello at `address` until somebody answers. SchedulerTimeoutError after `timeout_s`, or once it is stopped."""
    deadline = time.monotonic() + timeout_s
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.IPV6, 1)
    try:
        dealer.connect(address)
        dealer.send(json.dumps({"role": role}).encode())
        while not dealer.poll(100):
            if is_stopped() or time.monotonic() > deadline:
                raise SchedulerTimeoutError(f"no scheduler answered at {address} within {timeout_s:g} s")
        answer = json.loads(dealer.recv())
        return Welcome(answer["door"], answer["life"])
    finally:
        dealer.close(0)
        context.term()
