"""Reading out of somebody's store: nobody's bytes change under a view, and its end is told exactly once."""

import gc
import os
import secrets
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import (
    PLACE_PACKED,
    PLACE_SHARED,
    PLACE_STREAM,
    FunctionObjects,
    Mappings,
    Store,
    address_of,
    join_places,
    read_packed,
)
from scaler.colocation.names import new_epoch
from tests.effort import rounds

TAG = 7
MIB = 1 << 20
SIZES = [0, 1, 4096, 40_000, MIB - 1, MIB, MIB + 1, 3 * MIB]
LATER_NS = 61_000_000_000  # by then a mapping that was of no use is given up


class Lender:
    """A store, and the mappings of one who reads it."""

    def __init__(self, folder):
        self.epoch, self.folder = new_epoch(), str(folder)
        self.store, self.mappings = Store(self.epoch, TAG, self.folder), Mappings(self.epoch, self.folder)

    def path_of(self, place):
        return f"/dev/shm/scaler-{self.epoch}-{TAG:06x}-{place[1] & 0xFFFFFFFF:x}"

    def lend(self, place, is_private=False):
        return self.mappings.lend_at(place).open(is_private)

    def given_back(self):
        return self.mappings.open_loans, self.mappings.take_given_back()


@pytest.fixture
def lender(tmp_path):
    made = Lender(tmp_path)
    yield made
    made.store.close()


@pytest.mark.parametrize("size", SIZES)
def test_what_is_shared_is_read_only_at_every_size(lender, size):
    data = os.urandom(size)
    view = memoryview(lender.lend(lender.store.put(data)))
    assert view.readonly
    assert view == data
    with pytest.raises(TypeError):
        view[0:0] = b""


@pytest.mark.parametrize("size", SIZES)
def test_what_is_private_is_writable_at_every_size_and_the_stored_bytes_never_change(lender, size):
    data = os.urandom(size)
    places = [lender.store.put(data) for _ in range(3)]
    place = places[1]
    view, other, shared = (memoryview(lender.lend(place, is_private)) for is_private in (True, True, False))
    assert not view.readonly
    view[:] = b"w" * size
    assert view == b"w" * size
    assert other == shared == data
    assert memoryview(lender.lend(place, True)) == data
    assert all(lender.store.is_equal(each[0], data) for each in places)


@pytest.mark.parametrize("size", [40_000, MIB, 3 * MIB])
def test_a_private_object_may_lie_anywhere_in_its_segment(lender, size):
    data = os.urandom(size)
    object_id, segment, offset, _, flags = lender.store.put(data)
    for skipped in (1, 100, 4095, 4096, 5000):
        loan = lender.lend((object_id, segment, offset + skipped, size - skipped - 3, flags), True)
        assert memoryview(loan) == data[skipped:-3]
        memoryview(loan)[:] = bytes(size - skipped - 3)
    assert lender.store.is_equal(object_id, data)


