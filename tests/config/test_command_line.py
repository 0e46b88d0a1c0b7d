"""Command lines: what is read, what goes over what, one line for what is wrong, and a help that is whole."""

import re

import pytest

from scaler.address import Address
from scaler.config.command_line import format_help, read_command_line
from scaler.config.option import options_of
from scaler.config.table import COMMANDS, SchedulerConfig

LOCAL = "tcp://127.0.0.1:2345"


def wrong(capsys, command, *arguments):
    """The line that these arguments bring."""
    with pytest.raises(SystemExit) as ended:
        read_command_line(command, arguments)
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err


def test_an_address_is_enough():
    assert read_command_line("scheduler", [LOCAL]) == SchedulerConfig(address=Address.parse(LOCAL))


def test_long_and_short_flags_and_abbreviations():
    config = read_command_line("cluster", ["-n", "3", "-hi", "5", "--death-timeout-seconds=7.5", "-e", "uvloop", LOCAL])
    assert (config.num_of_workers, config.heartbeat_interval, config.death_timeout_seconds) == (3, 5, 7.5)
    assert config.event_loop == "uvloop"
    assert read_command_line("cluster", ["-n3", "--death", "9", LOCAL]).death_timeout_seconds == 9
    assert read_command_line("cluster", [LOCAL, "-wn", "left,right"]).worker_names == ("left", "right")


def test_switches_have_a_negation():
    assert read_command_line("scheduler", [LOCAL, "-p"]).protected
    assert read_command_line("scheduler", [LOCAL, "--protected"]).protected
    assert not read_command_line("scheduler", [LOCAL, "-p", "--no-protected"]).protected


def test_logging_paths_leave_the_address_alone():
    for arguments in ([LOCAL, "-lp", "a", "b"], ["-lp", "a", "b", LOCAL], ["-lp", "a", "b", "--", LOCAL]):
        config = read_command_line("scheduler", arguments)
        assert (config.logging_paths, str(config.address)) == (("a", "b"), LOCAL)


def test_command_line_goes_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "scaler.toml"
    path.write_text(f'[scheduler]\naddress = "{LOCAL}"\nprotected = true\nper-worker-queue-size = 5\n')
    config = read_command_line("scheduler", ["--config", str(path), "-qs", "7", "--no-protected"])
    assert (str(config.address), config.per_worker_queue_size, config.protected) == (LOCAL, 7, False)
    assert read_command_line("scheduler", ["--config", str(path)]).per_worker_queue_size == 5
    assert str(read_command_line("scheduler", ["--config", str(path), "ipc://x"]).address) == "ipc://x"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "the address is missing"),
        (["tcp://127.0.0.1"], "has no port"),
        ([LOCAL, "--portected"], "there is no option --portected; did you mean --protected?"),
        ([LOCAL, "--xyzzy=3"], "there is no option --xyzzy ("),
        ([LOCAL, "more"], "more is one argument too many"),
        ([LOCAL, "--io-threads", "many"], "--io-threads must be a whole number, at least 1, at most 1024, not 'many'"),
        ([LOCAL, "-qs", "0"], "--per-worker-queue-size must be a whole number, at least 1"),
        ([LOCAL, "-ll", "LOUD"], "--logging-level must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'LOUD'"),
        ([LOCAL, "--io-threads"], "--io-threads: expected one argument"),
        ([LOCAL, "--log", "x"], "ambiguous option: --log"),
        (["-lp", LOCAL], "--logging-paths must be a list of texts"),
        (["tcp://0.0.0.0:1"], "accept it with --insecure"),
        ([LOCAL, "--config", "/nonexistent.toml"], "/nonexistent.toml cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line_and_status_2(capsys, arguments, why):
    line = wrong(capsys, "scheduler", *arguments)
    assert why in line
    assert line.startswith("scaler_scheduler: ")


def test_mistakes_in_the_file_are_told_alike(capsys, tmp_path):
    path = tmp_path / "scaler.toml"
    path.write_text("[scheduler]\nprotectd = true\n")
    assert "did you mean protected?" in wrong(capsys, "cluster", "--config", str(path), LOCAL)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option_with_its_default_and_fits_the_line(capsys, command):
    with pytest.raises(SystemExit) as ended:
        read_command_line(command, ["-h"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    program, table, _ = COMMANDS[command]
    required = next(option for option in options_of(table) if option.is_required)
    word = f"[{required.name}]" if required.find else required.name
    assert re.match(rf"usage: {program} \[options\] {re.escape(word)}( service_name)?\n", shown)
    text = format_help(command, 80)
    assert max(map(len, text.splitlines())) <= 80
    for option in options_of(table):
        assert option.is_required or f"--{option.key}" in text
    without_default = [option for option in options_of(table) if option.is_required and option.find is None]
    assert text.count("(default:") == len(options_of(table)) - len(without_default)
