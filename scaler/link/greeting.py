"""Greeting: the first words with a scheduler, over ZeroMQ, at the address the user gave."""

import json
from dataclasses import dataclass

import zmq

from scaler.exceptions import SchedulerTimeoutError


@dataclass(frozen=True)
class Welcome:
    """What the scheduler tells a newcomer."""

    door: str
    life: str


def greet(address: str, role: str, timeout_s: float) -> Welcome:
    """Say hello at `address` until somebody answers. SchedulerTimeoutError after `timeout_s`."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.IPV6, 1)
    try:
        dealer.connect(address)
        dealer.send(json.dumps({"role": role}).encode())
        if not dealer.poll(int(timeout_s * 1000)):
            raise SchedulerTimeoutError(f"no scheduler answered at {address} within {timeout_s} s")
        answer = json.loads(dealer.recv())
        return Welcome(answer["door"], answer["life"])
    finally:
        dealer.close(0)
        context.term()
