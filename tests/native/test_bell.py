"""Bells: the owner of rings never waits at one, whatever a peer does to what both of them hold."""

import contextlib
import fcntl
import os
import socket
from functools import partial

import pytest

from scaler._native import KIND_WORKERS, PAGE, Pump, Relay, SchedulerCore, Segment, is_doorbell
from scaler.colocation.doorbell import new_doorbell
from tests.processes import in_child
from tests.sim.wire import Rings

SLEEPING = 64


def fill(doorbell):
    """Ring until there is no more room."""
    with socket.socket(fileno=os.dup(doorbell)) as bell:
        bell.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                bell.send(bytes(1000))


def let_block(descriptor):
    """What any holder of the descriptor can do for all of them."""
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_NONBLOCK)


def heard(doorbell):
    """How often it was rung since it was last asked."""
    times = 0
    with socket.socket(fileno=os.dup(doorbell)) as bell:
        while True:
            try:
                bell.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return times
            times += 1


def test_a_peer_that_sleeps_is_rung_once():
    doorbell, rings, bell = new_doorbell(), Rings(65536), os.eventfd(0, os.EFD_NONBLOCK)
    pump = Pump(SchedulerCore(), Segment.private(PAGE), bell)
    peer = pump.add(rings.memory, False, doorbell, client_bits=5)
    pump.control(peer, KIND_WORKERS)
    assert heard(doorbell) == 0  # it is awake
    memoryview(rings.memory)[SLEEPING] = 1
    pump.control(peer, KIND_WORKERS)
    pump.control(peer, KIND_WORKERS)
    assert heard(doorbell) == 1
    os.close(doorbell)
    os.close(bell)


def test_a_scheduler_does_not_wait_at_a_doorbell_that_its_peer_has_filled_and_made_block():
    doorbell, rings, bell = new_doorbell(), Rings(65536), os.eventfd(0, os.EFD_NONBLOCK)
    pump = Pump(SchedulerCore(), Segment.private(PAGE), bell)
    peer = pump.add(rings.memory, False, doorbell, client_bits=5)
    fill(doorbell)
    let_block(doorbell)
    memoryview(rings.memory)[SLEEPING] = 1
    assert in_child(lambda: pump.control(peer, KIND_WORKERS))
    os.close(doorbell)
    os.close(bell)


def returns_nothing(hear):
    return hear() is None


def test_neither_scheduler_nor_relay_waits_at_a_bell_of_its_own_that_a_peer_has_emptied_and_made_block():
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    owners = Pump(SchedulerCore(), Segment.private(PAGE), bell), Relay(Segment.private(PAGE), bell, False)
    quiet = owners[0].hush, owners[1].quiet
    let_block(bell)
    for hear in quiet:
        assert in_child(partial(returns_nothing, hear))
    os.eventfd_write(bell, 3)
    owners[0].hush()
    os.set_blocking(bell, False)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(bell)  # it was heard
    os.close(bell)


def test_only_datagram_sockets_of_this_host_are_doorbells():
    kinds = {
        True: [new_doorbell(), *(end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))],
        False: [os.eventfd(0), os.open(os.devnull, os.O_RDWR), socket.socket().detach(), *os.pipe()],
    }
    for expected, descriptors in kinds.items():
        for descriptor in descriptors:
            assert is_doorbell(descriptor) is expected
            os.close(descriptor)
    assert not is_doorbell(-1)
