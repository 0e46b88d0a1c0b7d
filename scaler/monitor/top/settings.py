"""Settings: what the user has chosen, kept from one run to the next in a file of JSON under XDG_CONFIG_HOME.

Rule 1: a file that cannot be read, or holds what no longer is, is as if there were none for that part; nobody is
        stopped from looking at a scheduler by it.
"""

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scaler.monitor.top.table import Choice, View
from scaler.monitor.top.views import VIEWS

INTERVALS_S = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass
class Settings:
    view: str = VIEWS[0].name
    interval_s: float = INTERVALS_S[0]
    hide_idle: bool = False
    mouse: bool = True
    choices: dict[str, Choice] = field(default_factory=lambda: {view.name: Choice() for view in VIEWS})
    """Of each view."""


def path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".config") / "scaler" / "top.json"


def load(file: Path) -> Settings:
    """What the file says, as far as it says something that can be."""
    try:
        kept = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return Settings()
    return _of(kept) if isinstance(kept, dict) else Settings()


def _of(kept: dict[str, Any]) -> Settings:
    made = Settings()
    if kept.get("view") in {view.name for view in VIEWS}:
        made.view = kept["view"]
    if kept.get("interval_s") in INTERVALS_S:
        made.interval_s = float(kept["interval_s"])
    made.hide_idle = kept.get("hide_idle") is True
    made.mouse = kept.get("mouse") is not False
    sorts = kept.get("sort")
    for view in VIEWS:
        chosen = sorts.get(view.name) if isinstance(sorts, dict) else None
        if isinstance(chosen, dict) and _is_column(view, chosen.get("column")):
            made.choices[view.name] = Choice(chosen["column"], chosen.get("reversed") is True)
    return made


def _is_column(view: View, name: object) -> bool:
    return name == "" or (isinstance(name, str) and view.column(name) is not None)


def save(settings: Settings, file: Path) -> None:
    """Whole or not at all. A folder that cannot be written to is no reason to complain at the end of a run."""
    kept = {
        "view": settings.view,
        "interval_s": settings.interval_s,
        "hide_idle": settings.hide_idle,
        "mouse": settings.mouse,
        "sort": {
            name: {"column": choice.sort, "reversed": choice.is_reversed}
            for name, choice in settings.choices.items()
            if choice.sort or choice.is_reversed
        },
    }
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".top-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                json.dump(kept, opened, indent=2)
            os.replace(name, file)
        except OSError:
            os.unlink(name)
