"""Sizes of a map's chunks: by what was measured in this map, and remembered from those before."""

from scaler.client.chunk_sizes import CHUNK_NS, ChunkSizes, FixedSizes, Pace


def play(sizes, items, call_ns):
    """The sizes of a map of so many calls that take so long each, of which each chunk ends before the next is cut."""
    cut = []
    while items:
        size = min(items, sizes.next_size(items))
        cut.append(size)
        items -= size
        sizes.on_ended(size, size * call_ns)
    return cut


def test_chunks_grow_with_quick_calls_and_stay_small_with_slow_ones():
    quick, slow = ChunkSizes(2), ChunkSizes(2)
    for _ in range(12):
        size = quick.next_size(10**6)
        quick.on_ended(size, size * 100)
        size = slow.next_size(10**6)
        slow.on_ended(size, size * 10**9)
    assert quick.next_size(10**6) > 1000
    assert slow.next_size(10**6) == 1
    assert quick.next_size(8000) == 1000
    assert quick.next_size(0) == 1


def test_the_second_map_of_a_few_quick_calls_is_one_record():
    pace = Pace()
    assert play(ChunkSizes(2, pace), 32, 100)[:2] == [1, 4]
    assert play(ChunkSizes(2, pace), 32, 100) == [32]
    assert play(ChunkSizes(2, pace), 500, 100) == [500]


def test_a_remembered_duration_gives_every_worker_its_share_at_once():
    pace = Pace()
    play(ChunkSizes(2, pace), 100, 50_000)
    assert play(ChunkSizes(2, pace), 80, 50_000)[0] == 10
    assert ChunkSizes(2, pace).next_size(10**6) == CHUNK_NS // 50_000
    assert ChunkSizes(2, pace).next_size(None) == CHUNK_NS // 50_000


def test_a_chunk_has_a_least_of_work_though_there_are_fewer_chunks_then():
    pace = Pace()
    play(ChunkSizes(4, pace), 1000, 2_000)
    assert ChunkSizes(4, pace).next_size(100) == 50


def test_a_chunk_that_takes_far_longer_than_was_remembered_makes_the_map_learn_anew():
    pace = Pace()
    play(ChunkSizes(2, pace), 32, 100)
    sizes = ChunkSizes(2, pace)
    assert sizes.next_size(10_000) == 1250
    sizes.on_ended(1250, 1250 * 10_000_000)
    assert sizes.next_size(10_000) == 1
    assert ChunkSizes(2, pace).next_size(10_000) == 1


def test_a_hiccup_of_less_than_a_chunk_does_not():
    pace = Pace()
    play(ChunkSizes(2, pace), 32, 100)
    ChunkSizes(2, pace).on_ended(32, 50_000)
    assert play(ChunkSizes(2, pace), 32, 100) == [32]


def test_one_quick_call_among_slow_ones_does_not_make_large_chunks():
    pace = Pace()
    play(ChunkSizes(2, pace), 20, 10**9)
    ChunkSizes(2, pace).on_ended(1, 1_000)
    assert ChunkSizes(2, pace).next_size(10_000) == 1


def test_sizes_that_the_caller_wants_are_taken():
    assert play(FixedSizes(7), 20, 10**9) == [7, 7, 6]
