"""Keys and reports in, screens out."""

import dataclasses

import pytest

from scaler.monitor.report import Report, Stack, Tally, Task
from scaler.monitor.top.keyboard import Click
from scaler.monitor.top.keys import BY_KEY, KEYS, check
from scaler.monitor.top.settings import INTERVALS_S, Settings
from scaler.monitor.top.viewer import Viewer
from scaler.monitor.top.views import VIEWS
from tests.monitor.pretended import PretendedCluster
from tests.monitor.top.shown import ADDRESS, feed, press, shown, table, the, viewer_of, write

NAMES = [view.name for view in VIEWS]
SIZES = [(80, 24), (20, 5), (200, 60), (1, 1), (40, 3), (300, 2)]
EVERY_KEY = [*BY_KEY, *"nCMcmFfwdsl", "Delete", "ü", "~"]


def test_no_key_means_two_things():
    assert list(check()) == []


@pytest.mark.parametrize("view", NAMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_each_key_leaves_a_screen_of_the_right_size(view, size):
    viewer = viewer_of(PretendedCluster(workers=30), view)
    for key in EVERY_KEY:
        viewer.is_over = False
        press(viewer, key)
        shown(viewer, *size)
        press(viewer, "Down", "Enter", "Esc", "Esc")
        shown(viewer, *size)
        viewer.settings.view = view


@pytest.mark.parametrize("view", NAMES)
def test_before_the_first_report_there_is_a_screen_as_well(view):
    viewer = Viewer(ADDRESS, Settings(view=view))
    assert "waiting" in "".join(shown(viewer))
    for key in EVERY_KEY:
        press(viewer, key)
        shown(viewer)


def test_a_key_sorts_and_again_reverses():
    viewer = viewer_of()
    press(viewer, "m")
    rss = list(the(viewer.latest.workers).rss_bytes)
    names = the(viewer.latest.workers).name
    by_rss = [names[row] for row in sorted(range(len(rss)), key=lambda row: -rss[row])]
    assert [row.split()[0] for row in table(viewer)] == by_rss
    press(viewer, "m")
    assert [row.split()[0] for row in table(viewer)] == by_rss[::-1]
    press(viewer, "n")
    assert [row.split()[0] for row in table(viewer)] == sorted(names)
    press(viewer, "r")
    assert [row.split()[0] for row in table(viewer)] == sorted(names, reverse=True)
    press(viewer, "<", ">", ">")
    assert viewer.choice.sort == "state"


def test_the_header_has_the_counts_that_the_scheduler_has():
    viewer = viewer_of(PretendedCluster(rate=1234, workers=7))
    counts = the(viewer.latest.summary).counts
    assert (
        f"unassigned {counts.unassigned:,}  running {counts.assigned:,}  success {counts.succeeded:,}  "
        f"failed {counts.failed:,}  canceled 0" in "\n".join(shown(viewer))
    )
    assert "ended 1,234/s" in "\n".join(shown(viewer))
    assert "received tasks 2,468 1,234/s" in "\n".join(shown(viewer))


@pytest.mark.parametrize("number", range(1, len(VIEWS) + 1))
def test_a_number_opens_its_table_and_tab_the_next(number):
    viewer = viewer_of()
    press(viewer, str(number))
    assert viewer.view.name == NAMES[number - 1]
    press(viewer, "Tab")
    assert viewer.view.name == NAMES[number % len(NAMES)]
    press(viewer, "Shift-Tab", "Shift-Tab")
    assert viewer.view.name == NAMES[number - 2]


def test_only_what_is_shown_is_asked_for():
    viewer = viewer_of()
    assert viewer.topics() == {"summary", "workers", "hosts", "functions"}
    press(viewer, "7")
    assert viewer.topics() == {"summary"}
    press(viewer, "6")
    assert viewer.topics() == {"summary", "events", "functions", "workers"}
    press(viewer, "p")
    assert viewer.topics() == {"summary"}


def test_a_filter_works_while_it_is_typed_and_goes_with_esc():
    viewer = viewer_of()
    press(viewer, "/")
    write(viewer, "beta")
    assert {row[:4] for row in table(viewer)} == {"beta"}
    assert "/beta_" in shown(viewer)[-1]
    press(viewer, "Enter")
    assert "filter beta" in shown(viewer)[-1]
    press(viewer, "2", "1")
    assert {row[:4] for row in table(viewer)} == {"beta"}
    press(viewer, "Esc")
    assert {row[:4] for row in table(viewer)} == {"alph", "beta"}
    press(viewer, "/")
    write(viewer, "no such thing")
    press(viewer, "Enter")
    assert table(viewer)[0].startswith("the filter no such thing leaves none of 8")


def test_letters_of_a_filter_are_no_commands_and_a_wrong_one_says_so():
    viewer = viewer_of()
    press(viewer, "/")
    write(viewer, "q(")
    assert not viewer.is_over
    assert "no regular expression" in shown(viewer)[-1]
    press(viewer, "Ctrl-U", "Backspace", "Enter", "q")
    assert viewer.is_over


def test_a_row_that_is_followed_stays_chosen_wherever_it_goes():
    cluster = PretendedCluster(workers=40)
    viewer = viewer_of(cluster)
    press(viewer, "c", "Down", "Down", "t")
    followed = viewer._followed
    for _ in range(5):
        feed(viewer, cluster, 1)
        viewer.arrange()
        assert viewer._identity_at() == followed
    press(viewer, "t")
    at = viewer._at["workers"]
    feed(viewer, cluster, 1)
    viewer.arrange()
    assert viewer._at["workers"] == at


def test_the_chosen_row_is_always_to_be_seen():
    viewer = viewer_of(PretendedCluster(workers=100))
    for key in ("End", "PageUp", "Up", "Home", "PageDown", "Down", "G", "g", "k", "j"):
        press(viewer, key)
        at = viewer._at["workers"]
        name = the(viewer.latest.workers).name[at]
        assert any(row.startswith(name) for row in table(viewer, 160, 20)), key
    assert viewer._at["workers"] == 1


def test_while_it_is_held_nothing_changes_and_afterwards_it_is_up_to_date():
    cluster = PretendedCluster()
    viewer = viewer_of(cluster)
    press(viewer, "p")
    before = shown(viewer)
    feed(viewer, cluster, 3)
    assert shown(viewer) == before
    assert any("held" in line for line in before)
    press(viewer, "Space")
    after = shown(viewer)
    assert not any("held" in line for line in after)
    assert after != before


def test_what_is_idle_can_be_hidden():
    viewer = viewer_of()
    the(viewer.latest.workers).state[0] = the(viewer.latest.workers).held[0] = 0
    press(viewer, "i")
    assert len(table(viewer)) == 7
    assert "idle hidden" in shown(viewer)[-1]
    press(viewer, "i")
    assert len(table(viewer)) == 8


def test_the_interval_goes_through_its_steps_and_no_further():
    viewer = viewer_of()
    seen = []
    for key in [*"++++++"]:
        press(viewer, key)
        seen.append(viewer.settings.interval_s)
    assert seen == [*INTERVALS_S[1:], INTERVALS_S[-1], INTERVALS_S[-1]]
    press(viewer, *"-------")
    assert viewer.settings.interval_s == INTERVALS_S[0]


def test_a_workers_page_says_what_it_runs_and_asks_why_and_for_its_stack_once():
    viewer = viewer_of()
    press(viewer, "Down", "Enter")
    text = "\n".join(shown(viewer))
    assert "worker beta-0001" in text
    assert "__main__.square for " in text
    task = the(viewer.latest.workers).task[1]
    topics = {f"task/{task:016x}", f"stack/{task:016x}"}
    assert topics <= viewer.topics()
    answers = (
        Task(task=task, state="placed", sentence="it runs on beta-0001 since 3 s", facts=Tally.of({"ahead": 4})),
        Stack(task=task, text='File "a.py", line 3, in square\n    return x * x\x1b[2J'),
    )
    for answer in answers:
        report = viewer.latest.reports["workers"]
        viewer.latest.on_report(dataclasses.replace(report, body=answer))
    text = "\n".join(shown(viewer))
    assert "it runs on beta-0001 since 3 s" in text
    assert "return x * x\\x1b[2J" in text
    assert f"stack/{task:016x}" not in viewer.topics()  # it interrupts the task: once is enough
    press(viewer, "x")
    assert f"stack/{task:016x}" in viewer.topics()
    press(viewer, "Esc")
    assert viewer.topics() & topics == set()


def test_a_failures_page_has_the_traceback():
    viewer = viewer_of(view="failures")
    press(viewer, "Enter")
    text = "\n".join(shown(viewer))
    assert "builtins.ZeroDivisionError" in text
    assert "Traceback (most recent call last):" in text
    assert "message of the last one" in text


@pytest.mark.parametrize("view", NAMES)
def test_a_page_of_a_row_that_goes_says_so_or_stays(view):
    viewer = viewer_of(view=view)
    press(viewer, "Enter")
    feed(viewer, PretendedCluster(workers=1, clients=1, hosts=1, rate=0, seed=5), 1)
    assert shown(viewer)


def test_a_task_is_explained_by_its_id():
    viewer = viewer_of()
    press(viewer, "e")
    write(viewer, "0xAB")
    press(viewer, "Enter")
    assert "task/00000000000000ab" in viewer.topics()
    assert "asked for" in "\n".join(shown(viewer))
    press(viewer, "Esc", "e")
    write(viewer, "none")
    press(viewer, "Enter")
    assert viewer.page is None
    assert "'none' is no id of a task" in "\n".join(shown(viewer))


def test_a_long_page_can_be_scrolled_and_nothing_of_it_is_cut():
    viewer = viewer_of()
    press(viewer, "?")
    seen = set()
    for _ in range(150):
        seen.update(shown(viewer, 40, 12))
        press(viewer, "Down")
    text = " ".join(seen)
    for key in KEYS:
        for word in key.about.split():
            assert word in text


def test_the_mouse_chooses_sorts_opens_and_turns():
    viewer = viewer_of(PretendedCluster(workers=50))
    screen = shown(viewer, 120, 30)
    head = next(at for at, line in enumerate(screen) if line.startswith(" 1 "))
    viewer.on_click(Click(1, head + 4))
    assert viewer._at["workers"] == 2
    viewer.on_click(Click(1, head + 4))
    assert viewer.page is not None
    viewer.on_click(Click(1, head + 4))
    assert viewer.page is None
    shown(viewer, 120, 30)
    viewer.on_click(Click(screen[head + 1].index(" sent") + 2, head + 1))
    assert viewer.choice.sort == "sent"
    viewer.on_click(Click(1, head + 4, 1))
    assert viewer._at["workers"] == 5
    viewer.on_click(Click(screen[head].index("functions"), head))
    assert viewer.view.name == "functions"
    for y in range(-1, 40):
        viewer.on_click(Click(500, y))


def test_another_scheduler_is_said_and_shown_at_once():
    viewer = viewer_of(PretendedCluster(seed=1))
    feed(viewer, PretendedCluster(seed=2, workers=3), 2)
    text = "\n".join(shown(viewer))
    assert "the scheduler was started anew at " in text
    assert len(table(viewer)) == 3


def test_a_scheduler_that_is_silent_is_said():
    viewer = viewer_of()
    viewer.silent_s = 12.0
    assert "no report for 12s" in shown(viewer)[0]


def test_names_that_would_be_obeyed_are_shown():
    cluster = PretendedCluster()
    viewer = viewer_of(cluster)
    the(viewer.latest.workers).name[0] = "\x1b[2J<b>名前\u202e"
    the(viewer.latest.functions).name[0] = "f" * (1 << 20)
    for view in NAMES:
        viewer.settings.view = view
        viewer.arrange()
        for size in SIZES:
            shown(viewer, *size)
    viewer.settings.view = "workers"
    assert "\\x1b[2J<b>名前" in "\n".join(shown(viewer, 300, 40))


def test_a_recording_is_stepped_through_and_played():
    viewer = Viewer("file", Settings(), is_recording=True)
    assert "recording stopped: file" in shown(viewer)[0]
    press(viewer, "[", "}", "]")
    assert viewer.steps == 60
    press(viewer, "p")
    assert "playing" in shown(viewer)[0]


def test_a_report_that_is_empty_is_shown():
    viewer = Viewer(ADDRESS, Settings())
    for report in PretendedCluster(workers=1).reports():
        viewer.latest.on_report(Report(1, 1, 1, 1, type(report.body)()))
    for view in NAMES:
        viewer.settings.view = view
        press(viewer, "Enter", "Esc")
        assert shown(viewer)
