"""What a supervisor says of its host: there and back, and nothing of what cannot be."""

import json

import pytest

from scaler.values.usage import MOST_IN_PIECE, HostUsage, ProcessUsage, pieces_of, usage_from


def test_what_is_said_in_pieces_comes_as_it_was():
    workers = [ProcessUsage(f"key-{n}", n, 0.5, n * 1000, n) for n in range(2 * MOST_IN_PIECE + 1)]
    usage = HostUsage(8, 77, 0.25, 1 << 20, 1 << 34, 1 << 33, 1 << 32, 1 << 31, {"SIGKILL": 2}, workers)
    pieces = [json.loads(json.dumps(piece)) for piece in pieces_of(usage)]
    assert len(pieces) == 3
    read = [usage_from(piece) for piece in pieces]
    assert [one for piece in read if piece is not None for one in piece.workers] == workers
    for piece in read:
        assert piece is not None
        piece.workers = workers
        assert piece == usage


def test_a_piece_fits_a_packet():
    workers = [ProcessUsage("k" * 40, 1 << 22, 123.4567, 1 << 40, 1 << 40) for _ in range(MOST_IN_PIECE)]
    (piece,) = pieces_of(HostUsage(workers=workers, restarts={f"{n:0100}": 1 << 40 for n in range(100)}))
    assert len(json.dumps({"usage": piece})) < 65536


def test_a_host_without_workers_is_said_too():
    (piece,) = pieces_of(HostUsage(cores=4))
    assert usage_from(piece) == HostUsage(cores=4)


@pytest.mark.parametrize("said", [None, 3, [], {}, {"workers": 3}, {"workers": {}}])
def test_what_is_no_usage_is_none(said):
    assert usage_from(said) is None


def test_numbers_that_cannot_be_are_0_and_rows_that_make_no_sense_are_left_out():
    said = {
        "cores": -1, "agent_pid": "x", "agent_cpu_share": float("nan"), "agent_rss_bytes": 1 << 70, "restarts": [3],
        "memory_total_bytes": True, "workers": [3, [], ["k"], ["k", -5, "x", None, 1 << 64], [5, 1, 1.0, 1, 1]],
    }  # fmt: skip
    assert usage_from(said) == HostUsage(workers=[ProcessUsage("k")])
