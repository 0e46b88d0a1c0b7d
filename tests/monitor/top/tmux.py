"""A real terminal: tmux with a server of its own, in which a shell runs."""

import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from scaler.monitor.top.program import ESC_S

NEEDS_TMUX = pytest.mark.skipif(
    None in (shutil.which("tmux"), shutil.which("bash")),
    reason="there is no tmux and bash here: NOT TESTED in a terminal (.ci/packages installs them)",
)
TOP = Path(sysconfig.get_path("scripts")) / "scaler_top"
PATIENCE_S = 20.0
_NAMES = {
    "PageUp": "PPage", "PageDown": "NPage", "Esc": "Escape", "Shift-Tab": "BTab", "Backspace": "BSpace",
    "Ctrl-L": "C-l", "Ctrl-U": "C-u", "Ctrl-C": "C-c", "Ctrl-Z": "C-z",
}  # fmt: skip


class Tmux:
    def __init__(self, folder: Path, cells: int = 80, lines: int = 24, **environment: str) -> None:
        self._socket = folder / "tmux"
        shell = "env PS1='ready> ' bash --norc --noprofile -i"
        kept = {name: value for name, value in os.environ.items() if name not in ("TMUX", "NO_COLOR", "LC_ALL")}
        variables = kept | {
            "XDG_CONFIG_HOME": str(folder / "config"), "LANG": "C.UTF-8", "TZ": "UTC", **environment
        }  # fmt: skip
        subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", "-u", "new-session", "-d",
             "-x", str(cells), "-y", str(lines), shell],
            env=variables, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        self.run("set", "-g", "status", "off")
        self.run("set", "-g", "escape-time", "0")
        self.resize(cells, lines)

    def run(self, *arguments: str) -> str:
        """One of tmux's commands."""
        made = subprocess.run(
            ["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE_S
        )
        return made.stdout

    def resize(self, cells: int, lines: int) -> None:
        self.run("resize-window", "-x", str(cells), "-y", str(lines))

    def write(self, text: str) -> None:
        self.run("send-keys", "-l", text)

    def enter(self, line: str) -> None:
        """A line for the shell."""
        self.write(line)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        for key in keys:
            name = _NAMES.get(key, key)
            self.run("send-keys", *(["-l", key] if len(key) == 1 else [name]))
            if key == "Esc":
                time.sleep(2 * ESC_S)  # what comes sooner belongs to it, as in any terminal

    def screen(self) -> list[str]:
        return [line.rstrip() for line in self.run("capture-pane", "-p").split("\n")[:-1]]

    def flags(self) -> str:
        """What a program can leave switched on: other screen, hidden cursor, mouse, no wrapping."""
        return self.run("display", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{wrap_flag}").strip()

    def await_screen(self, is_it: Callable[[list[str]], object]) -> list[str]:
        """The screen, once it is as it should be."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_it(screen := self.screen()):
            assert time.monotonic() < deadline, "\n".join(["it has not come:", *screen])
            time.sleep(0.02)
        return screen

    def await_text(self, text: str) -> list[str]:
        return self.await_screen(lambda screen: text in "\n".join(screen))

    def await_shell(self) -> None:
        """The program has ended, and the shell takes commands again."""
        self.await_text("ready>")
        self.enter("echo b''ack")
        self.await_screen(lambda screen: "back" in screen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, timeout=PATIENCE_S)
