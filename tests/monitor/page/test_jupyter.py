"""The entry for jupyter-server-proxy: its command is one that scaler_ui takes, and its token lets it in."""

from importlib.metadata import entry_points

from scaler.config.command_line import read_command_line
from scaler.monitor.page.jupyter import set_up
from scaler.monitor.page.security import Guard


def test_jupyter_finds_the_entry():
    found = [each for each in entry_points(group="jupyter_serverproxy_servers") if each.name == "scaler"]
    assert [each.value for each in found] == ["scaler.monitor.page.jupyter:set_up"]


def test_the_command_can_be_run_and_shows_what_the_environment_names(monkeypatch):
    monkeypatch.setenv("SCALER_MONITOR_ADDRESS", "tcp://127.0.0.1:7777")
    program, *arguments = [word.format(port=5) for word in set_up()["command"]]
    config = read_command_line("ui", arguments)
    assert (program, config.port, config.monitor_address) == ("scaler_ui", 5, "tcp://127.0.0.1:7777")


def test_only_the_proxy_that_started_it_is_let_in():
    said = set_up()
    guard = Guard.make("127.0.0.1", said["environment"]["SCALER_UI_TOKEN"], ())
    token = said["request_headers_override"]["Authorization"].removeprefix("Bearer ")
    hub = {"Host": "hub.example.org", "Origin": "https://hub.example.org"}
    assert guard.why_not(hub, token) is None
    assert guard.why_not({"Host": "localhost:5"}, "") is not None
    assert set_up()["environment"] != said["environment"]
