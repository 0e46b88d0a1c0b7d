"""docs/options.md is made from the table of options: `python -m tests.checks.options` fails if it is stale.

With `--write` it is written anew.
"""

import argparse
import difflib
import sys
from pathlib import Path

from scaler.config.command_line import default_of, explain, flags_of, usage_of
from scaler.config.environment import variable_of
from scaler.config.idle import sentence
from scaler.config.option import Option, options_of
from scaler.config.table import COMMANDS, GROUPS

PAGE = Path(__file__).parents[2] / "docs" / "options.md"
_HEAD = "| option | default | what it is | it must be |"
_INTRODUCTION = """\
# Options

Generated from `scaler/config/table.py`; change that and run `make options`.

The command line goes over variables of the environment, these over the file, the file over the defaults.

A variable is named after the command and the option: `SCALER_CLUSTER_NUM_OF_WORKERS=8` is `scaler_cluster
--num-of-workers 8`. A switch is `1`, `true`, `yes` or `on`, or the contrary; a list of several words is split as a
shell does it; an empty variable counts as not set. A name that begins like these and is no option is an error, but
not what Kubernetes sets for its services. `SCALER_ADDRESS` and `SCALER_KEYS` are for all programs that look for a
scheduler.

A file is TOML with a section per command, in which
options stand without their dashes in front (`_` for `-` is as good); `--config FILE` reads it:

```toml
[scheduler]
address = "tcp://127.0.0.1:2345"
protected = true

[cluster]
address = "tcp://127.0.0.1:2345"
worker-names = ["left", "right"]
```

An unknown option or a value that cannot be is one line on stderr and exit status 2, wherever it stands; the whole file
is checked by whichever command reads it. A switch is turned off by `--no-` in front of its name, in a file by `false`.
An option without effect says so once in the log when it is given another value than its default.
"""


def render() -> str:
    """The page as it should be."""
    return "\n".join([_INTRODUCTION, *(_command(name) for name in COMMANDS)])


def _command(name: str) -> str:
    _, table, about = COMMANDS[name]
    options = options_of(table)
    lines = [f"## `{usage_of(name)}`", "", f"Section `[{name}]`, variables `{variable_of(name, '')}...`. {about}", ""]
    lines += [f"`{option.name}`: {explain(option)}" for option in options if option.is_required]
    for group in GROUPS:
        members = [option for option in options if option.group == group and not option.is_required]
        if members:
            lines += ["", f"### {group}", "", _HEAD, "| --- | --- | --- | --- |"]
            lines += map(_row, members)
    return "\n".join([*lines, ""])


def _row(option: Option) -> str:
    text = f"{option.help}. {sentence(option, 'It')}" if option.is_idle else option.help
    wants = "" if option.is_switch or option.is_idle else option.wants
    cells = [f"`{flags_of(option)}`", default_of(option), text, wants]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description="compare docs/options.md with the table of options")
    parser.add_argument("--write", action="store_true", help="write the page instead")
    expected = render()
    if parser.parse_args().write:
        PAGE.write_text(expected)
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    if found != expected:
        names = "docs/options.md", "as the table has it"
        print("\n".join(difflib.unified_diff(found.splitlines(), expected.splitlines(), *names, n=0, lineterm="")))
        print("docs/options.md is stale: run `make options`")
    return int(found != expected)


if __name__ == "__main__":
    sys.exit(main())
