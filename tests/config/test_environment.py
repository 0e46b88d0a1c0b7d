"""Options as variables of the environment: all there are, checked as elsewhere, and in their place in the order."""

import pytest

from scaler.config.command_line import format_help, read_command_line
from scaler.config.environment import read_environment, variable_of
from scaler.config.option import options_of
from scaler.config.table import COMMANDS
from scaler.exceptions import OptionError

LOCAL = "tcp://127.0.0.1:2345"
EVERY = [
    pytest.param(command, option, id=f"{command}-{option.key}")
    for command, (_, table, _) in COMMANDS.items()
    for option in options_of(table)
]


def text_of(option):
    """A value of this option as a variable has it."""
    if option.is_switch:
        return "no" if option.default else "yes"
    if option.choices:
        return option.choices[-1]
    if option.kind.short == "ADDRESS":
        return LOCAL
    if option.kind.short == "N":
        return str(max(option.least or 0, 64) if not option.is_power_of_two else int(option.least))
    return "/tmp"


@pytest.mark.parametrize(("command", "option"), EVERY)
def test_every_option_is_a_variable_too(command, option):
    text = text_of(option)
    found = read_environment(command, {variable_of(command, option.name): text})
    assert found == {option.name: option.accept(option.read(text))}
    assert found[option.name] != option.default or option.name == "io_threads"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_how_variables_are_called(command):
    text = " ".join(format_help(command).split())
    assert f"variable of the environment, such as SCALER_{command.upper()}_" in text


def test_the_command_line_goes_over_variables_and_these_over_the_file(tmp_path, monkeypatch):
    path = tmp_path / "scaler.toml"
    path.write_text(f'[cluster]\naddress = "{LOCAL}"\nnum-of-workers = 5\nring-bytes = 65536\nevent-loop = "uvloop"\n')
    monkeypatch.setenv("SCALER_CLUSTER_CONFIG", str(path))
    monkeypatch.setenv("SCALER_CLUSTER_NUM_OF_WORKERS", "6")
    monkeypatch.setenv("SCALER_CLUSTER_RING_BYTES", "131072")
    monkeypatch.setenv("SCALER_SCHEDULER_EVENT_LOOP", "nonsense of another command")
    config = read_command_line("cluster", ["-n", "7"])
    assert (config.num_of_workers, config.ring_bytes, config.event_loop) == (7, 131072, "uvloop")
    monkeypatch.setenv("SCALER_CLUSTER_CONFIG", "/nonexistent")
    assert read_command_line("cluster", ["--config", str(path)]).num_of_workers == 6


@pytest.mark.parametrize("text", ["1", "true", "YES", "on"])
def test_a_switch_is_turned_on_in_words(text):
    assert read_environment("scheduler", {"SCALER_SCHEDULER_PROTECTED": text}) == {"protected": True}


def test_words_are_split_as_a_shell_does_it():
    found = read_environment("scheduler", {"SCALER_SCHEDULER_LOGGING_PATHS": "/dev/stderr '/tmp/a log'"})
    assert found == {"logging_paths": ("/dev/stderr", "/tmp/a log")}


def test_an_empty_variable_is_not_set():
    assert read_environment("cluster", {"SCALER_CLUSTER_KEYS": "", "SCALER_CLUSTER_NUM_OF_WORKERS": " "}) == {}


@pytest.mark.parametrize(
    ("variable", "text", "why"),
    [
        ("SCALER_CLUSTER_NUM_OF_WORKERS", "many", "SCALER_CLUSTER_NUM_OF_WORKERS must be a whole number"),
        ("SCALER_CLUSTER_NUM_WORKERS", "3", "did you mean SCALER_CLUSTER_NUM_OF_WORKERS?"),
        ("SCALER_CLUSTER_HARD_PROCESSOR_SUSPEND", "maybe", "must be true or false, not 'maybe'"),
        ("SCALER_CLUSTER_LOGGING_PATHS", "'open", "SCALER_CLUSTER_LOGGING_PATHS"),
        ("SCALER_CLUSTER_ADDRESS", "nowhere", "SCALER_CLUSTER_ADDRESS"),
    ],
)
def test_what_is_wrong_is_named_by_its_variable(variable, text, why):
    with pytest.raises(OptionError, match=variable) as raised:
        read_environment("cluster", {variable: text})
    assert why in str(raised.value)


def test_what_kubernetes_sets_for_its_services_is_passed_over():
    links = {
        "SCALER_UI_PORT": "tcp://10.0.0.7:50001",
        "SCALER_UI_SERVICE_HOST": "10.0.0.7",
        "SCALER_UI_SERVICE_PORT": "50001",
        "SCALER_UI_SERVICE_PORT_HTTP": "50001",
        "SCALER_UI_PORT_50001_TCP": "tcp://10.0.0.7:50001",
        "SCALER_UI_PORT_50001_TCP_ADDR": "10.0.0.7",
        "SCALER_UI_PUBLIC_PORT": "tcp://10.0.0.7:80",
    }
    assert read_environment("ui", links) == {}
    assert read_environment("ui", {"SCALER_UI_PORT": "8080"}) == {"port": 8080}
