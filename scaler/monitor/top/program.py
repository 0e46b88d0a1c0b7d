"""scaler_top, the program: a screen that follows a scheduler or a recording; or, with --once and --json, text.

The loop waits for keys, reports, signals and the next moment to draw, and does nothing between.

Rule 1: a signal's handler does nothing but say so (a byte in a pipe); the loop acts on it between two frames. Only a
        signal that ends the program does not wait for a terminal which takes no more output.
Rule 2: the terminal is given back before anything is said on stderr, whatever has happened.
Rule 3: when the terminal or the reader of stdout has gone, that is the end, and no error.
"""

import contextlib
import errno
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from typing import NoReturn

from scaler.config.table import TopConfig
from scaler.exceptions import ScalerError
from scaler.monitor import trace
from scaler.monitor.report import TOPICS
from scaler.monitor.top import settings as kept
from scaler.monitor.top.documents import document, screen_text
from scaler.monitor.top.keyboard import Click, Keyboard
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.screen import Screen
from scaler.monitor.top.settings import Settings
from scaler.monitor.top.source import Live, Replay, Rounds
from scaler.monitor.top.terminal import Terminal, forget_stdout, is_ascii_only, is_terminal
from scaler.monitor.top.text import in_ascii
from scaler.monitor.top.viewer import SILENT_S, Viewer
from scaler.program.signals import ENDING

SETTLE_S = 0.05  # the reports of one round come one after the other
LOOK_S = 0.1  # how often it is looked whether what comes can be read
ESC_S = 0.1  # after which Esc is a key of its own
ONCE_TOPICS = {"summary", "workers", "functions", "clients", "failures", "hosts"}
READ_BYTES = 4096


class TraceError(ScalerError, OSError):
    """A trace cannot be written; the message says why."""


def run(config: TopConfig) -> int:
    """The exit status. ScalerError says why it could not go on."""
    if config.trace is not None:
        return _write_trace(config, config.trace)
    replay = Replay(config.monitor_address) if config.is_recording else None
    live = Live(config.monitor_address, config.record, config.keys) if replay is None else None
    try:
        if config.json or config.once or not is_terminal():
            return _without_screen(config, live, replay)
        return _ScreenLoop(config, live, replay).run()
    except BrokenPipeError:
        forget_stdout()
        return 0
    finally:
        if live is not None:
            live.close()


def _write_trace(config: TopConfig, path: str) -> int:
    recorded = trace.read_source(config.monitor_address, config.timeout, config.keys)
    try:
        count = trace.write(recorded, path)
    except OSError as error:
        raise TraceError(f"{path} cannot be written: {error.strerror or error}") from None
    lost = f"; {recorded.lost} had been written over before" if recorded.lost else ""
    _show(f"{count} tasks are in {path}{lost}: open it at https://ui.perfetto.dev\n")
    return 0


def _without_screen(config: TopConfig, live: Live | None, replay: Replay | None) -> int:
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end_now)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    if config.json:
        rounds = (
            _live_rounds(live, set(TOPICS), config.timeout) if live is not None else _recorded_rounds(replay, config)
        )
        for latest in rounds:
            _show(document(latest) + "\n")
            if config.once:
                break
        return 0
    latest = next(_live_rounds(live, ONCE_TOPICS, config.timeout)) if live is not None else _only(replay).latest()
    cells = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    text = screen_text(latest, config.monitor_address, Settings(), cells)
    _show(in_ascii(text) if config.ascii or is_ascii_only() else text)
    return 0


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _only(replay: Replay | None) -> Replay:
    assert replay is not None
    return replay


def _live_rounds(live: Live, topics: set[str], timeout_s: float) -> Iterator[Latest]:
    """Once for each round of these topics: what is known then. The first may take so long; later ones any time."""
    latest = Latest()
    live.subscribe(topics)
    deadline, is_first, rounds = time.monotonic() + timeout_s, True, Rounds(topics)
    while True:
        report = live.subscriber.read(LOOK_S)
        if report is None:
            if is_first and (live.subscriber.problems or time.monotonic() > deadline):
                raise live.subscriber.nothing(timeout_s)
            continue
        is_first = False
        live.note()
        if rounds.is_over_by(report):
            yield latest
        latest.on_report(report)
        if rounds.is_whole_with(report):
            yield latest


def _recorded_rounds(replay: Replay | None, config: TopConfig) -> Iterator[Latest]:
    chosen = _only(replay)
    if config.once:
        yield chosen.latest()
        return
    latest = chosen.go(-len(chosen), Latest())
    yield latest
    while not chosen.is_at_end:
        latest = chosen.go(1, latest)
        yield latest


def _end_now(number: int, frame: object) -> NoReturn:
    raise SystemExit(0)


class _Stuck(Exception):
    """It was told to end while the terminal took no more output."""


