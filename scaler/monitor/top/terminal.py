"""The terminal: what it can do, taking it over and giving it back, and what is written to it.

blessed knows terminals. What it does at its start is kept short and as we need it here:

* It asks the terminal questions and waits five seconds for each answer, in vain with many of them; tmux leaves one
  unanswered. Of a stream that is not sys.stdout itself it asks nothing, and nothing of that is needed here.
* With NO_COLOR it would do without moving the cursor as well. What is meant is colours, so only these go.
* It takes a terminal that it has never heard of for an xterm. TERM=dumb means what it says.

Rule 1: whatever ends the program, the terminal is given back as it was (`leave`), from the one place that took it.
Rule 2: `leave` ends: a terminal whose output is stopped is told to go on, and a process that hangs there all the same
        is ended by an alarm.
Not here: when to draw (program), what (viewer).
"""

import contextlib
import locale
import os
import signal
import sys
import termios
import tty
from types import ModuleType
from typing import Any

from scaler.exceptions import ScalerError
from scaler.monitor.top.line import Style

LEAVING_S = 3
# Of these terminfo's entries say too little: that of tmux lacks both, and tmux has both.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_MOUSE_ON, _MOUSE_OFF = "\x1b[?1000;1006h", "\x1b[?1000;1006l"
_COLOURS = {
    Style.FAINT: "bright_black",
    Style.STRONG: "bold",
    Style.GOOD: "green",
    Style.WARNING: "yellow",
    Style.BAD: "bold_red",
    Style.HEADING: "underline",
    Style.SORTED: "bold_underline",
    Style.CHOSEN: "reverse",
    Style.LABEL: "cyan",
}
_WITHOUT_COLOURS = {
    Style.STRONG: "bold",
    Style.BAD: "bold",
    Style.HEADING: "underline",
    Style.SORTED: "bold_underline",
    Style.CHOSEN: "reverse",
}


class TerminalError(ScalerError):
    """This terminal cannot show what is to be shown; the message says what to do."""


def is_terminal() -> bool:
    """There is somebody to see it, and keys to be pressed."""
    return sys.stdin is not None and sys.stdout is not None and sys.stdin.isatty() and sys.stdout.isatty()


def forget_stdout() -> None:
    """Nobody reads it any more: what Python still has for it goes nowhere, and is no error at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def is_ascii_only() -> bool:
    """The locale or the output says that nothing but ASCII can be shown."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
    if not encoding.startswith("utf8"):
        return True
    chosen = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    return bool(chosen) and "utf" not in chosen.lower()


class Terminal:
    """Made by who has asked `is_terminal` before. TerminalError if it cannot place text."""

    def __init__(self) -> None:
        kind = os.environ.get("TERM", "")
        if kind in ("", "dumb", "unknown"):
            raise TerminalError(
                f"a terminal of type {kind or 'none'!r} cannot place text on its screen: use --once or --json, or set "
                "TERM to what it is"
            )
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, "")
        no_colour = os.environ.pop("NO_COLOR", "")
        self.input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        self._blessed: Any = _blessed().Terminal(stream=open(self._output, "w", closefd=False))  # noqa: SIM115
        has_colours = not no_colour and self._blessed.number_of_colors >= 8
        normal = str(self._blessed.normal)
        self.styles = {
            style: (str(getattr(self._blessed, name)), normal)
            for style, name in (_COLOURS if has_colours else _WITHOUT_COLOURS).items()
        }
        self._modes = [
            (str(self._blessed.enter_fullscreen), str(self._blessed.exit_fullscreen)),
            (str(self._blessed.hide_cursor), str(self._blessed.normal_cursor)),
            (_NO_WRAP, _WRAP),
        ]
        self.clear_to_end = str(self._blessed.clear_eol)
        self.clear = str(self._blessed.home + self._blessed.clear)
        self._taken: contextlib.ExitStack | None = None
        self._has_mouse = False
        self.is_writing = False
        """It may be waiting for a terminal whose output is stopped."""

    def move(self, row: int) -> str:
        return str(self._blessed.move_yx(row, 0))

    def size(self) -> tuple[int, int]:
        """Cells to a row, and rows."""
        try:
            cells, lines = os.get_terminal_size(self._output)
        except OSError:
            return 80, 24
        return max(1, cells), max(1, lines)

    def enter(self, mouse: bool) -> None:
        """Take the terminal over."""
        with contextlib.ExitStack() as stack:
            stack.callback(termios.tcsetattr, self.input, termios.TCSADRAIN, termios.tcgetattr(self.input))
            tty.setcbreak(self.input, termios.TCSANOW)
            for taken, given_back in self._modes:
                stack.callback(self.write, given_back)
                self.write(taken)
            stack.callback(self.use_mouse, False)
            self._taken = stack.pop_all()
        self.use_mouse(mouse)

    def leave(self, is_stuck: bool = False) -> None:
        """Give it back; of one that is stuck, what it has not taken is dropped first. Idempotent."""
        if self._taken is None:
            return
        taken, self._taken = self._taken, None
        before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LEAVING_S)
        with contextlib.suppress(termios.error):
            termios.tcflow(self._output, termios.TCOON)
            if is_stuck:
                termios.tcflush(self._output, termios.TCOFLUSH)
        try:
            taken.close()
        except (OSError, termios.error):
            forget_stdout()  # it has gone
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

    def use_mouse(self, wanted: bool) -> None:
        if wanted != self._has_mouse:
            self._has_mouse = wanted
            self.write(_MOUSE_ON if wanted else _MOUSE_OFF)

    def write(self, text: str) -> None:
        """All of it, past what Python keeps back. OSError if the terminal has gone."""
        data = memoryview(text.encode("utf-8", "replace"))
        self.is_writing = True
        try:
            while data:
                data = data[os.write(self._output, data) :]
        finally:
            self.is_writing = False


def _blessed() -> ModuleType:
    """Only for a screen, since it takes a fifth of the start; and once its environment is as it should be."""
    import blessed

    return blessed
