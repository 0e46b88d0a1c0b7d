"""What waits for which objects on their way to the other side, and in which order it is done."""

from functools import partial

import pytest

from scaler._native import PLACE_NEW, Store, join_places
from scaler.colocation.names import new_epoch, object_folder, sweep
from scaler.objects.incoming import IncomingObjects
from scaler.objects.outgoing import MOST_AHEAD, MOST_OFFERED, OutgoingObjects
from scaler.protocol.frames import Offer

A, B, C = 1, 2, 3


@pytest.fixture
def log():
    return []


@pytest.fixture
def outgoing():
    return OutgoingObjects()


def offer(outgoing, object_id):
    """An object that goes by a transport: what ends its way."""
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
    for number, answer in asked:  # which grow meanwhile
        answer(number != 7)  # which then goes in chunks
    assert asked[-1][0] == 8 + MOST_AHEAD - 1 - 1  # that one is not there yet
    assert sending.has_chunks
    answered = len(asked)
    sending.send_next(lambda chunk: None)
    while answered < len(asked):
        asked[answered][1](True)
        answered += 1
    assert sorted(done) == list(range(3 * MOST_OFFERED))
    assert [number for number, _ in asked] == [k for k in range(3 * MOST_OFFERED) if k != 2 * MOST_OFFERED]


MOST_PLACES = 817  # that one record has room for


class Receiver:
    """The other side of OutgoingObjects: it fetches what it is offered in an order of its own."""

    def __init__(self):
        self.epoch = new_epoch()
        self.incoming = IncomingObjects(Store(self.epoch, 9, object_folder()), client_bits=1)
        self.fetching, self.most, self.named = [], 0, 0

    def offer(self, object_id, done):
        self.fetching.append((self.incoming.expect(Offer(object_id, 300)), object_id, done))
        self.most = max(self.most, len(self.incoming._open))

    def fetch(self, at):
        arrival, _, done = self.fetching.pop(at)
        arrival.stop()
        arrival.have = arrival.total
        done(True)

    def add(self, chunk):
        self.incoming.add(chunk)
        self.most = max(self.most, len(self.incoming._open))

    def name(self, objects, size):
        self.incoming.take(join_places([(number, 0, 0, size, PLACE_NEW) for number in objects]))
        self.named += 1


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.incoming.close()
    sweep(made.epoch)


@pytest.mark.parametrize("order", [0, 1, -1])
def test_records_with_as_many_objects_as_they_have_room_for_do_not_end_their_session(outgoing, receiver, order):
    first = 1 << 40
    for task in range(4):
        objects = [first + task * MOST_PLACES + number for number in range(1, MOST_PLACES + 1)]
        for number in objects:
            outgoing.add(number, memoryview(bytes(300)), partial(receiver.offer, number))
        outgoing.after(partial(receiver.name, objects, 300), objects)
    while receiver.fetching:  # all but the first, if there are others: that is slow
        receiver.fetch(order if len(receiver.fetching) > 1 else 0)
    assert receiver.named == 4
    assert receiver.most > MOST_PLACES
    assert len(receiver.incoming._open) == 0


def test_many_tasks_that_wait_for_a_large_object_and_have_a_small_one_do_not_end_their_session(outgoing, receiver):
    first = 1 << 40
    for task in range(3000):
        large, small = first + 2 * task + 1, first + 2 * task + 2
        outgoing.add(large, memoryview(bytes(300)), partial(receiver.offer, large))
        outgoing.add(small, memoryview(bytes(300)), None)
        outgoing.after(partial(receiver.name, [large, small], 300), [large, small])
    while receiver.fetching or outgoing.has_chunks:  # small ones first, as far as they may
        if outgoing.has_chunks:
            outgoing.send_next(receiver.add)
        else:
            receiver.fetch(-1 if len(receiver.fetching) > 1 else 0)
    assert receiver.named == 3000


def test_what_a_carrier_gives_up_is_not_stuck_behind_what_waits_for_it(outgoing, receiver, log):
    """It goes in chunks, and these wait for nothing that may not be begun before it."""
    first = 1 << 40
    end = []
    outgoing.add(first + 1, memoryview(b"a"), end.append)
    outgoing.after(lambda: log.append("first"), [first + 1])
    for number in range(2, 2 * MOST_AHEAD):
        outgoing.add(first + number, memoryview(b"b"), None)
    in_chunks(outgoing)
    assert not outgoing.has_chunks  # the next is too far ahead
    end[0](False)
    assert len(in_chunks(outgoing)) == 2 * MOST_AHEAD - 2 - (MOST_AHEAD - 1) + 1
    assert log == ["first"]
