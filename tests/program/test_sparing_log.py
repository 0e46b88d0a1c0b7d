"""Lines that peers bring about: one per peer and kind in a while, and what is left out is counted."""

import logging

import pytest

from scaler.program.sparing_log import MOST_LINES, PERIOD_S, SparingLog


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(clock, caplog):
    caplog.set_level(logging.INFO)
    return SparingLog(logging.getLogger("scaler.test"), clock)


def test_a_peer_that_goes_on_is_named_once_in_a_while_and_the_rest_is_counted(log, clock, caplog):
    for _ in range(1000):
        log.warning(7, "%s wrote nonsense", "seven")
    assert caplog.messages == ["seven wrote nonsense"]
    clock.now_s += PERIOD_S
    log.warning(7, "%s wrote nonsense", "seven")
    assert caplog.messages[1:] == ["seven wrote nonsense (999 more lines like it were left out before this one)"]
    clock.now_s += PERIOD_S
    log.warning(7, "%s wrote nonsense", "seven")
    assert caplog.messages[2:] == ["seven wrote nonsense"]


def test_other_peers_and_other_kinds_of_lines_are_written_meanwhile(log, caplog):
    for peer in 7, 8, 7:
        log.error(peer, "%d wrote nonsense", peer)
        log.info(peer, "%d left", peer)
    assert caplog.messages == ["7 wrote nonsense", "7 left", "8 wrote nonsense", "8 left"]


def test_a_peer_that_comes_under_ever_new_names_fills_no_log_either(log, clock, caplog):
    for peer in range(10_000):
        log.info(peer, "%s joined", peer)
    assert len(caplog.messages) == MOST_LINES
    clock.now_s += PERIOD_S
    log.info("another", "%s joined", "another")
    left_out = f"({10_000 - MOST_LINES} more lines like it were left out before this one)"
    assert caplog.messages[-1] == f"another joined {left_out}"


def test_what_nobody_would_hear_is_not_counted(log, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        log.info(7, "hello")
    caplog.set_level(logging.INFO)
    log.info(7, "hello")
    assert caplog.messages == ["hello"]
