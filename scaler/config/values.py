"""From values of options, wherever they come from, to a config that is checked as a whole."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from scaler.config.option import Option, options_of
from scaler.config.table import Config
from scaler.exceptions import AddressError, OptionError

_C = TypeVar("_C", bound=Config)


def make_config(table: type[_C], values: dict[str, Any]) -> _C:
    """The config with these values by name, and defaults for the rest. OptionError says what cannot be."""
    known = {option.name: option for option in options_of(table)}
    for name in values:
        if name not in known:
            raise OptionError(f"there is no option {name}{nearest(name, known)}")
    for option in known.values():
        if option.is_required and option.name not in values:
            if option.find is not None:
                values = {**values, option.name: _found(option.find)}
                continue
            raise OptionError(f"the {option.name} is missing: {option.help}")
    return table(**{name: accept(known[name], known[name].code_name, value) for name, value in values.items()})


def _found(find: Callable[[], str]) -> str:
    try:
        return find()
    except AddressError as error:
        raise OptionError(str(error)) from None


def from_code(table: type[Config], arguments: dict[str, Any]) -> dict[str, Any]:
    """What `make_config` is to get of the arguments of Scheduler or Cluster."""
    return {option.name: _listed(option, arguments[option.code_name]) for option in options_of(table)}


def part_of_combo(table: type[Config], arguments: dict[str, Any]) -> dict[str, Any]:
    """What Scheduler or Cluster is to get of the arguments of SchedulerClusterCombo.

    Lists are made of iterators in `arguments` itself: both may get what can be gone through only once.
    """
    for option in options_of(table):
        arguments[option.combo_name] = _listed(option, arguments[option.combo_name])
    return {option.code_name: arguments[option.combo_name] for option in options_of(table)}


def _listed(option: Option, value: Any) -> Any:
    """A program may give any iterable where the option is a list."""
    return list(value) if option.is_list and not isinstance(value, str) else value


def for_workers(config: Config) -> dict[str, Any]:
    """The options of which each worker is told, by name."""
    return {option.name: getattr(config, option.name) for option in options_of(type(config)) if option.for_workers}


def accept(option: Option, name: str, value: Any) -> Any:
    """The value as the option wants it. OptionError calls the option by this name."""
    try:
        return option.accept(value)
    except ValueError as error:
        raise OptionError(in_words(name, error)) from None


def in_words(name: str, error: ValueError) -> str:
    """One sentence about a value that the option of this name cannot have."""
    return f"{name} {error}" if str(error).startswith("must ") else f"{name}: {error}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what may have been meant, or nothing."""
    import difflib  # takes as long as all the rest here, and is for mistakes only

    close = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {close[0]}?" if close else ""
