"""Option: what there is to know of one option, and what its values may be.

The options of a command are the fields of a dataclass (table), each declared in one line by `option` or `required`. All
else is made from that: the command line and its help, the reader of TOML files, docs/options.md, what Scheduler,
Cluster and SchedulerClusterCombo take (cluster.signatures), and what each worker is told.

Rule 1: code that reads a value, from wherever, asks `read` (of a text) or `accept` (of anything else). Both raise
        ValueError with the end of a sentence, such as "must be a whole number, at least 1, not 'x'".
Not here: the options themselves (table).
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from scaler.address import EXAMPLES, Address

_KEY = "option"
_T = TypeVar("_T")
_SWITCHES = {word: True for word in ("1", "true", "yes", "on")} | {word: False for word in ("0", "false", "no", "off")}


@dataclass(frozen=True)
class Kind:
    """A type of values: in words, how the help abbreviates it, and how one is made of a text or of another value."""

    words: str
    short: str
    read: Callable[[str], Any]
    accept: Callable[[Any], Any]


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return value  # type: ignore[no-any-return]


def _number_of_text(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return _number(float(text))


def _switch(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _switch_of_text(text: str) -> bool:
    found = _SWITCHES.get(text.strip().lower())
    if found is None:
        raise ValueError
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        raise ValueError
    return tuple(map(_text, value))


def _address(value: Any) -> Address:
    return value if isinstance(value, Address) else Address.parse(_text(value))


_KINDS: dict[Any, Kind] = {
    int: Kind("a whole number", "N", int, _whole),
    float: Kind("a number", "N", _number_of_text, _number),
    bool: Kind("true or false", "", _switch_of_text, _switch),
    str: Kind("a text", "TEXT", _text, _text),
    tuple[str, ...]: Kind("a list of texts, none empty", "TEXT", lambda text: (text,), _texts),
    Address: Kind(f"an address such as {EXAMPLES}", "ADDRESS", Address.parse, _address),
}


@dataclass(frozen=True)
class Option:
    """One option of a command."""

    help: str
    short: tuple[str, ...] = ()  # flags besides the long one
    group: str = ""
    unit: str = ""
    least: float | None = None
    most: float | None = None
    is_power_of_two: bool = False
    separator: str = ""  # of a list that is given as one word
    shown: str = ""  # what the help calls a value, if not by its kind
    default_words: str = ""  # in place of the default
    not_yet: str = ""  # it has no effect yet: which feature comes later
    no_more: str = ""  # it has no effect: why there is nothing to set any more
    in_code: str = ""  # its name as an argument of Scheduler and Cluster, if it has another one there
    in_combo: str = ""  # its name as an argument of SchedulerClusterCombo, if that is yet another one
    code_default: Any = None  # its default as such an argument, if that is not the command's
    for_workers: bool = False  # each worker of a cluster is told of it
    find: Callable[[], str] | None = None  # what looks for a value if none is given to a command that wants one
    # What follows comes from the field.
    name: str = ""
    default: Any = None
    kind: Kind = _KINDS[str]
    choices: tuple[str, ...] = ()
    is_required: bool = False
    may_be_none: bool = False

    @property
    def key(self) -> str:
        """Its name in a file and, with two dashes, on the command line."""
        return self.name.replace("_", "-")

    @property
    def code_name(self) -> str:
        """Its name as an argument of Scheduler and Cluster."""
        return self.in_code or self.name

    @property
    def combo_name(self) -> str:
        """Its name as an argument of SchedulerClusterCombo."""
        return self.in_combo or self.code_name

    @property
    def is_idle(self) -> bool:
        return bool(self.not_yet or self.no_more)

    @property
    def is_switch(self) -> bool:
        return self.kind is _KINDS[bool]

    @property
    def is_list(self) -> bool:
        return self.kind is _KINDS[tuple[str, ...]]

    @property
    def takes_words(self) -> bool:
        """It takes several words of a command line."""
        return self.is_list and not self.separator

    @property
    def wants(self) -> str:
        """What a value must be, in words."""
        words = f"one of {', '.join(self.choices)}" if self.choices else self.kind.words
        words += f" of {self.unit}" if self.unit else ""
        words += ", a power of two" if self.is_power_of_two else ""
        words += f", at least {self.least}" if self.least is not None else ""
        words += f", at most {self.most}" if self.most is not None else ""
        return words

    def read(self, text: str) -> Any:
        """The value that this text means."""
        if self.separator:
            return self._checked(tuple(part.strip() for part in text.split(self.separator)), text, self.kind.accept)
        return self._checked(text, text, self.kind.read)

    def accept(self, value: Any) -> Any:
        """This value of a program or a file, if it is one that the option can have."""
        if value is None and self.may_be_none:
            return None
        if self.separator and isinstance(value, str):
            return self.read(value)
        return self._checked(value, value, self.kind.accept)

    def _checked(self, source: Any, shown: Any, convert: Callable[[Any], Any]) -> Any:
        try:
            value = convert(source)
        except ValueError as error:
            raise ValueError(str(error) if self._explains(source) else f"must be {self.wants}, not {shown!r}") from None
        if not self._is_possible(value):
            raise ValueError(f"must be {self.wants}, not {shown!r}")
        return value

    def _explains(self, source: Any) -> bool:
        """Whether the error of the conversion says more than we could."""
        return self.kind is _KINDS[Address] and isinstance(source, str)

    def _is_possible(self, value: Any) -> bool:
        return (
            (not self.choices or value in self.choices)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (not self.is_power_of_two or value & (value - 1) == 0)
            and (not self.is_list or (all(value) and (value or not self.default)))
        )


def option(default: _T, help: str, *short: str, **about: Any) -> _T:
    """A field of a table: an option with this default. `about` is the rest of Option."""
    return dataclasses.field(default=default, metadata={_KEY: Option(help, short, default=default, **about)})


def required(help: str, **about: Any) -> dict[str, Option]:
    """The metadata of a field of a table that has no flag, and no default but what `find` says when it is asked."""
    return {_KEY: Option(help, is_required=True, **about)}


def options_of(table: type) -> tuple[Option, ...]:
    """The options of a table, in its order."""
    hints = typing.get_type_hints(table)
    return tuple(_completed(field, hints[field.name]) for field in dataclasses.fields(table))


def _completed(field: "dataclasses.Field[Any]", hint: Any) -> Option:
    may_be_none = typing.get_origin(hint) in (types.UnionType, typing.Union)
    if may_be_none:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    about: Option = field.metadata[_KEY]
    return dataclasses.replace(
        about, name=field.name, kind=_KINDS[str if choices else hint], choices=choices, may_be_none=may_be_none
    )
