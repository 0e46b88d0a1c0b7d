"""scaler/cluster/signatures.py is made from the table of options: `python -m tests.checks.signatures` fails if it is
stale.

With `--write` it is written anew. It has what Scheduler, Cluster and SchedulerClusterCombo take, as plain signatures,
so that mypy, editors and `help` see every option with its type and default. Signatures that were made when the program
runs would be seen by `help` alone, and a TypedDict (`**options: Unpack[...]`) neither shows defaults nor takes an
argument without its name, as programs of version 1 give some.
"""

import argparse
import difflib
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

from scaler.address import Address
from scaler.config.option import Option, options_of
from scaler.config.table import ClusterConfig, SchedulerConfig

PAGE = Path(__file__).parents[2] / "scaler" / "cluster" / "signatures.py"
_HEAD = '''\
"""What Scheduler, Cluster and SchedulerClusterCombo take: made from scaler/config/table.py, so change that file and run
`make options`.

Not here: what the options mean (config.table, docs/options.md), what is done with them (launch, combo).
"""

from collections.abc import Iterable
from typing import Any

from scaler.config.table import ClusterConfig, SchedulerConfig

# fmt: off
'''
# What may be given without its name, in the order of version 1. It does not grow: an option added later has a name.
POSITIONAL: dict[str, tuple[str, ...]] = {
    "SchedulerSignature": ("address",),
    "ClusterSignature": ("address", "n_workers"),
    "ComboSignature": (
        "n_workers", "address", "monitor_address", "worker_io_threads", "scheduler_io_threads",
        "max_number_of_tasks_waiting", "heartbeat_interval_seconds", "client_timeout_seconds", "worker_timeout_seconds",
        "object_retention_seconds", "task_timeout_seconds", "death_timeout_seconds", "load_balance_seconds",
        "load_balance_trigger_times", "garbage_collect_interval_seconds", "trim_memory_threshold_bytes",
        "per_worker_queue_size", "hard_processor_suspend", "protected", "event_loop", "logging_paths", "logging_level",
        "logging_config_file",
    ),
}  # fmt: skip
# What a program must give, and what it need not though a command must be told it.
NEEDED = {"SchedulerSignature": (), "ClusterSignature": ("address",), "ComboSignature": ("n_workers",)}
TABLES: dict[str, tuple[type, ...]] = {
    "SchedulerSignature": (SchedulerConfig,),
    "ClusterSignature": (ClusterConfig,),
    "ComboSignature": (SchedulerConfig, ClusterConfig),
}


def render() -> str:
    """The file as it should be."""
    return "\n".join([_HEAD, *(line for name in TABLES for line in _class(name))])


def _class(name: str) -> Iterator[str]:
    options: dict[str, tuple[type, Option]] = {}
    for table in TABLES[name]:
        for option in options_of(table):
            options.setdefault(option.combo_name if len(TABLES[name]) > 1 else option.code_name, (table, option))
    yield from ("", f"class {name}:", "    def __init__(", "        self,")
    yield from (_parameter(name, each, *options.pop(each)) for each in POSITIONAL[name])
    yield "        *,"
    yield from (_parameter(name, each, table, option) for each, (table, option) in options.items())
    yield "    ) -> None:"
    yield '        self._begin({name: value for name, value in locals().items() if name != "self"})'
    yield ""
    yield "    def _begin(self, arguments: dict[str, Any]) -> None:"
    yield '        """Start what this is, with all arguments by name."""'
    yield "        raise NotImplementedError"
    yield ""


def _parameter(signature: str, name: str, table: type, option: Option) -> str:
    is_needed = name in NEEDED[signature]
    kind = _type(table, option)
    if is_needed:
        return f"        {name}: {kind.removesuffix(' | None')},"
    if option.is_required:
        return f"        {name}: {kind} | None = None,"
    if option.code_default is not None:
        default = _shown(option.code_default)
    else:
        default = "None" if option.default is None else f"{table.__name__}.{option.name}"
    return f"        {name}: {kind} = {default},"


def _shown(value: object) -> str:
    return '("/dev/stderr",)' if value == ("/dev/stderr",) else repr(value).replace("'", '"')


def _type(table: type, option: Option) -> str:
    """As a program gives it: an address and one of several words are texts, and a list may be any iterable."""
    hint = typing.get_type_hints(table)[option.name]
    none = " | None" if option.may_be_none else ""
    if option.is_list:
        return "Iterable[str]"
    if option.choices:
        return "str" + none
    kind = next((part for part in typing.get_args(hint) if part is not type(None)), hint)
    return ("str" if kind is Address else kind.__name__) + none


def main() -> int:
    parser = argparse.ArgumentParser(description="compare scaler/cluster/signatures.py with the table of options")
    parser.add_argument("--write", action="store_true", help="write the file instead")
    expected = render()
    if parser.parse_args().write:
        PAGE.write_text(expected)
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    if found != expected:
        names = "scaler/cluster/signatures.py", "as the table has it"
        print("\n".join(difflib.unified_diff(found.splitlines(), expected.splitlines(), *names, n=0, lineterm="")))
        print("scaler/cluster/signatures.py is stale: run `make options`")
    return int(found != expected)


if __name__ == "__main__":
    sys.exit(main())
