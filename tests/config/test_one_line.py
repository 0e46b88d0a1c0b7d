"""An option is one line of the table: all ways in which it can be given are made from that, or are compared with it."""

import inspect
from pathlib import Path

import pytest

from scaler import Cluster, Scheduler, SchedulerClusterCombo
from scaler.config.command_line import flags_of, format_help
from scaler.config.option import Option, options_of
from scaler.config.table import COMMANDS, ClusterConfig
from scaler.config.toml_file import read_section
from scaler.config.values import for_workers, make_config
from tests.checks import options as page
from tests.checks import signatures

DOCS = (Path(__file__).parents[2] / "docs" / "options.md").read_text()
START = {"scheduler": Scheduler, "cluster": Cluster}
EVERY = [
    pytest.param(command, option, id=f"{command}-{option.key}")
    for command, (_, table, _) in COMMANDS.items()
    for option in options_of(table)
    if not option.is_required
]


def written(option: Option) -> str:
    """A value as a file has it."""
    value = option.default
    if option.is_switch:
        return str(value).lower()
    if option.choices:
        return f'"{value or option.choices[0]}"'
    if option.is_list:
        return '["a"]'
    if isinstance(value, int | float):
        return str(value)
    if "ADDRESS" in flags_of(option):
        return '"tcp://127.0.0.1:5"'
    return "3" if option.least is not None else '"/tmp"'


@pytest.mark.parametrize(("command", "option"), EVERY)
def test_an_option_can_be_given_in_every_way_there_is(command, option, tmp_path):
    file = tmp_path / "options.toml"
    file.write_text(f"[{command}]\n{option.key} = {written(option)}\n")
    assert option.name in read_section(str(file), command)
    assert f"--{option.key}" in format_help(command, 120)
    assert flags_of(option).replace("|", "\\|") in DOCS
    if command not in START:  # a viewer, which is not started from code
        return
    assert option.code_name in inspect.signature(START[command]).parameters
    assert option.combo_name in inspect.signature(SchedulerClusterCombo).parameters


def test_what_is_made_from_the_table_is_as_the_table_has_it():
    assert page.render() == page.PAGE.read_text()
    assert signatures.render() == signatures.PAGE.read_text()


def test_each_worker_is_told_of_the_options_that_are_for_workers():
    config = make_config(ClusterConfig, {"address": "tcp://127.0.0.1:9", "worker_max_tasks": 7})
    told = for_workers(config)
    assert told["worker_max_tasks"] == 7
    assert set(told) == {option.name for option in options_of(ClusterConfig) if option.for_workers}
