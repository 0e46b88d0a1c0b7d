"""The file behind --config: TOML, a section per command, the options' names without dashes in front.

    [scheduler]
    address = "tcp://127.0.0.1:2345"
    protected = true

    [cluster]
    num-of-workers = 4

Rule 1: the whole file is checked whichever command reads it, so that a mistake is found when it is made.
"""

import tomllib
from typing import Any

from scaler.config.option import options_of
from scaler.config.table import COMMANDS
from scaler.config.values import accept, nearest
from scaler.exceptions import OptionError


def read_section(path: str, command: str) -> dict[str, Any]:
    """The values that the file has for this command, by name. OptionError for whatever is wrong with any of it."""
    sections = {name: _checked(path, name, content) for name, content in _load(path).items()}
    return sections.get(command, {})


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} is no TOML: {error}") from None


def _checked(path: str, section: str, content: Any) -> dict[str, Any]:
    if section not in COMMANDS:
        if isinstance(content, dict):
            raise OptionError(f"{path}: there is no section [{section}]{nearest(section, COMMANDS)}{_sections()}")
        raise OptionError(f"{path}: {section} stands outside of a section{_sections()}")
    if not isinstance(content, dict):
        raise OptionError(f"{path}: {section} must be a section, written as [{section}]")
    _, table, _ = COMMANDS[section]
    known = {option.key: option for option in options_of(table)}
    values: dict[str, Any] = {}
    for written, value in content.items():
        key = written.replace("_", "-")
        where = f"{path}: {written} in [{section}]"
        if key not in known:
            raise OptionError(f"{path}: there is no option {written} in [{section}]{nearest(key, known)}")
        if known[key].name in values:
            raise OptionError(f"{where} is there twice, with - and with _")
        values[known[key].name] = accept(known[key], where, value)
    return values


def _sections() -> str:
    return f" (sections are {', '.join(f'[{name}]' for name in COMMANDS)})"