@pytest.mark.parametrize(("is_private", "size"), [(False, 0), (False, 40_000), (False, 3 * MIB), (True, 3 * MIB)])
def test_it_is_given_back_once_when_the_last_view_ends(lender, is_private, size):
    place = lender.store.put(bytes(size))
    loan = lender.lend(place, is_private)
    views = [memoryview(loan), memoryview(loan)[size // 2 :], memoryview(loan).cast("B")[: size // 3]]
    del loan
    while views:
        assert lender.given_back() == (1, [])
        views.pop()
    assert lender.given_back() == (0, [place[0]])
    assert lender.given_back() == (0, [])


def test_an_array_keeps_it(lender):
    numpy = pytest.importorskip("numpy")
    place = lender.store.put(b"\1\0\0\0" * 10_000)
    array = numpy.frombuffer(lender.lend(place), "<u4")
    part = array[100:200].reshape(10, 10)
    del array
    assert lender.given_back() == (1, [])
    assert part.sum() == 100
    del part
    assert lender.given_back() == (0, [place[0]])


def test_a_private_copy_of_a_small_object_needs_it_no_more(lender):
    place = lender.store.put(b"x" * 1000)
    loan = lender.lend(place, True)
    assert lender.given_back() == (0, [place[0]])
    lender.store.free(place[0])
    lender.store.put(b"y" * 1000)
    assert memoryview(loan) == b"x" * 1000
    del loan
    assert lender.given_back() == (0, [])


def test_one_that_nobody_opened_is_given_back_too(lender):
    loan = lender.mappings.lend_at(lender.store.put(b"x" * 1000))
    with pytest.raises(BufferError, match="not been opened"):
        memoryview(loan)
    assert lender.given_back() == (1, [])
    object_id = loan.object
    del loan
    assert lender.given_back() == (0, [object_id])


def test_opening_twice_gives_the_same_bytes(lender):
    loan = lender.lend(lender.store.put(b"x" * 2 * MIB), True)
    memoryview(loan)[:1] = b"y"
    for is_private in (True, False):
        assert bytes(loan.open(is_private))[:2] == b"yx"


def test_what_is_not_counted_is_not_given_back(lender):
    loan = lender.mappings.lend_at(lender.store.put(b"x"), False).open(False)
    assert lender.given_back() == (0, [])
    del loan
    assert lender.given_back() == (0, [])


@pytest.mark.parametrize("is_older", [True, False])
def test_a_view_in_a_cycle_of_garbage_is_given_back_when_that_is_collected(lender, is_older):
    place = lender.store.put(b"x" * 100_000)
    gc.disable()
    try:
        for _ in range(100):
            older = []
            loan = lender.lend(place)
            cycle = [] if is_older else older
            cycle += [memoryview(loan), loan, cycle]
        del loan, older, cycle
    finally:
        gc.enable()
    gc.collect()
    assert lender.given_back() == (0, [place[0]] * 100)


def test_many_ids_wait_to_be_said_in_their_order(lender):
    ids = [secrets.randbits(64) for _ in range(1000)]
    for object_id in ids:
        lender.mappings.give_back(object_id)
    assert lender.given_back() == (0, ids)


# what is not there


@pytest.mark.parametrize("is_private", [False, True])
def test_a_place_outside_its_segment_is_refused(lender, is_private):
    place = object_id, segment, _, _, flags = lender.store.put(b"x" * (3 * MIB))
    whole = os.stat(lender.path_of(place)).st_size
    for offset, length in (
        (1, whole),
        (whole, 1),
        (whole + 1, 0),
        (2**64 - 1, 2),
        (2**64 - MIB, 2 * MIB),
        (0, 2**64 - 1),
    ):
        with pytest.raises(ValueError, match="does not lie in its segment"):
            lender.lend((object_id, segment, offset, length, flags), is_private)
    assert bytes(lender.lend((object_id, segment, whole, 0, flags), is_private)) == b""
    assert lender.given_back() == (0, [object_id] * 7)


@pytest.mark.parametrize("is_private", [False, True])
def test_a_segment_that_is_missing_or_no_segment_is_an_error(lender, is_private):
    place = lender.store.put(b"x" * (3 * MIB))
    path = lender.path_of(place)
    os.rename(path, f"{path}.away")
    with pytest.raises(FileNotFoundError, match="scaler"):
        lender.lend(place, is_private)
    os.symlink(f"{path}.away", path)
    with pytest.raises(OSError, match="symbolic"):
        lender.lend(place, is_private)
    os.unlink(path)
    os.rename(f"{path}.away", path)
    assert bytes(lender.lend(place, is_private))[:1] == b"x"
    for segment in (0, 1, place[1] | 1 << 63, 2**64 - 1):
        with pytest.raises(FileNotFoundError):
            lender.lend((place[0], segment, *place[2:]), is_private)


@pytest.mark.parametrize("is_private", [False, True])
@pytest.mark.parametrize("left", [0, 4096])
def test_a_segment_that_was_cut_is_an_error(lender, is_private, left):
    place = lender.store.put(b"x" * (3 * MIB))
    os.truncate(lender.path_of(place), left)
    with pytest.raises(ValueError, match="segment"):
        lender.lend(place, is_private)


def test_one_that_was_cut_after_it_was_mapped_is_an_error_for_whom_it_is_mapped_anew(lender):
    place = lender.store.put(b"x" * (3 * MIB))
    loan = lender.lend(place)
    os.truncate(lender.path_of(place), 4096)
    with pytest.raises(ValueError, match="has 4096 bytes"):
        lender.lend(place, True)
    assert bytes(memoryview(loan)[:1]) == b"x"


# mappings


def test_a_segment_is_mapped_once_and_given_up_when_its_name_is_gone(lender):
    places = [lender.store.put(b"x" * size) for size in (1000, 1000, 40_000, 2 * MIB)]
    loans = [lender.lend(place) for place in places]
    assert len(lender.mappings) == 3
    lender.mappings.trim(time.monotonic_ns())
    assert len(lender.mappings) == 3
    for place in places[2:]:
        lender.store.free(place[0])
    lender.store.trim(0, True)
    lender.mappings.trim(time.monotonic_ns())
    assert len(lender.mappings) == 1
    assert [bytes(loan)[-1:] for loan in loans] == [b"x"] * 4  # whoever looks at one has it


def test_a_mapping_that_was_of_no_use_for_long_is_given_up(lender):
    place = lender.store.put(b"x" * 1000)
    loan = lender.lend(place)
    lender.mappings.trim(time.monotonic_ns() + LATER_NS)
    assert len(lender.mappings) == 0
    assert bytes(loan) == bytes(lender.lend(place)) == b"x" * 1000
    assert len(lender.mappings) == 1


def test_others_may_map_and_give_up_while_names_are_looked_for(lender, monkeypatch):
    places = [lender.store.put(bytes(size)) for size in (1000, 2 * MIB, 3 * MIB, 5 * MIB, 7 * MIB)]
    for place in places[:3]:
        lender.lend(place)
    exists, more = os.path.exists, places[3:]

    def exists_while_others_run(path):
        if more:
            lender.lend(more.pop())
            lender.mappings.trim(time.monotonic_ns() + LATER_NS)
        return exists(path)

    monkeypatch.setattr(os.path, "exists", exists_while_others_run)
    lender.mappings.trim(time.monotonic_ns())
    assert len(lender.mappings) == 0


# what comes apart


def damage(data, cuts):
    data = bytearray(data)
    for at, value in cuts:
        data[at % len(data)] = value
    return bytes(data)


@given(
    st.lists(st.integers(0, 300), max_size=5),
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), max_size=6),
    st.integers(0, 400),
)
@settings(max_examples=rounds(300))
def test_a_damaged_object_comes_apart_into_parts_of_itself_or_is_an_error(sizes, stream_bytes, cuts, left):
    store, mappings = Store(epoch := new_epoch(), TAG, "/tmp"), Mappings(epoch, "/tmp")
    place = store.put_packed(b"p" * stream_bytes, [memoryview(b"b" * size) for size in sizes])
    data = bytes(mappings.lend_at(place, False).open(False))
    store.close()
    data = damage(data, cuts)[: len(data) if left > 300 else left]
    try:
        stream, parts = read_packed(data)
    except ValueError:
        return
    for part in (stream, *parts):
        if part.nbytes:
            assert 0 <= address_of(part) - address_of(data) <= len(data) - part.nbytes


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8), st.binary(max_size=20))
@settings(max_examples=rounds(300))
def test_numbers_of_any_size_in_a_header_are_an_error_or_lie_inside(numbers, rest):
    data = b"".join(number.to_bytes(8, "little") for number in numbers) + rest
    try:
        stream, parts = read_packed(data)
    except ValueError:
        return
    assert all(part.nbytes <= len(data) for part in (stream, *parts))


