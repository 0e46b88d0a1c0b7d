"""Idle options: those that are accepted and change nothing. A user who sets one is told so, once."""

import logging
from typing import Any

from scaler.config.option import Option, options_of

_log = logging.getLogger(__name__)
_told: set[tuple[type, str]] = set()


def warn_of_idle(config: Any, prefix: str = "") -> None:
    """Log a warning for each option without effect that has another value than its default. `prefix` as in --name."""
    for option in options_of(type(config)):
        if not option.is_idle or getattr(config, option.name) == option.default:
            continue
        if (type(config), option.name) in _told:
            continue
        _told.add((type(config), option.name))
        _log.warning("%s", sentence(option, prefix + option.key if prefix else option.code_name))


def sentence(option: Option, name: str) -> str:
    """Why this option changes nothing."""
    if option.not_yet:
        return f"{name} has no effect yet: {option.not_yet}"
    return f"{name} is deprecated and has no effect: {option.no_more}"
