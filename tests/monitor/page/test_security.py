"""Who may look, as a function of what a request says."""

import pytest

from scaler.monitor.page.security import Guard, name_of

LOCAL = Guard.make("127.0.0.1", None, ())
OPEN = Guard.make("0.0.0.0", "secret", ())


@pytest.mark.parametrize("host", ["127.0.0.1:50001", "localhost:50001", "[::1]:50001", "LOCALHOST", "localhost"])
def test_loopback_by_any_of_its_names_comes_in_without_a_token(host):
    assert LOCAL.why_not({"Host": host}) is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:50001", "", "localhost.evil.example", "[::"])
def test_a_name_that_was_made_to_point_here_is_refused(host):
    refused = LOCAL.why_not({"Host": host})
    assert refused is not None
    assert refused[0] == 403
    assert "--allowed-hosts" in refused[1]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:8888", "http://127.0.0.1.evil.org"]
)
def test_another_pages_origin_is_refused(origin):
    refused = LOCAL.why_not({"Host": "localhost:50001", "Origin": origin})
    assert refused is not None
    assert refused[0] == 403


def test_the_pages_own_origin_comes_in():
    assert LOCAL.why_not({"Host": "localhost:50001", "Origin": "http://localhost:50001"}) is None


def test_beyond_loopback_there_is_a_token_even_if_none_was_given():
    guard = Guard.make("0.0.0.0", None, ())
    assert len(guard.token) >= 24
    assert Guard.make("192.0.2.7", None, ()).token != guard.token
    assert guard.why_not({"Host": "192.0.2.7:1"}) is not None
    assert guard.why_not({"Host": "192.0.2.7:1"}, guard.token) is None


@pytest.mark.parametrize("given", ["", "secre", "secrets", "SECRET", "sécret"])
def test_a_wrong_token_is_refused(given):
    refused = OPEN.why_not({"Host": "192.0.2.7"}, given)
    assert refused is not None
    assert refused[0] == 401


def test_with_a_token_a_foreign_origin_is_refused_all_the_same():
    assert OPEN.why_not({"Host": "box:1", "Origin": "http://evil.example"}, "secret") is not None


def test_a_proxys_name_comes_in_once_it_is_allowed():
    behind = Guard.make("127.0.0.1", None, ("hub.example.org",))
    said = {"Host": "hub.example.org", "Origin": "https://hub.example.org"}
    assert behind.why_not(said) is None
    assert behind.why_not({"Host": "localhost:50001", "Origin": "https://hub.example.org"}) is None
    assert LOCAL.why_not(said) is not None


def test_the_name_in_a_host_header():
    assert [name_of(text) for text in ("[::1]:5", "A.b:80", "x", "[")] == ["::1", "a.b", "x", ""]
