"""Which Symphony task answers which job. No Symphony."""

import random

from scaler.engines.symphony.open_tasks import MOST_EARLY, OpenTasks


def test_an_answer_that_comes_before_its_id_waits_for_it():
    tasks: OpenTasks[str] = OpenTasks()
    session = tasks.begin(1)
    assert tasks.on_answer(session, "a", "early") is None
    assert tasks.on_sent(1, "a") == "early"
    assert len(tasks) == 0


def test_a_second_answer_and_one_for_nobody_mean_nothing():
    tasks: OpenTasks[str] = OpenTasks()
    session = tasks.begin(1)
    assert tasks.on_sent(1, "a") is None
    assert tasks.on_answer(session, "b", "nobody's") is None
    assert tasks.on_answer(session, "a", "first") == 1
    assert tasks.on_answer(session, "a", "second") is None


def test_a_session_that_is_over_gives_everything_back_once_and_answers_nothing_more():
    tasks: OpenTasks[str] = OpenTasks()
    session = tasks.begin(1)
    tasks.on_sent(1, "a")
    tasks.begin(2)
    assert tasks.on_session_over(session) == [1, 2]
    assert tasks.on_session_over(session) is None
    assert tasks.on_sent(2, "b") is None
    assert tasks.on_not_sent(2) is False
    assert tasks.on_answer(session, "a", "late") is None
    assert len(tasks) == 0
    again = tasks.begin(3)
    tasks.on_sent(3, "a")
    assert tasks.on_answer(again, "a", "answer") == 3


def test_answers_of_nobody_do_not_pile_up():
    tasks: OpenTasks[int] = OpenTasks()
    session = tasks.begin(1)
    for number in range(MOST_EARLY + 100):
        tasks.on_answer(session, f"nobody-{number}", number)
    assert tasks.on_sent(1, "nobody-0") is None
    assert tasks.on_answer(session, "nobody-0", 0) == 1


def test_whatever_order_things_come_in_each_job_comes_out_once():
    for seed in range(200):
        chance = random.Random(seed)
        tasks: OpenTasks[int] = OpenTasks()
        out: list[int] = []
        sending: dict[int, str] = {}
        answers: list[tuple[int, str, int]] = []
        job = 0
        for _ in range(200):
            what = chance.random()
            if what < 0.4:
                job += 1
                session = tasks.begin(job)
                sending[job] = f"task-{job}"
                answers += [(session, f"task-{job}", job)] * chance.choice((1, 1, 2))
            elif what < 0.65 and sending:
                one = chance.choice(list(sending))
                if tasks.on_sent(one, sending.pop(one)) is not None:
                    out.append(one)
            elif what < 0.95 and answers:
                answered = tasks.on_answer(*answers.pop(chance.randrange(len(answers))))
                out += [] if answered is None else [answered]
            elif what >= 0.95:
                out += tasks.on_session_over(tasks.session) or []
        for one, task in sending.items():
            if tasks.on_sent(one, task) is not None:
                out.append(one)
        out += tasks.on_session_over(tasks.session) or []
        assert sorted(out) == list(range(1, job + 1)), seed
