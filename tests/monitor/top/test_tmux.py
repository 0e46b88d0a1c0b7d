"""scaler_top in a real terminal: each key at several sizes, and the terminal as it was, however the program ended."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from scaler.monitor.top.keys import KEYS, Action
from scaler.monitor.top.line import text_of
from scaler.monitor.top.settings import Settings, load
from scaler.monitor.top.viewer import Viewer
from scaler.monitor.top.views import VIEWS
from tests.monitor.pretended import PretendedCluster
from tests.monitor.top.publisher import Publisher
from tests.monitor.top.tmux import NEEDS_TMUX, TOP, Tmux
from tests.processes import wait_until

pytestmark = NEEDS_TMUX
SIZES = [(80, 24), (20, 5), (132, 40)]
LATER = (Action.END, Action.ASK_TASK, Action.FILTER)
OF_THE_CONTRACT = "nCMcmFfwdsl"


def expected(viewer: Viewer, size: tuple[int, int]) -> list[str]:
    return [text_of(line).rstrip() for line in viewer.frame(*size)]


def await_same(tmux: Tmux, wanted: list[str], after: str = "") -> None:
    try:
        tmux.await_screen(lambda screen: screen == wanted)
    except AssertionError as error:
        raise AssertionError("\n".join([f"after {after!r} it should be:", *wanted, str(error)])) from None


def await_size(tmux: Tmux, size: tuple[int, int]) -> None:
    tmux.resize(*size)
    tmux.await_screen(lambda screen: len(screen) == size[1] and screen[-1])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_after_each_key_the_terminal_shows_what_the_viewer_says(size, tmp_path):
    """Time stands still in the cluster, so the same keys must lead to the same screens here and there."""
    address = f"ipc://{tmp_path}/monitor"
    cluster = PretendedCluster(workers=40, rate=500)
    with Publisher(address, cluster, still=True) as publisher, Tmux(tmp_path, *size) as tmux:
        viewer = Viewer(address, Settings())
        for report in publisher.reports:
            viewer.latest.on_report(report)
        tmux.enter(f"{TOP} {address}")
        keys = [*OF_THE_CONTRACT, *OF_THE_CONTRACT[-3:], "r", "<", ">"]
        keys += [key for each in KEYS if each.action not in LATER for key in each.keys]
        keys = [key for key in keys if key not in ("F1", "Esc")]  # tmux has no F1; Esc may become part of the next key
        keys += ["/", "b", "e", "t", "a", "Enter", "Esc", "n"]
        await_same(tmux, expected(viewer, size))
        for key in keys:
            tmux.press(key)
            viewer.on_key(key)
            if key in ("p", "Space") and viewer.is_paused:
                continue  # the next one goes on
            if viewer.page is not None and viewer.page.task:
                tmux.await_text("worker ")
                viewer.on_key("Esc")  # its answers are looked at in another test
                tmux.press("Esc")
            await_same(tmux, expected(viewer, size), key)
        tmux.press("q")
        tmux.await_shell()


def test_a_page_asks_the_scheduler_and_the_mouse_and_the_size_are_heeded(tmp_path):
    address = f"ipc://{tmp_path}/monitor"
    with Publisher(address, PretendedCluster(workers=40)), Tmux(tmp_path) as tmux:
        tmux.enter(f"{TOP} {address}")
        tmux.await_text("alpha-0002")
        tmux.press("Enter")
        tmux.await_text("worker alpha-0000")
        tmux.press("PageDown")
        tmux.await_text("it runs, says the scheduler of 0000000000000001")
        tmux.await_text("x = x * x")
        tmux.press("Esc")
        screen = tmux.await_text("? help")
        tabs = next(at for at, line in enumerate(screen) if line.startswith(" 1 workers"))
        tmux.write(f"\x1b[<0;{screen[tabs].index('functions') + 2};{tabs + 1}M")
        tmux.await_text("nt_words")
        tmux.write("\x1b[<0;1;1m\x1b[<65;1;1M")
        tmux.await_text("4 of 6")
        for size in SIZES:
            await_size(tmux, size)
        tmux.press("u")
        wait_until(lambda: tmux.flags().split()[2] == "0")
        tmux.press("q")
        tmux.await_shell()
        assert load(tmp_path / "config" / "scaler" / "top.json").view == "functions"
        assert not load(tmp_path / "config" / "scaler" / "top.json").mouse


def top_of(tmux: Tmux) -> psutil.Process:
    """The process of scaler_top in this terminal."""
    shell = psutil.Process(int(tmux.run("display", "-p", "#{pane_pid}")))

    def find() -> psutil.Process | None:
        return next((each for each in shell.children() if str(TOP) in each.cmdline()), None)

    wait_until(find)
    found = find()
    assert found is not None
    return found


def quit_by_key(tmux: Tmux) -> None:
    tmux.press("q")


def interrupt(tmux: Tmux) -> None:
    tmux.press("Ctrl-C")


def terminate(tmux: Tmux) -> None:
    top_of(tmux).send_signal(signal.SIGTERM)


def stop_and_terminate(tmux: Tmux) -> None:
    """Ctrl-Z, then fg, and a stop that no program can see, then SIGTERM."""
    taken = tmux.flags()
    top = top_of(tmux)
    tmux.press("Ctrl-Z")
    tmux.await_text("Stopped")
    assert tmux.flags() == tmux_at_rest(tmux)
    tmux.enter("fg")
    tmux.await_text("workers")
    wait_until(lambda: tmux.flags() == taken)
    tmux.press("2")
    tmux.await_text("nt_words")
    top.send_signal(signal.SIGSTOP)
    tmux.await_text("Stopped")
    tmux.enter("fg")
    tmux.await_text("nt_words")
    top.send_signal(signal.SIGTERM)


def tmux_at_rest(tmux: Tmux) -> str:
    return "0 1 0 1"


@pytest.mark.parametrize("end", [quit_by_key, interrupt, terminate, stop_and_terminate])
def test_the_terminal_is_given_back_as_it_was(end: Callable[[Tmux], None], tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/monitor"
    with Publisher(address, PretendedCluster()), Tmux(tmp_path) as tmux:
        tmux.enter(f"stty -a >{tmp_path}/before; {TOP} {address}; echo status $?; stty -a >{tmp_path}/after; echo end")
        tmux.await_text("alpha-0000")
        assert tmux.flags() == "1 0 1 0"
        end(tmux)
        if end is stop_and_terminate:  # the shell has given up the rest of its line when it was stopped
            tmux.await_text("ready>")
            tmux.enter(f"stty -a >{tmp_path}/after; echo end")
        screen = tmux.await_screen(lambda screen: "end" in screen)
        assert tmux.flags() == tmux_at_rest(tmux)
        assert "status 0" in screen or end is stop_and_terminate
        assert (tmp_path / "after").read_text() == (tmp_path / "before").read_text()
        assert not any("Traceback" in line for line in screen)


def test_it_goes_on_with_the_next_scheduler_and_says_so(tmp_path):
    address = f"ipc://{tmp_path}/monitor"
    with Tmux(tmp_path) as tmux:
        with Publisher(address, PretendedCluster(seed=1)):
            tmux.enter(f"{TOP} {address}")
            tmux.await_text("alpha-0000")
        tmux.await_text("no report for")
        with Publisher(address, PretendedCluster(seed=2, workers=3)):
            tmux.await_text("the scheduler was started anew at")
            tmux.await_text("of 3")
            tmux.press("q")
            tmux.await_shell()


def test_a_recording_is_made_and_opened(tmp_path):
    address = f"ipc://{tmp_path}/monitor"
    with Publisher(address, PretendedCluster()), Tmux(tmp_path, 100, 30) as tmux:
        tmux.enter(f"{TOP} --record {tmp_path}/it {address}")
        tmux.await_text("alpha-0000")
        wait_until(lambda: os.path.getsize(tmp_path / "it") > 100_000)
        tmux.press("q")
        tmux.await_shell()
        tmux.enter(f"{TOP} {tmp_path}/it")
        found = re.search(r"report (\d+) of (\d+)", "\n".join(tmux.await_text("stopped at")))
        assert found is not None
        total = found[2]
        assert found[1] == total
        for number in range(1, len(VIEWS) + 1):
            tmux.press(str(number))
            tmux.await_text(f" {number} {VIEWS[number - 1].name}")
            assert not any(line.startswith("waiting") for line in tmux.screen())
        tmux.press("[")
        tmux.await_text(f"report {int(total) - 1} of {total}")
        tmux.press("{")
        tmux.await_text(f"report {max(1, int(total) - 61)} of {total}")
        tmux.press("p")
        tmux.await_text("playing at")
        tmux.press("q")
        tmux.await_shell()
