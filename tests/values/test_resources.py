"""What people write of resources, and what becomes of it."""

import pytest

from scaler import _native
from scaler._native import is_request, is_supply
from scaler.values import resources
from scaler.values.resources import (
    Resources,
    from_capabilities,
    parse_amount,
    parse_resources,
    request_text,
    share_out,
    what_is_missing,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", 1),
        ("0.5", 0.5),
        (".5", 0.5),
        ("8G", 8e9),
        ("8Gi", 8 * 2**30),
        ("8 GiB", 8 * 2**30),
        ("64k", 64e3),
        ("1T", 1e12),
    ],
)
def test_amounts(text, amount):
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "G", "-1", "1e3", "nan", "1GG", "1,5"])
def test_what_is_no_amount(text):
    with pytest.raises(ValueError, match="is no amount"):
        parse_amount(text)


def test_the_bounds_are_those_of_the_scheduler():
    for name in ("MOST_RESOURCES", "MOST_RESOURCE_NAME_BYTES", "RESOURCE_UNIT"):
        assert getattr(resources, name) == getattr(_native, name)


def test_what_a_task_asks_for_travels_by_name_in_thousandths():
    text = request_text({"mem": "8G", "gpu": 0.5, "linux": True, "none": 0, "nothing": False, "third": 1 / 3})
    assert text == b"gpu=500\nlinux\nmem=8000000000000\nthird=334"
    assert is_request(text)
    assert request_text({}) == request_text(None) == b""
    assert request_text(from_capabilities({"gpu": 1, "linux": -1})) == b"gpu=1000\nlinux"


def test_what_a_cluster_has():
    assert parse_resources("gpu=[0, 1] , mem=64G,linux") == Resources(
        {"mem": 64e9}, {"gpu": ("0", "1")}, frozenset({"linux"})
    )
    assert not parse_resources("")


@pytest.mark.parametrize(
    ("workers", "units"),
    [(1, ["0,1,2"]), (2, ["0,2", "1"]), (3, ["0", "1", "2"]), (5, ["0", "1", "2", "0", "1"])],
)
def test_units_are_shared_out_in_turn(workers, units):
    shares = share_out(parse_resources("gpu=[0,1,2],mem=4"), workers, "owner")
    assert [",".join(share.units["gpu"]) for share in shares] == units
    assert all(is_supply(share.text.encode()) for share in shares)
    assert len({line for share in shares for line in share.text.split("\n") if line.startswith("mem")}) == 1
    by_unit = {}
    for share in shares:
        by_unit.setdefault(share.units["gpu"], set()).add(share.text)
    assert all(len(texts) == 1 for texts in by_unit.values())


def test_those_that_stand_in_for_others_are_pinned_as_these():
    shares = share_out(parse_resources("gpu=[0,1]"), 2, "owner", 4)
    assert [share.text for share in shares[2:]] == [share.text for share in shares[:2]]


def test_what_is_missing_is_named():
    assert what_is_missing([("gpu", 1), ("linux", None)], [None, 0]) == "no worker has gpu"
    assert what_is_missing([("gpu", 2)], [1.0]) == "no worker has gpu=2 (the most that one has is 1)"
    assert what_is_missing([("gpu", 1), ("linux", None)], [1.0, 0]) == "no worker has gpu=1, linux together"


def test_a_resource_is_never_taken_for_a_function_that_somebody_serves():
    for made in (lambda: request_text({"f:price": 1}), lambda: parse_resources("f:price")):
        with pytest.raises(ValueError, match="f: begins those of functions"):
            made()
