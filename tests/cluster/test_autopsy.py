"""Whether the kernel killed for want of memory, by what it counts; files as kernels write them."""

import signal

import pytest

from scaler.cluster.autopsy import OutOfMemory, facts_of

EVENTS = "low 0\nhigh 0\nmax 31\noom 4\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 1000\noom_kill {}\nnuma_hit 5\n"


@pytest.fixture
def host(tmp_path):
    class Host:
        root, own, machine = tmp_path / "cgroup", tmp_path / "own", tmp_path / "vmstat"

        def write(self, name, text):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

        def watch(self):
            return OutOfMemory(self.root, self.own, self.machine)

    return Host()


@pytest.mark.parametrize(
    ("own", "file", "form"),
    [
        ("0::/jobs/one\n", "cgroup/jobs/one/memory.events", EVENTS),
        ("5:cpu:/x\n3:memory:/jobs/one\n1:name=systemd:/\n", "cgroup/memory/jobs/one/memory.oom_control", CONTROL),
        ("3:memory:/docker/0123\n0::/docker/0123\n", "cgroup/memory/memory.oom_control", CONTROL),
        ("0::/\n", "vmstat", VMSTAT),
    ],
)
def test_a_kill_is_seen_once(host, own, file, form):
    host.write("own", own)
    host.write("vmstat", VMSTAT.format(7))
    host.write(file, form.format(2))
    watch = host.watch()
    assert not watch.has_killed()
    host.write(file, form.format(3))
    assert watch.has_killed()
    assert not watch.has_killed()


def test_the_own_group_counts_not_the_machine(host):
    host.write("own", "0::/a\n")
    host.write("cgroup/a/memory.events", EVENTS.format(0))
    host.write("vmstat", VMSTAT.format(0))
    watch = host.watch()
    host.write("vmstat", VMSTAT.format(1))
    assert not watch.has_killed()


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill many\n", "\n\n"])
def test_where_nothing_is_counted_nothing_is_said(host, text):
    host.write("own", "0::/a\nnonsense\n")
    host.write("cgroup/a/memory.events", text)
    assert not host.watch().has_killed()


def test_only_what_was_killed_was_killed_for_memory(host):
    host.write("vmstat", VMSTAT.format(0))
    for code, expected in ((-signal.SIGKILL, True), (-signal.SIGSEGV, False), (3, False)):
        watch = host.watch()
        host.write("vmstat", VMSTAT.format(1))
        facts = facts_of("w", 12, code, 100, "last", watch)
        assert facts["oom"] is expected
        assert (facts["worker"], facts["pid"], facts["code"], facts["peak_bytes"]) == ("w", 12, code, 100)
        host.write("vmstat", VMSTAT.format(0))
