"""What a process keeps in shared memory: written once, used again, given back."""

import errno
import os
import subprocess
import sys
import tempfile
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler._native import PLACE_NEW, PLACE_PACKED, Mappings, Segment, Store, address_of, read_packed
from scaler.colocation.names import new_epoch
from tests.effort import rounds
from tests.small_memory import run_in_small_memory

TAG = 7
MIB = 1 << 20
LOOK = """
import os, sys
path, offset = sys.argv[1], int(sys.argv[2])
print("looking", flush=True)
while not os.path.exists(path):
    pass
with open(path, "rb") as file:
    file.seek(offset)
    print(file.read(1)[0])
"""
LATER_NS = 61_000_000_000  # by then what lies idle is given back


@pytest.fixture
def epoch():
    return new_epoch()


@pytest.fixture
def store(epoch, tmp_path):
    made = Store(epoch, TAG, str(tmp_path))
    yield made
    made.close()


@pytest.fixture
def mappings(epoch, tmp_path):
    return Mappings(epoch, str(tmp_path))


def names(epoch):
    return sorted(name for name in os.listdir("/dev/shm") if name.startswith(f"scaler-{epoch}-"))


def read(mappings, place):
    return bytes(mappings.lend_at(place, False).open(False))


def test_an_object_reads_back_as_it_was_written(store, mappings):
    for size in (0, 1, 255, 256, 257, 40_000, MIB - 1, MIB, MIB + 1, 5 * MIB):
        data = os.urandom(min(size, 1000)) * (size // 1000 + 1)
        place = store.put(data[:size], PLACE_NEW)
        assert (place[0] >> 40, place[3], place[4]) == (TAG, size, PLACE_NEW)
        assert read(mappings, place) == data[:size]
        assert store.place_of(place[0]) == (*place[:4], 0)
        assert store.bytes_of(place[0]) >= size


@pytest.mark.parametrize("size", [(1 << 23) - 1, 1 << 23, (1 << 23) + 1, (1 << 23) + 79])
@pytest.mark.parametrize(("source", "target"), [(0, 0), (1, 0), (0, 5), (3, 16), (7, 63)])
def test_a_large_buffer_is_copied_whole_wherever_it_begins_and_ends(store, mappings, size, source, target):
    data = memoryview(os.urandom(1 << 16) * (size // (1 << 16) + 2))[source : source + size]
    place = store.reserve(0, target + size + 64)
    store.fill(place[0], target, data)
    there = read(mappings, place)
    assert there[target : target + size] == data
    assert not any(there[:target])
    assert not any(there[target + size :])


def test_a_buffer_that_cannot_be_copied_takes_no_room(store):
    with pytest.raises(ValueError, match="mismatch"):
        store.put_packed(b"the pickle", [memoryview(bytes(80_000)).cast("d")])
    assert len(store) == store.used_bytes == 0


def test_a_packed_object_comes_apart_into_what_it_was_made_of(store, mappings):
    buffers = [memoryview(bytes([n]) * size) for n, size in enumerate((0, 1, 63, 64, 65, 70_000, 3 * MIB))]
    place = store.put_packed(b"the pickle", buffers, PLACE_NEW)
    assert place[4] == PLACE_NEW | PLACE_PACKED
    stream, parts = read_packed(mappings.lend_at(place, False).open(False))
    assert bytes(stream) == b"the pickle"
    assert [bytes(part) for part in parts] == [bytes(buffer) for buffer in buffers]
    assert all(address_of(part) % 64 == 0 for part in parts)
    stream, parts = read_packed(mappings.lend_at(store.put_packed(b"", []), False).open(False))
    assert (bytes(stream), parts) == (b"", [])


def test_slots_are_used_again_last_freed_first(store):
    first, second, third = (store.put(b"x" * 40_000) for _ in range(3))
    assert store.free(first[0])
    assert store.free(third[0])
    assert store.put(b"y" * 40_000)[1:3] == third[1:3]
    assert store.put(b"y" * 35_000)[1:3] == first[1:3]
    assert store.put(b"y" * 35_000)[1:3] != second[1:3]
    assert not store.free(first[0])  # it was gone already


def test_an_object_that_stays_pins_its_segment_and_no_other(store, mappings, epoch):
    places = [store.put(bytes([n]) * 40_000) for n in range(80)]
    assert len(names(epoch)) == 10
    for place in places[:33] + places[34:]:
        store.free(place[0])
    assert store.trim(0, True) == 9 * store.kept_bytes
    assert len(names(epoch)) == 1
    assert read(mappings, places[33]) == bytes([33]) * 40_000
    assert store.kept_bytes == 8 * store.used_bytes
    assert store.idle_bytes == 7 * store.used_bytes


def test_what_stays_can_be_freed_when_the_segments_with_free_slots_are_gone(store):
    places = [store.put(b"x" * 100_000) for _ in range(16)]
    for place in places[8:]:
        store.free(place[0])
    store.trim(0, True)
    assert store.free(places[0][0])
    assert store.put(b"y" * 100_000)[1:3] == places[0][1:3]


def test_the_segment_of_a_large_object_is_used_for_another_of_about_its_size(store, epoch):
    place = store.put(bytes(5_000_000))
    store.free(place[0])
    assert store.put(bytes(4_900_000))[1] == place[1]
    assert store.put(bytes(4_900_000))[1] != place[1]
    assert len(names(epoch)) == 2


def test_trim_gives_back_what_has_been_idle_for_long_and_nothing_else(store, epoch):
    kept, freed = store.put(bytes(2 * MIB)), store.put(bytes(3 * MIB))
    store.free(freed[0])
    before = store.kept_bytes
    assert store.trim(time.monotonic_ns()) == 0
    assert store.trim(time.monotonic_ns() + LATER_NS) == before - store.kept_bytes > 0
    assert store.trim(time.monotonic_ns() + LATER_NS) == store.trim(0, True) == 0
    assert len(names(epoch)) == 1
    assert store.kept_bytes == store.used_bytes
    assert kept[0] in store
    assert freed[0] not in store


def test_a_segment_that_is_taken_while_others_are_given_back_stays(store, mappings, monkeypatch):
    idle = [store.put(bytes(size)) for size in (2 * MIB, 3 * MIB, 5 * MIB)]
    for place in idle:
        store.free(place[0])
    unlink, taken = os.unlink, []

    def unlink_and_put(path):  # what another thread may do then
        unlink(path)
        if not taken:
            taken.append(store.put(b"z" * (5 * MIB)))

    monkeypatch.setattr(os, "unlink", unlink_and_put)
    store.trim(0, True)
    assert taken[0][1] == idle[2][1]
    assert read(mappings, taken[0]) == b"z" * (5 * MIB)
    assert store.kept_bytes == store.used_bytes


def test_two_may_trim_at_once(store, monkeypatch):
    for size in (2, 3, 5):
        store.free(store.put(bytes(size * MIB))[0])
    unlink = os.unlink

    def unlink_and_trim(path):
        unlink(path)
        store.trim(0, True)

    monkeypatch.setattr(os, "unlink", unlink_and_trim)
    store.trim(0, True)
    assert (store.kept_bytes, store.used_bytes) == (0, 0)


def test_ids_and_segment_numbers_never_repeat(store):
    objects, segments = set(), set()
    for _ in range(20):
        places = [store.put(bytes(size)) for size in (10, 40_000, 2 * MIB)]
        objects.update(place[0] for place in places)
        segments.update(place[1] for place in places)
        for place in places:
            store.free(place[0])
        store.trim(0, True)
    assert len(objects) == len(segments) == 60
    assert all(segment >> 32 == TAG for segment in segments)


def test_only_the_same_bytes_are_equal(store):
    for data in (b"", b"x", os.urandom(500), os.urandom(300_000)):
        place = store.put(data)
        assert store.is_equal(place[0], data)
        assert not store.is_equal(place[0], data + b"x")
        if data:
            assert not store.is_equal(place[0], data[:-1])
            assert not store.is_equal(place[0], data[:-1] + bytes([data[-1] ^ 1]))
    store.free(place[0])
    assert not store.is_equal(place[0], data)


def test_only_the_same_parts_are_equal(store):
    parts = [memoryview(b"a" * 10), memoryview(b""), memoryview(b"b" * 300_000)]
    place = store.put_packed(b"pickle", parts)
    assert store.is_packed_equal(place[0], b"pickle", parts)
    others = [
        (b"pickl", parts),
        (b"pickle.", parts),
        (b"Pickle", parts),
        (b"pickle", parts[:2]),
        (b"pickle", [*parts, memoryview(b"")]),
        (b"pickle", [memoryview(b"a" * 9 + b"c"), *parts[1:]]),
        (b"pickle", [*parts[:2], memoryview(b"b" * 299_999 + b"c")]),
        (b"pickle", [*parts[:2], memoryview(b"b" * 299_999)]),
        (b"pickle", [parts[1], parts[0], parts[2]]),
    ]
    assert not any(store.is_packed_equal(place[0], *other) for other in others)
    store.free(place[0])
    assert not store.is_packed_equal(place[0], b"pickle", parts)


def test_an_object_that_is_filled_by_and_by(store, mappings):
    theirs = 99 << 40 | 5
    own = store.reserve(0, 2 * MIB)
    place = store.reserve(theirs, 300_000)
    assert (place[0], own[0] >> 40) == (theirs, TAG)
    data = os.urandom(300_000)
    for offset in range(0, 300_000, 70_000):
        store.fill(theirs, offset, data[offset : offset + 70_000])
    store.fill(theirs, 300_000, b"")
    assert read(mappings, place) == data


def test_nothing_is_written_outside_of_what_was_reserved(store, mappings):
    neighbours = [store.put(b"n" * 1000) for _ in range(3)]
    store.free(neighbours[1][0])
    place = store.reserve(0, 1000)
    assert place[1:3] == neighbours[1][1:3]
    for offset, data in ((0, b"x" * 1001), (1000, b"x"), (1001, b""), (2**64 - 1, b"xx"), (2**64 - 2, b"x" * 10)):
        with pytest.raises(ValueError, match="has 1000 bytes"):
            store.fill(place[0], offset, data)
    with pytest.raises((OverflowError, ValueError)):
        store.fill(place[0], -1, b"x")
    with pytest.raises(ValueError, match="already"):
        store.reserve(place[0], 10)
    with pytest.raises(KeyError):
        store.fill(12345, 0, b"")
    assert [read(mappings, neighbours[n]) for n in (0, 2)] == [b"n" * 1000] * 2


def test_what_is_not_there_is_a_key_error(store):
    for ask in (store.place_of, store.bytes_of):
        with pytest.raises(KeyError):
            ask(12345)


@pytest.mark.parametrize("tag", [0, 1 << 24])
def test_a_tag_has_24_bits(tag):
    with pytest.raises(ValueError, match="24 bits"):
        Store("0", tag, "/tmp")


def test_closing_removes_all_names_and_what_is_mapped_stays(store, mappings, epoch):
    place = store.put(b"x" * 40_000)
    loan = mappings.lend_at(place, False).open(False)
    store.close()
    assert names(epoch) == []
    assert len(store) == store.used_bytes == store.kept_bytes == 0
    assert bytes(loan) == b"x" * 40_000


def test_beyond_the_limit_objects_lie_in_files_and_are_given_back_as_others_are(epoch, tmp_path):
    told = []
    store = Store(epoch, TAG, str(tmp_path), lambda *about: told.append(about), most_bytes=1)
    mappings = Mappings(epoch, str(tmp_path))
    places = [store.put(bytes([n]) * (n * 200_000)) for n in range(12)]
    assert names(epoch) == []
    assert len(told) == 1
    assert told[0][0].startswith(f"{tmp_path}/scaler-{epoch}-")
    assert told[0][1].errno == errno.ENOSPC
    assert [read(mappings, place) for place in places] == [bytes([n]) * (n * 200_000) for n in range(12)]
    for place in places:
        store.free(place[0])
    store.trim(0, True)
    assert os.listdir(tmp_path) == []


# Where there is no room. These run in a process of their own.


def use_up_memory():
    """/dev/shm has 4 MiB here, the temporary folder 8."""
    epoch, folder, told = new_epoch(), tempfile.gettempdir(), []
    store, mappings = Store(epoch, TAG, folder, lambda *about: told.append(about)), Mappings(epoch, folder)
    idle = store.put(bytes(2 * MIB))
    store.free(idle[0])
    in_memory = [store.put(b"m" * (3 * MIB))]  # for which the idle segment has to go
    assert not Segment.exists(f"scaler-{epoch}-{TAG:06x}-1")
    assert told == []
    in_files = [store.put(bytes([n]) * (3 * MIB)) for n in range(2)]
    assert len(told) == 1
    assert told[0][0].startswith(folder)
    assert told[0][1].errno == errno.ENOSPC
    small = store.put(b"s" * 1000)  # still fits
    before = store.used_bytes, store.kept_bytes, len(store), os.listdir("/dev/shm"), os.listdir(folder)
    for put in (
        lambda: store.put(bytes(3 * MIB)),
        lambda: store.put_packed(b"x", [memoryview(bytes(3 * MIB))]),
        lambda: store.reserve(0, 3 * MIB),
    ):
        with pytest.raises(OSError, match="No space left"):
            put()
    assert before == (store.used_bytes, store.kept_bytes, len(store), os.listdir("/dev/shm"), os.listdir(folder))
    assert read(mappings, small) == b"s" * 1000
    assert [read(mappings, place)[-1:] for place in (*in_memory, *in_files)] == [b"m", b"\0", b"\1"]
    store.free(in_files[0][0])
    again = store.put(b"a" * (3 * MIB))
    assert again[1] == in_files[0][1]
    assert read(mappings, again) == b"a" * (3 * MIB)
    store.free(in_memory[0][0])
    store.trim(0, True)
    mappings.trim(0)  # whoever has it mapped has its memory
    assert not store.put(b"b" * (2 * MIB + 1))[1] >> 63
    assert len(told) == 1
    store.close()
    assert os.listdir("/dev/shm") == os.listdir(folder) == []


def fill_up_to_the_limit():
    """/dev/shm has 16 MiB here, of which 4 may be used."""
    epoch, folder, told = new_epoch(), tempfile.gettempdir(), []
    store = Store(epoch, TAG, folder, lambda *about: told.append(about), most_bytes=4 * MIB)
    store.put(bytes(3 * MIB))
    assert (len(os.listdir("/dev/shm")), told) == (1, [])
    place = store.put(bytes(2 * MIB))
    assert (len(os.listdir("/dev/shm")), len(told)) == (1, 1)
    assert place[1] >> 63
    store.close()


def test_without_room_in_memory_there_are_files_and_without_room_there_an_error_that_changes_nothing(tmp_path):
    assert run_in_small_memory(use_up_memory, tmp_path, shm="4m", files="8m") == ""


def test_shared_memory_is_filled_up_to_the_limit(tmp_path):
    assert run_in_small_memory(fill_up_to_the_limit, tmp_path, shm="16m", files="8m") == ""


class StoreMachine(RuleBasedStateMachine):
    """Objects come and go in any order; each that is there reads back as it was written."""

    sizes = st.sampled_from([0, 1, 255, 256, 257, 9_000, 40_000, 65_536, 200_000, MIB, MIB + 1])

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        epoch = new_epoch()
        self.store = Store(epoch, TAG, self.folder.name)
        self.mappings = Mappings(epoch, self.folder.name)
        self.model = {}  # object -> (place, bytes, or None and the parts)
        self.count = 0

    def fill(self, size):
        self.count += 1
        return bytes([self.count % 251]) * size

    @precondition(lambda self: len(self.model) < 12)
    @rule(size=sizes)
    def put(self, size):
        data = self.fill(size)
        place = self.store.put(data)
        assert place[0] not in self.model
        self.model[place[0]] = place, data, None

    @precondition(lambda self: len(self.model) < 12)
    @rule(sizes=st.lists(sizes, max_size=3))
    def put_packed(self, sizes):
        parts = [self.fill(size) for size in sizes]
        place = self.store.put_packed(b"p" * len(parts), [memoryview(part) for part in parts])
        self.model[place[0]] = place, None, parts

    @precondition(lambda self: len(self.model) < 12)
    @rule(size=sizes)
    def reserve_and_fill(self, size):
        data = self.fill(size)
        place = self.store.reserve(9 << 40 | self.count, size)
        for at in range(0, size, 300_000):
            self.store.fill(place[0], at, data[at : at + 300_000])
        self.model[place[0]] = place, data, None

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def free(self, data):
        for object_id in data.draw(st.sets(st.sampled_from(sorted(self.model)), min_size=1)):
            assert self.store.free(object_id)
            del self.model[object_id]
            assert not self.store.free(object_id)

    @rule(everything=st.booleans())
    def trim(self, everything):
        self.store.trim(time.monotonic_ns() + LATER_NS, everything)
        assert self.store.kept_bytes == 0 or self.model

    @rule()
    def give_up_mappings(self):
        self.mappings.trim(time.monotonic_ns())

    @invariant()
    def all_that_is_there_reads_back(self):
        assert len(self.store) == len(self.model)
        assert self.store.used_bytes == sum(self.store.bytes_of(object_id) for object_id in self.model)
        assert self.store.kept_bytes >= self.store.used_bytes
        for object_id, (place, data, parts) in self.model.items():
            assert self.store.place_of(object_id)[:4] == place[:4]
            loan = self.mappings.lend_at(place, False).open(False)
            if parts is None:
                assert memoryview(loan) == data
                assert self.store.is_equal(object_id, data)
            else:
                stream, found = read_packed(loan)
                assert stream == b"p" * len(parts)
                assert found == parts
                assert self.store.is_packed_equal(object_id, stream, found)

    def teardown(self):
        self.store.close()
        self.folder.cleanup()


StoreMachine.TestCase.settings = settings(max_examples=rounds(30), stateful_step_count=25)
TestStoreMachine = StoreMachine.TestCase


def test_what_is_made_anew_under_the_names_of_another_life_is_seen_whole_or_not_at_all(tmp_path):
    """Whoever swept up after a scheduler was faster than the maker of an object that its heir is told of."""
    before, later = new_epoch(), new_epoch()
    store = Store(before, TAG, str(tmp_path))
    size = 64 * MIB
    _, segment, offset, *_ = store.put(b"\x01" * size)
    for name in names(before):
        os.unlink(f"/dev/shm/{name}")
    path = f"/dev/shm/scaler-{later}-{TAG:06x}-{segment & 0xFFFFFFFF}"
    looking = subprocess.Popen([sys.executable, "-c", LOOK, path, str(offset + size - 1)], stdout=subprocess.PIPE)
    assert looking.stdout is not None
    assert looking.stdout.readline() == b"looking\n"
    store.begin_epoch(later, str(tmp_path))
    assert looking.communicate(timeout=20)[0] == b"1\n"
    assert names(later) == [os.path.basename(path)]
    store.close()
