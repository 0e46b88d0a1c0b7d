"""Addresses: what is one, what is not and why, what they mean."""

import pytest

from scaler.address import Address, Endpoint
from scaler.exceptions import AddressError, ScalerError


@pytest.mark.parametrize(
    "text",
    [
        "tcp://127.0.0.1:2345",
        "tcp://localhost:1",
        "tcp://a-host.example.org:65535",
        "tcp://node_7:99",
        "tcp://[::1]:2345",
        "tcp://[fe80::1%eth0]:80",
        "tcp://*:2345",
        "tcp://0.0.0.0:0",
        "ipc:///tmp/a path/scaler",
        "ipc://relative",
        "ipc://@abstract",
    ],
)
def test_address_is_written_as_it_was_read(text):
    assert str(Address.parse(text)) == text
    assert Address.parse(f"  {text} \n") == Address.parse(text)


def test_any_port_is_a_star_or_zero():
    assert Address.parse("tcp://127.0.0.1:*") == Address.parse("tcp://127.0.0.1:0") == Address("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is no address"),
        ("127.0.0.1:2345", "is no address"),
        ("tcp:/127.0.0.1:2345", "is no address"),
        ("http://127.0.0.1:2345", "only tcp:// and ipc://"),
        ("TCP://127.0.0.1:2345", "only tcp:// and ipc://"),
        ("tcp://127.0.0.1", "has no port"),
        ("tcp://127.0.0.1:", "a port is a number"),
        ("tcp://127.0.0.1:80000", "a port is a number from 0 to 65535, not '80000'"),
        ("tcp://127.0.0.1:99999999999999999999", "a port is a number"),
        ("tcp://127.0.0.1:-1", "a port is a number"),
        ("tcp://127.0.0.1:²", "a port is a number"),
        ("tcp://127.0.0.1:80/path", "a port is a number"),
        ("tcp://:2345", "has no host"),
        ("tcp://127.0.0.256:1", "is no IPv4 address"),
        ("tcp://1.2.3:1", "is no IPv4 address"),
        ("tcp://a b:1", "is no name of a host"),
        ("tcp://-x:1", "is no name of a host"),
        ("tcp://x-.org:1", "is no name of a host"),
        ("tcp://a..b:1", "is no name of a host"),
        ("tcp://.a:1", "is no name of a host"),
        ("tcp://a..:1", "is no name of a host"),
        ("tcp://" + "x" * 64 + ":1", "is no name of a host"),
        ("tcp://a." + "x" * 64 + ".org:1", "is no name of a host"),
        ("tcp://" + ".".join(["x" * 63] * 4) + ":1", "at most 253 characters, not 255"),
        ("tcp://0x7f000001:1", "is no name of a host"),
        ("tcp://a.12:1", "is no name of a host"),
        ("tcp://h\u00f6st:1", "is no name of a host"),
        ("tcp://a\0b:1", "is no name of a host"),
        ("tcp://[fe80::1%" + "x" * 16 + "]:1", "is no name of an interface"),
        ("tcp://[fe80::1%a\0b]:1", "is no name of an interface"),
        ("tcp://[fe80::1%]:1", "is no name of an interface"),
        ("tcp://127.0.0.1:000080000", "a port is a number"),
        ("tcp://::1:2345", "in brackets"),
        ("tcp://[::1:2345", "with IPv6"),
        ("tcp://[::1]", "with IPv6"),
        ("tcp://[::g]:1", "is no IPv6 address"),
        ("tcp://[127.0.0.1]:1", "is no IPv6 address"),
        ("ipc://", "has no path"),
        ("ipc://*", "has no path"),
        ("ipc:///" + "x" * 200, "more than 107"),
        ("ipc:///a\0b", "null character"),
    ],
)
def test_what_is_no_address_is_an_error_that_says_why(text, why):
    with pytest.raises(AddressError, match=why) as raised:
        Address.parse(text)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, ScalerError)
    assert "\n" not in str(raised.value)


def test_no_text_is_no_address():
    with pytest.raises(AddressError, match="a text such as tcp://"):
        Address.parse(2345)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.9.8.7:1", True),
        ("tcp://localhost:1", True),
        ("tcp://LOCALHOST:1", True),
        ("tcp://[::1]:1", True),
        ("ipc:///tmp/x", True),
        ("tcp://*:1", False),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://10.0.0.1:1", False),
        ("tcp://localhost.example.org:1", False),
        ("tcp://somewhere:1", False),
    ],
)
def test_loopback_is_what_is_plainly_loopback(text, expected):
    assert Address.parse(text).is_loopback is expected


def test_one_connects_neither_to_any_port_nor_to_every_interface():
    with pytest.raises(AddressError, match="leaves the port"):
        Address.parse("tcp://127.0.0.1:0").check_connectable()
    with pytest.raises(AddressError, match="every interface"):
        Address.parse("tcp://*:99").check_connectable()
    for text in ("tcp://127.0.0.1:99", "ipc:///tmp/x"):
        assert str(Address.parse(text).check_connectable()) == text


def test_monitor_stands_two_ports_on_or_beside_the_path():
    assert str(Address.parse("tcp://a:2345").default_monitor()) == "tcp://a:2347"
    assert str(Address.parse("tcp://[::1]:1").default_monitor()) == "tcp://[::1]:3"
    assert str(Address.parse("ipc:///tmp/x").default_monitor()) == "ipc:///tmp/x.monitor"
    assert Address.parse("tcp://a:0").default_monitor().port == 0
    assert Address.parse("tcp://a:65534").default_monitor().port == 0


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:1", "a-host.example.org:65535", "[::1]:2345", "node_7.:80", "x" * 63 + ".org:80", "1a.b2:3"],
)
def test_a_place_is_written_as_it_was_read(text):
    place = Endpoint.parse(text)
    assert str(place) == text
    place.host.encode("idna")  # what Python does with it before it is looked up


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no port"),
        ("127.0.0.1", "has no port"),
        ("*:80", "that one could connect to"),
        ("0.0.0.0:80", "that one could connect to"),
        ("[::]:80", "that one could connect to"),
        ("127.0.0.1:0", "that one could connect to"),
        ("127.0.0.1:*", "that one could connect to"),
        ("127.0.0.1:65536", "a port is a number"),
        ("127.0.0.1:-5", "a port is a number"),
        ("[fe80::1%eth0]:80", "an interface"),
        ("[fe80::1%" + "x" * 99 + "]:80", "an interface"),
        ("x" * 64 + ":80", "is no name of a host"),
        ("a..b:80", "is no name of a host"),
        ("\ud800:80", "is no name of a host"),
        ("a\0b:80", "is no name of a host"),
        ("user@host:80", "is no name of a host"),
        ("host/path:80", "is no name of a host"),
        (" host:80", "is no name of a host"),
        ("x" * 4000 + ":80", "a text of 4003 characters"),
    ],
)
def test_what_is_no_place_is_an_error_that_says_why(text, why):
    with pytest.raises(AddressError, match=why):
        Endpoint.parse(text)
