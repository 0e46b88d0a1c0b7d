"""The command line of each program, made from its table: `read_command_line` gives the config.

Rule 1: the command line goes over variables of the environment, these over the file, the file over the defaults.
Rule 2: what is wrong is one line on stderr and exit status 2.
Rule 3: argparse only sorts the words. Values are read by their options, and -h is written here, so that both are worded
        alike wherever a value comes from and in every version of Python.
"""

import argparse
import os
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from scaler.config.environment import read_environment, variable_of
from scaler.config.idle import sentence
from scaler.config.option import Option, options_of
from scaler.config.table import COMMANDS, GROUPS, WORK
from scaler.config.toml_file import read_section
from scaler.config.values import in_words, make_config, nearest
from scaler.exceptions import OptionError

_CONFIG = Option("read options from this TOML file, section [{command}]", name="config", shown="FILE")
_HELP_COLUMN = 34


def read_command_line(command: str, arguments: Sequence[str]) -> Any:
    """The config of this command ("scheduler"). Ends the program for -h and for what is wrong."""
    _, table, _ = COMMANDS[command]
    parser = _Parser(command)
    try:
        given = {**read_environment(command, os.environ), **parser.parse(arguments)}
        path = given.pop("config", None)
        values = {**(read_section(path, command) if path else {}), **given}
        return make_config(table, values)
    except OptionError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


class _Parser(argparse.ArgumentParser):
    """Sorts the words of a command line by option. What was not given is not in the result."""

    def __init__(self, command: str) -> None:
        program, table, _ = COMMANDS[command]
        self._command = command
        self._options = {option.name: option for option in options_of(table)}
        super().__init__(program, argument_default=argparse.SUPPRESS, add_help=False)
        self.add_argument("-h", "--help", action="help")
        self.add_argument("--config")
        for option in self._options.values():
            self._add(option)

    def _add(self, option: Option) -> None:
        flags = [f"--{option.key}", *option.short]
        if option.is_required:
            self.add_argument(option.name, nargs="?")
        elif option.is_switch:
            self.add_argument(*flags, dest=option.name, action=argparse.BooleanOptionalAction)
        elif option.takes_words:
            self.add_argument(*flags, dest=option.name, nargs="+")
        else:
            self.add_argument(*flags, dest=option.name)

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The values that were given, by name."""
        given, rest = self.parse_known_args(arguments)
        for word in rest:
            name = word.partition("=")[0]
            if word.startswith("-"):
                known = [f"--{option.key}" for option in self._options.values()]
                self.error(f"there is no option {name}{nearest(name, known)}")
            self.error(f"{word} is one argument too many")
        words = vars(given)
        self._return_address(words)
        return {name: self._read(name, value) for name, value in words.items()}

    def _return_address(self, words: dict[str, Any]) -> None:
        """An option that takes several words has taken the address too if that came last."""
        for name, option in self._options.items():
            if option.takes_words and "address" not in words and "://" in words.get(name, [""])[-1]:
                words["address"] = words[name].pop()

    def _read(self, name: str, value: Any) -> Any:
        option = self._options.get(name)
        if option is None:
            return value
        shown = option.name if option.is_required else f"--{option.key}"
        try:
            return option.read(value) if isinstance(value, str) else option.accept(value)
        except ValueError as error:
            raise OptionError(in_words(shown, error)) from None

    def error(self, message: str) -> NoReturn:
        """Say it in one line and end with status 2."""
        message = " ".join(message.split()).removeprefix("argument ")
        self.exit(2, f"{self.prog}: {message} ({self.prog} -h shows all options)\n")

    def format_help(self) -> str:
        return format_help(self._command)


def format_help(command: str, width: int = 0) -> str:
    """What -h shows."""
    _, table, about = COMMANDS[command]
    width = width or max(60, min(shutil.get_terminal_size().columns, 120))
    options = options_of(table)
    required = [option for option in options if option.is_required]
    lines = [f"usage: {usage_of(command)}", ""]
    lines += [*textwrap.wrap(about, width), ""]
    for option in required:
        lines += _entry(f"  {option.name}", explain(option), width)
    lines += ["", *textwrap.wrap(_variables(command), width), "", "Options:"]
    lines += _entry("  -h, --help", "show this and end", width)
    lines += _entry("  --config FILE", _CONFIG.help.format(command=command), width)
    for group in GROUPS:
        members = [option for option in options if option.group == group and not option.is_required]
        if members:
            lines += ["", f"{group}:"]
        for option in members:
            lines += _entry(f"  {flags_of(option)}", explain(option), width)
    return "\n".join(lines) + "\n"


def usage_of(command: str) -> str:
    """How the command is called."""
    program, table, _ = COMMANDS[command]
    required = [option for option in options_of(table) if option.is_required]
    return " ".join([program, "[options]", *(f"[{each.name}]" if each.find else each.name for each in required)])


def _variables(command: str) -> str:
    """The sentence of -h about variables, with an option of the command's own as the example."""
    _, table, _ = COMMANDS[command]
    example = next(each for each in options_of(table) if not each.is_required and each.group == WORK)
    return (
        f"Each of these is also a variable of the environment, such as {variable_of(command, example.name)} for "
        f"--{example.key}. The command line goes over the environment, that over the file of --config, and this over "
        "the default."
    )


def flags_of(option: Option) -> str:
    """All flags of an option, with what they take."""
    flags = [*option.short, f"--{option.key}"]
    if option.is_switch:
        return ", ".join([*flags, f"--no-{option.key}"])
    value = option.shown or ("{" + "|".join(option.choices) + "}" if option.choices else option.kind.short)
    return f"{', '.join(flags)} {value}" + (f" [{value} ...]" if option.takes_words else "")


def explain(option: Option) -> str:
    """The help of an option with its default, and why it has no effect if it has none."""
    if option.is_required and not option.default_words:
        return option.help
    text = f"{option.help} (default: {default_of(option)})"
    return f"{text}; {sentence(option, 'it')}" if option.is_idle else text


def default_of(option: Option) -> str:
    """The default in words."""
    if option.default_words:
        return option.default_words
    if option.default is None:
        return "none"
    if option.is_switch:
        return "yes" if option.default else "no"
    if option.is_list:
        return " ".join(option.default)
    if option.unit == "bytes":
        return f"{option.default} bytes, {_in_binary(option.default)}"
    return f"{option.default} {option.unit}".rstrip()


def _in_binary(size_bytes: int) -> str:
    steps = (size_bytes.bit_length() - 1) // 10
    return f"{size_bytes / (1 << 10 * steps):g} {('', 'Ki', 'Mi', 'Gi', 'Ti')[steps]}B"


def _entry(left: str, text: str, width: int) -> list[str]:
    """One entry in two columns; the left one has a line of its own if it is long."""
    margin = " " * _HELP_COLUMN
    wrapped = textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin)
    if len(left) > _HELP_COLUMN - 2:
        return [left, *wrapped]
    return [left + wrapped[0][len(left) :], *wrapped[1:]]
