"""The table of options is whole: what one can say of all options alike."""

import dataclasses

import pytest

from scaler.address import Address
from scaler.config.option import options_of
from scaler.config.table import COMMANDS, GROUPS, ClusterConfig, SchedulerConfig
from scaler.config.values import make_config
from scaler.exceptions import OptionError

TABLES = [table for _, table, _ in COMMANDS.values()]
LOCAL = Address("127.0.0.1", 2345)


@pytest.mark.parametrize("table", TABLES)
def test_every_default_is_a_value_that_the_option_accepts(table):
    for option in options_of(table):
        if not option.is_required:
            assert option.accept(option.default) == option.default, option.name
            assert getattr(table, option.name) == option.default


@pytest.mark.parametrize("table", TABLES)
def test_every_option_has_a_known_group_and_a_help_that_is_no_sentence(table):
    for option in options_of(table):
        assert option.is_required or option.group in GROUPS, option.name
        assert option.help
        assert option.help[-1] not in ".;", option.name
        assert not (option.not_yet and option.no_more), option.name


@pytest.mark.parametrize("table", TABLES)
def test_no_flag_belongs_to_two_options(table):
    flags = [flag for option in options_of(table) for flag in (f"--{option.key}", *option.short)]
    assert len(flags) == len(set(flags))


def test_flags_that_programs_of_the_version_before_pass_are_still_there():
    expected = {
        SchedulerConfig: "--io-threads -mt -ct -wt -ot -ls -lbt -qs -e -p -lp -ll -lc -ma",
        ClusterConfig: "-n -wn -hi -tts -gc -ds -tm -el -it -hps -la -lp -ll --logging-config-file",
    }
    for table, flags in expected.items():
        known = {flag for option in options_of(table) for flag in (f"--{option.key}", *option.short)}
        assert set(flags.split()) <= known


def test_scheduler_beyond_loopback_wants_insecure():
    with pytest.raises(OptionError, match=r"other machines.*127\.0\.0\.1.*--insecure"):
        SchedulerConfig(address=Address("0.0.0.0", 1))
    assert SchedulerConfig(address=Address("0.0.0.0", 1), insecure=True).insecure
    assert not SchedulerConfig(address=LOCAL).insecure


def test_cluster_may_connect_to_another_machine_but_to_no_wildcard():
    assert ClusterConfig(address=Address("10.0.0.1", 1)).num_of_workers is None
    with pytest.raises(OptionError, match="leaves the port"):
        ClusterConfig(address=Address("127.0.0.1", 0))


def test_worker_names_are_as_many_as_workers():
    assert ClusterConfig(address=LOCAL, worker_names=("a", "b"), num_of_workers=2).worker_names == ("a", "b")
    with pytest.raises(OptionError, match="2 worker names for 3 workers"):
        ClusterConfig(address=LOCAL, worker_names=("a", "b"), num_of_workers=3)


@pytest.mark.parametrize("name", ["a\udc80", "a\nb", "\x1b[31m"])
def test_a_worker_s_name_can_be_shown_and_sent(name):
    with pytest.raises(OptionError, match="cannot be shown"):
        ClusterConfig(address=LOCAL, worker_names=("good", name))


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({}, "the address is missing"),
        ({"address": 3}, "address must be an address such as tcp://"),
        ({"address": "tcp://x"}, "address: 'tcp://x' has no port"),
        ({"address": LOCAL, "io_threads": 0}, "io_threads must be a whole number, at least 1, at most 1024, not 0"),
        ({"address": LOCAL, "io_threads": True}, "io_threads must be a whole number"),
        ({"address": LOCAL, "io_threads": 1.0}, "io_threads must be a whole number"),
        ({"address": LOCAL, "io_threads": None}, "io_threads must be a whole number"),
        ({"address": LOCAL, "client_timeout_seconds": float("nan")}, "must be a number of seconds"),
        ({"address": LOCAL, "protected": 1}, "protected must be true or false, not 1"),
        ({"address": LOCAL, "logging_level": "LOUD"}, "must be one of DEBUG, INFO"),
        ({"address": LOCAL, "logging_paths": []}, "logging_paths must be a list of texts"),
        ({"address": LOCAL, "logging_paths": ["a", 1]}, "logging_paths must be a list of texts"),
        ({"address": LOCAL, "protectd": True}, "there is no option protectd; did you mean protected"),
    ],
)
def test_values_that_cannot_be_are_named_with_what_they_should_be(values, why):
    with pytest.raises(OptionError, match=why):
        make_config(SchedulerConfig, values)


def test_values_are_taken_as_programs_write_them():
    config = make_config(
        SchedulerConfig,
        {"address": "ipc:///tmp/x", "client_timeout_seconds": 2.5, "logging_paths": "a", "monitor_address": None},
    )
    assert config == SchedulerConfig(address=Address(path="/tmp/x"), client_timeout_seconds=2.5, logging_paths=("a",))
    cluster = make_config(ClusterConfig, {"address": LOCAL, "worker_names": ["a", "b"], "ring_bytes": 65536})
    assert cluster.worker_names == make_config(ClusterConfig, {"address": LOCAL, "worker_names": "a, b"}).worker_names
    with pytest.raises(OptionError, match=r"ring_bytes must be .* a power of two, at least 65536"):
        make_config(ClusterConfig, {"address": LOCAL, "ring_bytes": 65537})


def test_configs_cannot_be_changed():
    config = SchedulerConfig(address=LOCAL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.io_threads = 2  # type: ignore[misc]