class _ScreenLoop:
    def __init__(self, config: TopConfig, live: Live | None, replay: Replay | None) -> None:
        self._config, self._live, self._replay = config, live, replay
        self._settings_file = kept.path()
        settings = kept.load(self._settings_file)
        self._viewer = Viewer(config.monitor_address, settings, is_recording=replay is not None)
        self._terminal = Terminal()
        self._screen = Screen(self._terminal, config.ascii or is_ascii_only())
        self._keyboard = Keyboard()
        self._heard_s: float | None = None
        self._draw_at: float | None = 0.0
        self._drawn_s = self._typed_s = 0.0
        self._began_s = time.monotonic()
        if replay is not None:
            self._viewer.latest = replay.latest()
            self._viewer.problem = replay.problem

    def run(self) -> int:
        signals, theirs = os.pipe()
        os.set_blocking(theirs, False)
        os.set_blocking(signals, False)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, signals)
            stack.callback(os.close, theirs)
            before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
            stack.callback(signal.set_wakeup_fd, before)
            for number in (*ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT):
                if signal.getsignal(number) != signal.SIG_IGN:
                    stack.callback(signal.signal, number, signal.signal(number, self._note))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            stack.callback(kept.save, self._viewer.settings, self._settings_file)
            try:
                self._terminal.enter(self._viewer.settings.mouse)
                self._loop(signals)
            except _Stuck:
                self._terminal.leave(is_stuck=True)
            except OSError as error:
                if not _is_gone(error):
                    raise
            finally:
                self._terminal.leave()
        return 0

    def _loop(self, signals: int) -> None:
        poll = select.poll()
        for descriptor in (self._terminal.input, signals):
            poll.register(descriptor, select.POLLIN)
        if self._live is not None:
            poll.register(self._live.subscriber.descriptor, select.POLLIN)
        while not self._viewer.is_over:
            self._take_reports()
            now = time.monotonic()
            if self._draw_at is not None and now >= self._draw_at:
                self._draw()
            ready = {descriptor for descriptor, _ in poll.poll(self._wait_ms(time.monotonic()))}
            if signals in ready:
                for number in os.read(signals, READ_BYTES):
                    self._on_signal(number)
            if self._terminal.input in ready:
                self._on_input(os.read(self._terminal.input, READ_BYTES))
            elif self._keyboard.is_waiting and time.monotonic() >= self._typed_s + ESC_S:
                self._on_keys(self._keyboard.flush())

    def _wait_ms(self, now: float) -> int:
        until = now + 1.0
        if self._draw_at is not None:
            until = min(until, self._draw_at)
        if self._keyboard.is_waiting:
            until = min(until, self._typed_s + ESC_S)
        return max(0, int((until - now) * 1000) + 1)

    def _take_reports(self) -> None:
        if self._live is not None:
            self._take_live(self._live)
        elif self._replay is not None:
            self._play(self._replay)

    def _take_live(self, live: Live) -> None:
        live.subscribe(self._viewer.topics())
        now = time.monotonic()
        for report in live.read():
            is_answer = report.topic not in TOPICS
            is_first = report.body.topic not in self._viewer.latest.reports
            self._viewer.latest.on_report(report)
            self._heard_s = now
            soon = is_answer or is_first
            self._draw_by(now + SETTLE_S if soon else max(now + SETTLE_S, self._drawn_s + self._interval_s - SETTLE_S))
        if self._heard_s is None:
            if live.subscriber.problems or now - self._began_s > self._config.timeout:
                raise live.subscriber.nothing(self._config.timeout)
            return
        self._viewer.silent_s = now - self._heard_s
        if live.subscriber.problems:
            self._viewer.problem = f"{live.subscriber.problems} reports cannot be read: {live.subscriber.last_problem}"
        if self._viewer.silent_s > SILENT_S:
            self._draw_by(self._drawn_s + 1.0)

    def _play(self, replay: Replay) -> None:
        viewer, now = self._viewer, time.monotonic()
        if not viewer.is_paused and now >= self._drawn_s + self._interval_s:
            viewer.steps += 1
            viewer.is_paused = replay.is_at_end
        if viewer.steps:
            viewer.latest = replay.go(viewer.steps, viewer.latest)
            viewer.steps = 0
            self._draw_by(now)
        viewer.position = replay.position(viewer.latest)
        if not viewer.is_paused:
            self._draw_by(self._drawn_s + self._interval_s)

    @property
    def _interval_s(self) -> float:
        return self._viewer.settings.interval_s

    def _draw_by(self, moment_s: float) -> None:
        self._draw_at = moment_s if self._draw_at is None else min(self._draw_at, moment_s)

    def _draw(self) -> None:
        cells, lines = self._terminal.size()
        if self._viewer.wants_redraw:
            self._viewer.wants_redraw = False
            self._screen.forget()
        self._terminal.use_mouse(self._viewer.settings.mouse)
        self._terminal.write(self._screen.draw(self._viewer.frame(cells, lines), cells, lines))
        self._drawn_s, self._draw_at = time.monotonic(), None

    def _on_input(self, data: bytes) -> None:
        if not data:
            self._viewer.is_over = True  # the terminal has gone
            return
        self._typed_s = time.monotonic()
        self._on_keys(self._keyboard.feed(data))

    def _on_keys(self, keys: list[str | Click]) -> None:
        for key in keys:
            if isinstance(key, str):
                self._viewer.on_key(key)
            else:
                self._viewer.on_click(key)
            self._viewer.arrange()
        if keys:
            self._draw_by(0.0)

    def _note(self, number: int, frame: object) -> None:
        """The byte in the pipe is all there is to do, if somebody will read it."""
        if number in ENDING and self._terminal.is_writing:
            raise _Stuck

    def _on_signal(self, number: int) -> None:
        if number in ENDING:
            self._viewer.is_over = True
        elif number == signal.SIGTSTP:
            self._stop()
        elif number == signal.SIGCONT:
            self._terminal.leave()  # stopped by a signal that says nothing before: the shell may have changed it
            self._terminal.enter(self._viewer.settings.mouse)
            self._screen.forget()
        self._draw_by(0.0)

    def _stop(self) -> None:
        """As Ctrl-Z stops any program: with the terminal as it was, until somebody lets it go on."""
        self._terminal.leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note)
        signal.signal(signal.SIGCONT, self._note)
        self._terminal.enter(self._viewer.settings.mouse)
        self._screen.forget()


def _is_gone(error: OSError) -> bool:
    """It was the terminal, which nobody has any more."""
    return error.errno in (errno.EIO, errno.EBADF, errno.ENXIO, errno.EPIPE)
