"""The soak works, and its verdict tells growth from noise; a long run is `make soak`'s."""

import pytest

from perf.links import LINKS
from tests.soak.__main__ import soak
from tests.soak.sample import Sample
from tests.soak.verdict import judge


@pytest.mark.parametrize("link", LINKS)
def test_a_short_soak_answers_everything_and_watches_everybody(link):
    count, lines = soak(link, 1, 50_000, 5.0, warm_rounds=0)
    assert count >= 50_000
    assert {line.name.partition(":")[0] for line in lines} >= {
        "client",
        "scheduler",
        "supervisor",
        "worker 1",
        "worker 2",
    }


def lines_of(values):
    return judge([Sample(float(place), {"worker 1: memory, KiB": value}) for place, value in enumerate(values)])


def test_growth_is_found():
    (line,) = lines_of([50_000 + 100 * place for place in range(100)])
    assert not line.is_flat


def test_what_settles_is_flat():
    (line,) = lines_of([10_000] * 10 + [50_000] * 80)
    assert line.is_flat


def test_one_more_descriptor_is_noise_and_ten_are_not():
    for more, is_flat in ((1, True), (10, False)):
        (line,) = judge([Sample(float(x), {"client: descriptors": 20 + (more if x > 60 else 0)}) for x in range(80)])
        assert line.is_flat is is_flat