def test_a_payload_is_read_with_what_it_names(lender):
    buffers = [lender.store.put(bytes([n]) * 1000, 0) for n in range(3)]
    shared = [lender.store.put_packed(b"reference", [], PLACE_SHARED) for _ in range(2)]
    places = [buffers[0], shared[0], buffers[1], shared[1], buffers[2]]
    stream, found, references = FunctionObjects(lender.mappings, join_places(places, b"stream")).parts()
    assert bytes(stream) == b"stream"
    assert [bytes(each) for each in found] == [bytes([n]) * 1000 for n in range(3)]
    assert [reference.object for reference in references] == [place[0] for place in shared]
    stream, found, _ = FunctionObjects(
        lender.mappings, join_places([lender.store.put(b"long stream", PLACE_STREAM)])
    ).parts()
    assert (bytes(stream), list(found)) == (b"long stream", [])
    packed = lender.store.put_packed(b"packed", [memoryview(b"x")])
    assert packed[4] == PLACE_PACKED
    stream, found, _ = FunctionObjects(lender.mappings, join_places([packed])).parts()
    assert (bytes(stream), [bytes(each) for each in found]) == (b"packed", [b"x"])


@given(st.data())
@settings(max_examples=rounds(200))
def test_a_damaged_payload_is_read_or_is_an_error(data):
    lender = Lender("/tmp")
    try:
        places = [lender.store.put(b"x" * 1000), lender.store.put_packed(b"packed", [memoryview(b"x" * 100)])]
        cuts = data.draw(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4))
        payload = damage(join_places(places, b"stream"), cuts)
        payload = payload[: data.draw(st.integers(0, len(payload)))]
        try:
            stream, buffers, _ = FunctionObjects(lender.mappings, payload).parts()
        except (ValueError, OSError):
            return
        assert all(memoryview(part).nbytes <= 65_536 for part in (stream, *buffers))
    finally:
        lender.store.close()
