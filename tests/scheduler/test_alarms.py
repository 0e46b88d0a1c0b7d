"""What is said of clients that do not read and of tasks that would not stop: facts and a clock in, sentences out."""

import logging

from scaler.scheduler.alarms import KILLED_S, MOST_KILLED, UNREAD_S, Alarms, Missing


def made(heads):
    return Alarms(lambda: heads.items(), lambda bits: f"client {bits:06x}")


def test_a_client_that_does_not_read_is_named_once_and_as_long_as_that_is_so(caplog):
    heads = {7: 0x7 << 40 | 1}
    alarms = made(heads)
    with caplog.at_level(logging.INFO):
        for second in range(30):
            alarms.attend(float(second))
            assert bool(alarms.sentences(float(second))) == (second >= UNREAD_S)
        (said,) = alarms.sentences(30.0)
        assert said.startswith("client 000007 does not read its results: that of task 0x70000000001 has waited")
        assert sum(record.levelno == logging.WARNING for record in caplog.records) == 1
        heads.clear()
        alarms.attend(31.0)
        assert alarms.sentences(31.0) == []
    assert caplog.records[-1].getMessage() == "client 000007 reads its results again"


def test_a_client_that_reads_slowly_is_none_that_does_not_read():
    heads = {7: 1}
    alarms = made(heads)
    for second in range(60):
        heads[7] = 1 + second // 5
        alarms.attend(float(second))
        assert alarms.sentences(float(second)) == []


def test_one_that_goes_on_reading_and_stops_again_is_named_again():
    heads = {7: 1}
    alarms = made(heads)
    for second in range(15):
        alarms.attend(float(second))
    assert alarms.sentences(15.0)
    heads[7] = 2
    alarms.attend(15.0)
    assert alarms.sentences(15.0) == []
    for second in range(16, 30):
        alarms.attend(float(second))
    assert "task 0x2 " in alarms.sentences(30.0)[0]


def test_it_looks_once_a_second_at_most():
    looks = []
    alarms = Alarms(lambda: looks.append(1) or (), str)
    for tick in range(1000):
        alarms.attend(tick / 100)
    assert len(looks) == 10


def test_killed_workers_are_spoken_of_for_a_while_the_last_one_first():
    alarms = made({})
    for number in range(MOST_KILLED + 5):
        alarms.on_killed(f"worker {number}", float(number))
    said = alarms.sentences(30.0)
    assert len(said) == MOST_KILLED
    assert said[0] == f"worker {MOST_KILLED + 4}"
    assert alarms.sentences(KILLED_S + MOST_KILLED + 5) == []


def test_what_nobody_has_is_said_once_and_as_long_as_it_is_missing(caplog):
    missing: list[Missing] = [(0, [("gpu", 1.0)], [None]), (1, [("gpu", 1.0)], [None]), (0, [("mem", 8e9)], [4e9])]
    alarms = Alarms(lambda: (), str, lambda: missing)
    caplog.set_level("WARNING")
    for now_s in range(3):
        alarms.attend(float(now_s))
    said = [
        "tasks wait for gpu=1: no worker has gpu",
        "tasks wait for mem=8G: no worker has mem=8G (the most that one has is 4G)",
    ]
    assert alarms.sentences(3.0) == said
    assert [record.message.split(";")[0] for record in caplog.records] == said
    missing.clear()
    alarms.attend(4.0)
    assert alarms.sentences(4.0) == []
