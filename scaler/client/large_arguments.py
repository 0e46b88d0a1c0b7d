"""LargeArguments: says once for each function that its calls ship the same large argument again and again.

What is passed to many tasks is to be sent once (`send_object`): an array that comes again is not written again, but its
bytes are compared each time, and anything else is pickled and written for each task. The program goes on; the warning
names the function, the argument, its size and the line of the call.

Rule 1: nothing is done here, and nothing is noted, for a call that carries less than LARGE_BYTES.
Rule 2: nothing that was passed is kept alive. Whether it is the same as before is seen by a weak reference, and where
        there can be none (a list, bytes), by AGAIN calls in a row that are large under the same name.
Not here: what becomes of large arguments (objects).
"""

import inspect
import sys
import warnings
import weakref
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from scaler.exceptions import LargeArgumentWarning

LARGE_BYTES = 100_000_000
AGAIN = 3
MOST_FUNCTIONS = 1000  # that are remembered
MOST_ITEMS = 1000  # of a collection, whose sizes are added up
_PACKAGE = __name__.partition(".")[0]


class LargeArguments:
    """`note` is called for each call whose arguments are large, by whichever thread packs them."""

    def __init__(self, large_bytes: int = LARGE_BYTES) -> None:
        self.large_bytes = large_bytes
        self._warned: set[tuple[str, str]] = set()
        self._seen: dict[tuple[str, str, str], tuple[weakref.ref[Any] | None, int]] = {}  # argument -> it, how often

    def note(self, value: Any, size: int) -> None:
        """These arguments, (args, kwargs) or args, have been packed into so many bytes."""
        frame, function = _caller()
        if frame is None or function is None or not isinstance(value, tuple):
            return
        about = getattr(function, "__module__", "") or "", _name_of(function)
        found = _largest(function, value, size)
        if about in self._warned or found is None:
            return
        name, argument, n_bytes = found
        if n_bytes < self.large_bytes or not self._is_again((*about, name), argument):
            return
        self._warned.add(about)
        said = name if name.isidentifier() else "..."
        warnings.warn_explicit(
            f"each call of {about[1]} ships its argument {name} of {n_bytes / 1e6:,.0f} MB: send it once, by "
            f"client.send_object({said}), and pass what that returns instead",
            LargeArgumentWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            frame.f_globals.get("__name__"),
            frame.f_globals.setdefault("__warningregistry__", {}),
        )

    def _is_again(self, key: tuple[str, str, str], argument: Any) -> bool:
        before, count = self._seen.get(key, (None, 0))
        try:
            reference: weakref.ref[Any] | None = weakref.ref(argument)
        except TypeError:
            reference = None
        if len(self._seen) < MOST_FUNCTIONS:
            self._seen[key] = reference, count + 1
        return (before is not None and before() is argument) or (reference is None and count + 1 >= AGAIN)


def _caller() -> tuple[FrameType | None, Callable[..., Any] | None]:
    """The line of the program that has called us, and the function that it wants run, as our own call has it."""
    frame: FrameType | None = sys._getframe(1)
    function = None
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == _PACKAGE:
        if "fn" in frame.f_locals:
            function = frame.f_locals["fn"]
        frame = frame.f_back
    return frame, function


def _name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    return str(name or type(function).__name__)


def _largest(function: Any, value: tuple[Any, ...], size: int) -> tuple[str, Any, int] | None:
    """(name, argument, bytes) of the argument that has most."""
    args: tuple[Any, ...] = value
    kwargs: dict[str, Any] = {}
    if len(value) == 2 and isinstance(value[0], tuple) and isinstance(value[1], dict):
        args, kwargs = value
    named = [*zip(_names(function, len(args)), args, strict=True), *kwargs.items()]
    if not named:
        return None
    sizes = [_bytes_of(argument, 2) for _, argument in named]
    most = max(range(len(named)), key=sizes.__getitem__)
    others = sum(sizes) - sizes[most]
    return str(named[most][0]), named[most][1], max(sizes[most], 0 if others else size)


def _names(function: Any, count: int) -> Sequence[str]:
    """What the function calls its positional arguments."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    rest = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), "")
    others = [f"{rest}[{i}]" if rest else f"number {len(names) + i + 1}" for i in range(count - len(names))]
    return [*names, *others][:count]


def _bytes_of(value: Any, depth: int) -> int:
    """About how many bytes this is pickled into."""
    if isinstance(size := getattr(value, "nbytes", None), int):
        return size
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if depth and isinstance(value, list | tuple | set | frozenset | dict):
        items = list(value.values()) if isinstance(value, dict) else list(value) if len(value) <= MOST_ITEMS else []
        return sum(_bytes_of(item, depth - 1) for item in items[:MOST_ITEMS]) + 9 * len(value)
    return sys.getsizeof(value, 0)
