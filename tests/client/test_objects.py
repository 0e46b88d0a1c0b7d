"""What a client's records carry, with no scheduler: what is new in which record, and what is held until when."""

import gc
import os
import pickle
import threading

import pytest

from scaler._native import PLACE_HELD, PLACE_NEW, PLACE_SHARED, Mappings, Store, split_places
from scaler.client.objects import ClientObjects
from scaler.colocation.names import new_epoch, object_folder, sweep
from scaler.exceptions import MissingObjects

MOST = 8000
LARGE = 100_000


class Array(bytearray):
    """Pickled as an array is: its buffer stays outside."""

    def __reduce_ex__(self, protocol):
        return bytearray, (pickle.PickleBuffer(self),)


class Client:
    def __init__(self):
        self.epoch = new_epoch()
        self.store = Store(self.epoch, 5, object_folder())
        self.mappings = Mappings(self.epoch, object_folder())
        self.objects = ClientObjects(self.store, self.mappings, lambda: False, lambda: None)

    def pack(self, *args):
        """A record that is still to be written, and its places."""
        packed = self.objects.dumps(args, MOST)
        assert not isinstance(packed, bytes)
        return packed, split_places(packed.payload)[0]

    def submit(self, *args):
        """A record is written: its places."""
        packed, places = self.pack(*args)
        packed.is_written = True
        packed.end()
        return places


@pytest.fixture
def client():
    made = Client()
    yield made
    sweep(made.epoch)


def flags_of(places):
    return [place[4] & (PLACE_NEW | PLACE_HELD) for place in places]


def test_an_array_is_new_in_the_first_record_only(client):
    array = Array(LARGE)
    first, second = client.submit(array), client.submit(array)
    assert first[0][0] == second[0][0]
    assert flags_of(first + second) == [PLACE_NEW | PLACE_HELD, 0]


def test_a_record_that_is_written_before_the_one_it_interrupts_names_nothing_of_that(client):
    array, reference = Array(LARGE), client.objects.send(b"r" * 100, None)
    outer, outer_places = client.pack(array, reference)
    inner_places = client.submit(array, reference)  # from a signal's handler, while the other waits for room
    assert flags_of(inner_places) == [PLACE_NEW, PLACE_NEW]
    assert not {place[0] for place in inner_places} & {place[0] for place in outer_places}
    assert inner_places[1][4] & PLACE_SHARED
    read = client.mappings.lend_at
    for one, other in zip(inner_places, outer_places, strict=True):
        assert bytes(read(one, False).open(False)) == bytes(read(other, False).open(False))
    outer.is_written = True
    outer.end()
    assert flags_of(outer_places) == [PLACE_NEW | PLACE_HELD] * 2
    assert [place[0] for place in client.submit(array, reference)] == [place[0] for place in outer_places]


def test_a_record_in_the_midst_of_one_that_fails_keeps_what_it_names(client):
    array = Array(LARGE)
    outer, (failed,) = client.pack(array)
    (kept,) = client.submit(array)
    outer.end()
    assert failed[0] not in client.store
    assert kept[0] in client.store


def test_what_is_made_for_a_record_in_progress_is_known_as_such(client):
    outer, (one,) = client.pack(Array(LARGE))
    inner, (other,) = client.pack(Array(LARGE))
    assert client.objects.is_made(one[0])
    assert client.objects.is_made(other[0])
    for packed in (inner, outer):
        packed.is_written = True
        packed.end()
    assert not client.objects.is_made(one[0])


def test_a_reference_that_lives_only_while_it_is_pickled_is_held_until_its_record_is_written(client):
    class Lazy:
        def __reduce__(self):
            return list, ((client.objects.send(b"r" * 100, None),),)

    packed, (place,) = client.pack(Lazy())
    gc.collect()
    assert place[0] in client.store
    assert client.mappings.take_given_back() == []
    packed.is_written = True
    packed.end()
    del packed
    assert client.mappings.take_given_back() == [place[0]]


def test_a_reference_that_was_cleared_is_missing(client):
    reference = client.objects.send(b"r" * 100, None)
    client.objects.clear()
    with pytest.raises(MissingObjects):
        client.pack(reference)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_lock_of_its_parents(client):
    taken, done = threading.Event(), threading.Event()

    def hold():
        client.objects._lock.acquire()
        taken.set()
        done.wait(60)
        client.objects._lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(60)
    child = os.fork()
    if child == 0:
        client.objects.on_fork()
        client.objects.clear()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    done.set()
    holder.join(60)


class Done:
    """A future that is done, with a large result."""

    def result(self):
        return Array(LARGE)


def test_a_large_result_is_handed_in_while_a_record_is_in_progress(client):
    """The thread with the record may wait for just that, in the handler of a signal."""
    outer, outer_places = client.pack(Array(LARGE))
    supplies = []
    thread = threading.Thread(target=lambda: supplies.append(client.objects.pack_result(Done(), MOST)), daemon=True)
    thread.start()
    thread.join(20)
    assert len(supplies) == 1
    (made,) = [place[0] for place in split_places(supplies[0].payload)[0]]
    assert client.objects.is_made(made)
    supplies[0].end()  # it was not written, so nobody will name it
    assert made not in client.store
    assert not client.objects.is_made(made)
    outer.is_written = True
    outer.end()
    assert outer_places[0][0] in client.store
