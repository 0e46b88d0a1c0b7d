"""Options as variables of the environment: `SCALER_CLUSTER_NUM_OF_WORKERS=8` is `scaler_cluster --num-of-workers 8`.

A batch script, a container or a systemd unit sets variables more easily than it edits a command line. The name is
SCALER_, the command's section, and the option in capitals with `_` for `-`. So one command's option never means another
command's: both a scheduler and a cluster have an address, and these differ.

A switch is 1, true, yes or on, or 0, false, no or off. A list of several words is split as a shell would do it. What is
empty counts as not set, since in many files of settings a variable can only be emptied.

Rule 1: what has such a name and is no option is an error, as it is on the command line: a misspelt option must not be
        passed over in silence.
Rule 2: what Kubernetes sets for each of its services is passed over: a service named scaler-ui makes SCALER_UI_PORT an
        address (tcp://10.0.0.7:50001), and one named scaler-scheduler makes several that begin like options.
Not here: SCALER_ADDRESS and SCALER_KEYS, which are for all programs that look for a scheduler (keys.find).
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from scaler.config.option import Option, options_of
from scaler.config.table import COMMANDS
from scaler.config.values import in_words, nearest
from scaler.exceptions import OptionError

CONFIG = "config"
_SERVICE_LINK = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def variable_of(command: str, name: str) -> str:
    """The variable of this option of a command."""
    return f"SCALER_{command}_{name}".upper()


def read_environment(command: str, variables: Mapping[str, str]) -> dict[str, Any]:
    """The options of this command that are set so, by name, the path of its file as "config". OptionError for whatever
    is wrong."""
    _, table, _ = COMMANDS[command]
    options = {variable_of(command, option.name): option for option in options_of(table)}
    config = variable_of(command, CONFIG)
    values: dict[str, Any] = {}
    for variable, text in variables.items():
        if not variable.startswith(variable_of(command, "")) or not text.strip() or _is_service_link(variable, text):
            continue
        if variable == config:
            values[CONFIG] = text
        elif variable not in options:
            raise OptionError(f"there is no option for the variable {variable}{nearest(variable, [*options, config])}")
        else:
            option = options[variable]
            values[option.name] = _read(option, variable, text)
    return values


def _read(option: Option, variable: str, text: str) -> Any:
    try:
        return option.accept(shlex.split(text)) if option.takes_words else option.read(text)
    except ValueError as error:
        raise OptionError(in_words(variable, error)) from None


def _is_service_link(variable: str, text: str) -> bool:
    """Whether Kubernetes has set this. Its ports are addresses, so a port that is a number is not one of these."""
    if not _SERVICE_LINK.fullmatch(variable):
        return False
    return not variable.endswith("_PORT") or bool(_SERVICE_ADDRESS.match(text)) or "_SERVICE_" in variable
