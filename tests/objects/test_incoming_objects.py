"""Objects that come in chunks: what is refused, and that nothing is left of what nobody took."""

import socket

import pytest

from scaler._native import PLACE_NEW, Store, join_places, split_places
from scaler.colocation.names import new_epoch, object_folder, sweep
from scaler.objects import arrival, incoming
from scaler.objects.incoming import MOST_INCOMPLETE, IncomingObjects
from scaler.protocol.frames import Chunk, FrameError, Offer

OBJECT, SIZE = 5 << 40 | 1, 100


class Host:
    def __init__(self):
        self.epoch = new_epoch()
        self.store = Store(self.epoch, 0xFFFFFE, object_folder())
        self.incoming = IncomingObjects(self.store, client_bits=5)

    def bring(self, number=OBJECT, offset=0, have=SIZE, total=SIZE):
        self.incoming.add(Chunk(number, offset, total, b"x" * have))

    def take(self, flags=PLACE_NEW, number=OBJECT, size=SIZE):
        """A record names it: the places as they are here."""
        return split_places(self.incoming.take(join_places([(number, 0, 0, size, flags)], b".")))[0]


@pytest.fixture
def host():
    made = Host()
    yield made
    sweep(made.epoch)


def test_what_has_come_belongs_to_the_record_that_names_it_as_new(host):
    host.bring()
    assert host.take()[0][:1] == (OBJECT,)
    host.incoming.close()
    assert OBJECT in host.store


def test_what_is_named_but_not_as_new_is_still_nobodys(host):
    host.bring()
    host.take(flags=0)
    host.incoming.close()
    assert len(host.store) == 0


def test_what_nobody_has_named_goes_with_the_session(host):
    host.bring()
    host.bring(OBJECT + 1, have=10)
    host.incoming.close()
    assert len(host.store) == 0


def test_chunks_are_refused_while_a_transfer_that_does_not_end_may_write_where_they_are_to_lie(host, monkeypatch):
    monkeypatch.setattr(arrival, "PATIENCE_S", 0.05)
    coming = host.incoming.expect(Offer(OBJECT, SIZE))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        room = coming.begin(ours)
        with pytest.raises(FrameError, match="its transfer before that does not end"):
            host.bring()
        host.incoming.close()
        assert OBJECT in host.store  # whoever leaves last gives its room back
        room[:1] = b"y"
        del room
        coming.end()
        assert OBJECT not in host.store


@pytest.mark.parametrize(("number", "size"), [(OBJECT, SIZE + 1), (OBJECT + 1, SIZE), (OBJECT + 2, SIZE)])
def test_what_has_not_come_whole_cannot_be_named(host, number, size):
    host.bring()
    host.bring(OBJECT + 2, have=10)
    with pytest.raises(FrameError, match="has not come"):
        host.take(number=number, size=size)


def test_chunks_come_in_order_and_without_holes(host):
    host.bring(have=10)
    for offset, total in ((20, SIZE), (0, SIZE), (10, SIZE + 1)):
        with pytest.raises(FrameError, match="came after"):
            host.bring(offset=offset, have=1, total=total)


@pytest.mark.parametrize("number", [0, 6 << 40 | 1])
def test_objects_of_others_are_refused(host, number):
    with pytest.raises(FrameError, match="not this peer's"):
        host.bring(number)


def test_so_are_more_than_anybody_needs_at_a_time(host):
    for number in range(MOST_INCOMPLETE):
        host.bring(OBJECT + number, have=1, total=2)
    with pytest.raises(FrameError, match="have not been named"):
        host.bring(OBJECT + MOST_INCOMPLETE)


def waiting_bytes(host):
    """Of parts that wait for the rest of their objects."""
    return sum(len(part) for one in host.incoming._open.values() for part in one.parts or ())


@pytest.mark.parametrize("chunk_bytes", [1, 10])
def test_of_small_objects_that_are_not_whole_only_so_much_waits_outside_of_the_store(host, monkeypatch, chunk_bytes):
    most = 20 * (incoming.PART_BYTES + chunk_bytes)
    monkeypatch.setattr(incoming, "MOST_PARTS_BYTES", most)
    count, total = 50, 40
    for offset in range(0, total, chunk_bytes):
        for number in range(count):
            host.bring(OBJECT + number, offset, chunk_bytes, total)
            assert waiting_bytes(host) <= 20 * chunk_bytes
        if not offset:
            assert len(host.store) == count - 20  # the others are there already, with what has come of them
    assert host.incoming._parts_bytes == waiting_bytes(host) == 0
    for number in range(count):
        assert host.take(number=OBJECT + number, size=total)[0][1]
        assert bytes(host.store.open(OBJECT + number)) == b"x" * total
    host.incoming.close()
    assert len(host.store) == count


def test_what_nobody_wants_any_more_does_not_count_as_waiting(host):
    host.bring(have=10)
    host.bring(OBJECT + 1, have=10)
    host.incoming.forget(OBJECT)
    assert host.incoming._parts_bytes == 10 + incoming.PART_BYTES
    host.incoming.close()
    assert host.incoming._parts_bytes == 0
    assert len(host.store) == 0
