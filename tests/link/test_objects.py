"""What waits for which objects on their way to the other side, and in which order it is done."""

from functools import partial

import pytest

from scaler.link.objects import MOST_OFFERED, OutgoingObjects

A, B, C = 1, 2, 3


@pytest.fixture
def log():
    return []


@pytest.fixture
def outgoing():
    return OutgoingObjects()


def offer(outgoing, object_id):
    """An object that goes by a carrier: what ends its way."""
    ends = []
    outgoing.add(object_id, memoryview(b"data"), ends.append)
    return ends[0]


def in_chunks(outgoing):
    sent = []
    while outgoing.has_chunks:
        outgoing.send_next(sent.append)
    return sent


def test_what_names_objects_waits_for_just_these(outgoing, log):
    end_a, end_b = offer(outgoing, A), offer(outgoing, B)
    outgoing.after(lambda: log.append("a and b"), [A, B, B])
    outgoing.after(lambda: log.append("b"), [B])
    outgoing.after(lambda: log.append("none"), [C])
    assert log == ["none"]
    end_b(True)
    assert log == ["none", "b"]
    end_a(True)
    assert log == ["none", "b", "a and b"]


def test_what_names_none_waits_for_all_before_it_and_for_nothing_after_it(outgoing, log):
    end_a = offer(outgoing, A)
    outgoing.after(lambda: log.append("a"), [A])
    outgoing.after(lambda: log.append("all"))
    end_b = offer(outgoing, B)
    outgoing.after(lambda: log.append("b"), [B])
    outgoing.after(lambda: log.append("all again"))
    end_b(True)
    assert log == ["b"]
    end_a(True)
    assert log == ["b", "a", "all", "all again"]
    outgoing.after(lambda: log.append("at once"))
    assert log[-1] == "at once"


def test_who_names_what_another_brings_comes_after_that(outgoing, log):
    end_a, end_b = offer(outgoing, A), offer(outgoing, B)
    outgoing.after(lambda: log.append("brings"), [A, B], [A, B])
    end_a(True)
    outgoing.after(lambda: log.append("names"), [A])
    assert log == []
    end_b(True)
    assert log == ["brings", "names"]
    outgoing.after(lambda: log.append("later"), [A])
    assert log[-1] == "later"


def test_what_did_not_get_there_goes_in_chunks_at_its_end(outgoing, log):
    end = offer(outgoing, A)
    outgoing.after(lambda: log.append("a"), [A])
    end(False)
    assert log == []
    assert [chunk.object for chunk in in_chunks(outgoing)] == [A]
    assert log == ["a"]


def test_what_nobody_wants_holds_nothing_up(outgoing, log):
    end = offer(outgoing, A)
    outgoing.add(B, memoryview(b"data"), None)
    outgoing.after(lambda: log.append("a"), [A])
    outgoing.after(lambda: log.append("all"))
    outgoing.drop(A)
    assert log == ["a"]
    end(False)  # too late
    outgoing.drop(B)
    assert log == ["a", "all"]
    assert in_chunks(outgoing) == []


def test_nothing_happens_once_it_is_closed(outgoing, log):
    end = offer(outgoing, A)
    outgoing.after(lambda: log.append("a"), [A])
    outgoing.close()
    end(True)
    end(False)
    assert log == []
    assert in_chunks(outgoing) == []


def test_no_more_is_offered_than_the_other_side_takes_and_nothing_is_forgotten():
    sending, asked, done = OutgoingObjects(), [], []
    for number in range(3 * MOST_OFFERED):
        sending.add(number, memoryview(b"a"), partial(lambda number, answer: asked.append((number, answer)), number))
        sending.after(partial(done.append, number), [number])
    assert [number for number, _ in asked] == list(range(MOST_OFFERED))
    sending.drop(5)  # nobody wants it any more
    sending.drop(2 * MOST_OFFERED)  # nor this, which has not been offered
    assert len(asked) == MOST_OFFERED + 1
    for number, answer in asked:  # grows meanwhile
        answer(number != 7)  # which then goes in chunks
    assert sending.has_chunks
    sending.send_next(lambda chunk: None)
    assert sorted(done) == list(range(3 * MOST_OFFERED))
    assert [number for number, _ in asked] == [k for k in range(3 * MOST_OFFERED) if k != 2 * MOST_OFFERED]
